"""Deletes: entries by id, or by content."""

from collections.abc import Sequence
from concurrent.futures import Future

from atlasdb.engine.engine import Engine
from atlasdb.engine.insert import TripleLike
from atlasdb.store.identity import triple_key
from atlasdb.store.writer import WriteTxn
from atlasdb_contract.ids import EntryId


def delete(engine: Engine, name: str, ids: Sequence[int], triples: Sequence[TripleLike]) -> "Future[tuple[int, int]]":
    """See Database.delete."""
    keys = [triple_key(triple.head, triple.relation, triple.tail) for triple in triples]

    def job(write: WriteTxn) -> tuple[int, int]:
        changes = write.changes(name)
        found = changes.triples(keys)
        wanted = dict.fromkeys([number for number in (*ids, *found) if 0 < number < 1 << 64])
        there = changes.partners(list(wanted))
        doomed = sorted({number for group in there.values() for number in group})
        if doomed:
            before = changes.record
            changes.delete_entries(doomed)
            after = changes.record
            write.committed.append(lambda: engine.store.cache.add_tombstones(before, after, doomed))
        missing = len({number for number in ids if number not in there}) + found.count(EntryId(0))
        return len(doomed), missing

    return engine.store.submit(job, 1024 * (len(ids) + len(triples)))
