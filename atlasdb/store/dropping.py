"""What deleted entries leave, dropped: their texts, their rows where a run of them is long, values that no entry has,
and what the index knows of both.

    scan      which deleted entries are in no slot any more, and which values an entry has; in short views
    drop      records that get smaller by that are written anew, some in each transaction; ids stay

A deleted entry that still is in a slot keeps its row: the next build takes it out of there. Its bit among the
tombstones stays for good. Nobody may build or fold meanwhile. A value that an insert takes up again after the scan is
kept: each transaction looks at the entries that came since.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.matrices import EntryRows
from atlasdb.store import postings
from atlasdb.store.changes import Changes
from atlasdb.store.index import Space
from atlasdb.store.records import Record, records_from
from atlasdb.store.store import Store
from atlasdb.store.view import View
from atlasdb.store.writer import WriteTxn
from atlasdb_contract.errors import DataLoss, NotFound
from atlasdb_contract.ids import CollectionId

VIEW_BYTES = 16 << 20
"""Of records that one view, or one transaction, looks at."""
WORTH = 16
"""A record is written anew where that saves this part of it, or more."""
GAP_BYTES = 8192
"""A run of rows of this size is taken out of the middle of a record: what remains are two."""
ROW_BYTES = 33
"""Of an entry, beside its texts."""
BLANK = np.frombuffer(fmt.entry_text("", "", "", "", {})[0], np.uint8)
"""The texts of a dropped entry."""

Bools = npt.NDArray[np.bool_]


@dataclass(slots=True)
class Dead:
    """Of one collection, by its number (its name may be another's by now): entries that can be dropped, by id; values
    that an entry has, by id; entries that were looked at for that. `sound`: all of them could be read, so that values
    may be dropped. What that frees, about."""

    collection: CollectionId
    entries: Bools
    used: Bools
    seen: int
    sound: bool = True
    entry_count: int = 0
    value_count: int = 0
    size: int = 0

    def pays(self, whole: int) -> bool:
        """Whether dropping it is worth going through tables of so many bytes."""
        return self.size * WORTH >= whole or self.size >= VIEW_BYTES


def scan(store: Store, name: str) -> Iterator[Dead]:
    """Look at a collection; the last one that is yielded is whole."""
    with store.view(name) as view:
        record = view.record
        last, words = int(record.next_entry), view.tombstones()
        deleted = np.unpackbits(words.view(np.uint8), bitorder="little")[:last].astype(np.bool_)
        dead = Dead(record.id, np.zeros(last, np.bool_), np.zeros(int(record.next_value), np.bool_), last - 1)
        dead.entries[: len(deleted)] = deleted
    if not deleted.any():
        dead.sound = False
        yield dead
        return
    for some in _views(store, name, "postings"):
        for key, lent in some:
            generation = fmt.POSTING_KEY.unpack(key)[0]
            if generation == postings.DELTA or generation in {int(tree.generation) for tree in record.trees}:
                ids = matrices.lent_slots(record.dimension, key, lent).ids
                dead.entries[ids[ids < last].astype(np.int64)] = False
        yield dead
    for some in _views(store, name, "entries"):
        for key, lent in some:
            _take(dead, key, lent)
        yield dead
    for some in _views(store, name, "values") if dead.sound else ():
        for key, lent in some:
            first = int.from_bytes(key, "big")
            count = matrices.value_count(record.dimension, key, lent)
            dead.value_count += int((~dead.used[first : first + count]).sum())
    dead.size += dead.value_count * (record.dimension + 24)
    yield dead


def _views(store: Store, name: str, table: str) -> Iterator[Iterator[Record]]:
    """The records of a table, as many at a time as one view looks at."""
    at: bytes | None = b""

    def some(view: View, first: bytes) -> Iterator[Record]:
        nonlocal at
        size = 0
        for key, record in records_from(view.txn, getattr(view.tables, table), first):
            if size >= VIEW_BYTES:
                at = key
                return
            size += len(record)
            yield key, record
        at = None

    while at is not None:
        with store.view(name) as view:
            yield some(view, at)


def _take(dead: Dead, key: bytes, record: memoryview) -> None:
    """Count the rows of a record of entries."""
    first = int.from_bytes(key, "big")
    try:
        rows = matrices.open_entries(key, record)
    except DataLoss:
        dead.sound = False
        return
    count = min(len(rows), len(dead.entries) - first)
    goes = dead.entries[first : first + count]
    dead.used[rows.value_ids[:count][~goes].astype(np.int64)] = True
    there = goes & (rows.value_ids[:count] != 0)
    dead.entry_count += int(there.sum())
    dead.size += int(np.diff(rows.ends, prepend=0)[:count][there].sum())


def drop_entries(write: WriteTxn, name: str, dead: Dead, at: bytes) -> bytes | None:
    """Some records of entries from the key `at` on; the key to go on from."""
    changes = _changes(write, name, dead)
    changes.write()
    some, onward, last = _some(write, changes, "entries", at)
    for key in some:
        lent = write.txn.get(key, db=changes.tables.entries)
        assert lent is not None
        size = len(lent)
        try:
            rows = matrices.open_entries(key, bytes(lent))
        except DataLoss:
            continue
        first = int.from_bytes(key, "big")
        goes = _padded(dead.entries[first : first + len(rows)], len(rows), False)
        if not goes.any():
            continue
        made = {
            fmt.id_key(first + start): matrices.seal_entries(
                fmt.id_key(first + start), first + start, _blanked(rows.part(start, stop), goes[start:stop])
            )
            for start, stop in _runs(_ending(~goes, key == last), GAP_BYTES // ROW_BYTES)
        }
        if (size - sum(map(len, made.values()))) * WORTH >= size:
            changes.rewrite("entries", key, made)
    return onward


def drop_values(write: WriteTxn, name: str, dead: Dead, at: bytes) -> bytes | None:
    """Some records of values from the key `at` on; the key to go on from."""
    changes = _changes(write, name, dead)
    changes.write()
    _use(write, changes, dead)
    dimension = changes.record.dimension
    some, onward, last = _some(write, changes, "values", at)
    for key in some:
        lent = write.txn.get(key, db=changes.tables.values)
        assert lent is not None
        size, first = len(lent), int.from_bytes(key, "big")
        try:
            identities, vectors = matrices.open_values(dimension, key, bytes(lent))
        except DataLoss:
            continue
        used = _ending(_padded(dead.used[first : first + len(vectors)], len(vectors), True), key == last)
        if used.all():
            continue
        made = {}
        for start, stop in _runs(used, max(1, GAP_BYTES // (dimension + 24))):
            here, new = slice(start, stop), fmt.id_key(first + start)
            made[new] = matrices.seal_values(new, first + start, identities[here], vectors.take(here))
        if (size - sum(map(len, made.values()))) * WORTH >= size:
            changes.rewrite("values", key, made)
    return onward


def purge(write: WriteTxn, name: str, space: Space, at: int) -> int | None:
    """Some of an index, from the hash `at` on: pairs of what is not there any more go."""
    changes = write.changes(name)
    changes.write()
    if space == Space.TRIPLES:
        return changes.purge(space, at, lambda ids: ~np.isin(ids, changes.gone(ids)))
    where = changes.where("values")
    return changes.purge(space, at, lambda ids: where.find(ids)[0] >= 0)


def dropped(write: WriteTxn, name: str, dead: Dead) -> None:
    """Note that these entries were dropped, or are not worth it."""
    changes = _changes(write, name, dead)
    changes.record = replace(changes.record, dropped=changes.record.dropped + dead.entry_count)


def _changes(write: WriteTxn, name: str, dead: Dead) -> Changes:
    """Of the collection that was looked at. NotFound where it was dropped."""
    changes = write.changes(name)
    if changes.record.id != dead.collection:
        raise NotFound(f"the collection {name!r} was dropped, and made anew, while it was compacted")
    return changes


def _use(write: WriteTxn, changes: Changes, dead: Dead) -> None:
    """Note the values of entries that came since the scan."""
    with write.txn.cursor(changes.tables.entries) as cursor:
        found = cursor.set_range(fmt.id_key(dead.seen + 1))
        first = bytes(cursor.key()) if (cursor.prev() if found else cursor.last()) else b""
    for key, record in records_from(write.txn, changes.tables.entries, first):
        ids = matrices.open_entries(key, record).value_ids
        dead.used[ids[ids < len(dead.used)].astype(np.int64)] = True
    seen = int(changes.record.next_entry) - 1
    write.committed.append(lambda: setattr(dead, "seen", seen))


def _some(write: WriteTxn, changes: Changes, table: str, at: bytes) -> tuple[list[bytes], bytes | None, bytes]:
    """Keys of records; where to go on; the key of the table's last record, where this is the end."""
    keys: list[bytes] = []
    size = 0
    for key, record in records_from(write.txn, getattr(changes.tables, table), at):
        if size >= VIEW_BYTES:
            return keys, key, b""
        size += len(record)
        keys.append(key)
    return keys, None, keys[-1] if keys else b""


def _padded(known: Bools, size: int, rest: bool) -> Bools:
    """With what is to be said of rows that came since the scan."""
    return np.concatenate([known, np.full(size - len(known), rest)])


def _ending(kept: Bools, is_last: bool) -> Bools:
    """The last row of a table's last record stays: new rows are put behind it."""
    return np.concatenate([kept[:-1], [True]]) if is_last else kept


def _runs(kept: Bools, gap: int) -> Iterator[tuple[int, int]]:
    """Where rows that are kept stand, with shorter gaps than `gap` between them: from, to."""
    places = np.flatnonzero(kept)
    if not len(places):
        return
    breaks = np.flatnonzero(np.diff(places) > gap)
    starts = places[np.concatenate([[0], breaks + 1])]
    stops = places[np.concatenate([breaks, [len(places) - 1]])] + 1
    yield from zip(starts.tolist(), stops.tolist(), strict=True)


def _blanked(rows: EntryRows, goes: Bools) -> EntryRows:
    """The same with nothing but their flags in the rows that go."""
    sizes = np.diff(rows.ends, prepend=0)
    ends = np.cumsum(np.where(goes, len(BLANK), sizes))
    texts = np.empty(int(ends[-1]), np.uint8)
    of_kept = np.repeat(~goes, np.where(goes, len(BLANK), sizes))
    texts[of_kept] = rows.texts[np.repeat(~goes, sizes)]
    texts[~of_kept] = np.tile(BLANK, int(goes.sum()))
    zero = np.uint64(0)
    return EntryRows(
        rows.flags, np.where(goes, zero, rows.value_ids), np.where(goes[:, None], zero, rows.items), texts, ends
    )
