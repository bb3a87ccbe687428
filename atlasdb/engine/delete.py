"""Deletes: entries by id, or by content."""

from collections.abc import Sequence
from concurrent.futures import Future
from functools import partial

import numpy as np

from atlasdb.engine.draft import TripleLike
from atlasdb.engine.engine import Engine
from atlasdb.format import entry_text
from atlasdb.store.identity import Facts
from atlasdb.store.writer import WriteTxn
from atlasdb_contract.types import Ids

Triple = tuple[str, str, str]

TOGETHER = 512
"""Ids and triples that one transaction deletes: few enough for the room that a full store keeps for deletes."""


def delete(engine: Engine, name: str, ids: Sequence[int], triples: Sequence[TripleLike]) -> "Future[tuple[int, int]]":
    """See Database.delete."""
    keys = [(triple.head, triple.relation, triple.tail) for triple in triples]
    wanted: list[int | Triple] = [*dict.fromkeys(ids), *keys]
    parts = [wanted[start : start + TOGETHER] for start in range(0, len(wanted), TOGETHER)] or [[]]
    return _Parts(engine, name, parts).total


class _Parts:
    """A delete in parts, each in a transaction of its own, one after the other; `total` is done with the last."""

    def __init__(self, engine: Engine, name: str, parts: list[list[int | Triple]]) -> None:
        self._engine = engine
        self._name = name
        self._parts = parts
        self._deleted = self._missing = 0
        self.total: Future[tuple[int, int]] = Future()
        self.total.set_running_or_notify_cancel()
        self._next()

    def _next(self) -> None:
        try:
            job = partial(_job, self._engine, self._name, self._parts.pop(0))
            self._engine.store.submit(job, weight=1024 * TOGETHER).add_done_callback(self._done)
        except Exception as error:  # noqa: BLE001 - every error of a delete comes out of its future
            self.total.set_exception(error)

    def _done(self, part: "Future[tuple[int, int]]") -> None:
        if error := part.exception():
            self.total.set_exception(error)
            return
        deleted, missing = part.result()
        self._deleted += deleted
        self._missing += missing
        if self._parts:
            self._next()
        else:
            self.total.set_result((self._deleted, self._missing))


def _job(engine: Engine, name: str, wanted: list[int | Triple], write: WriteTxn) -> tuple[int, int]:
    """Delete ids and triples: entries deleted, wanted ones that were not there."""
    changes = write.changes(name)
    texts = [entry_text(*one, "", {}) for one in wanted if isinstance(one, tuple)]
    found = changes.triples(Facts.packed(texts, changes.record.salt))
    ids = np.array([one for one in wanted if isinstance(one, int) and 0 < one < 1 << 64], np.uint64)
    there, partners = changes.partners(np.unique(np.concatenate([ids, found])))
    doomed: Ids = np.unique(np.concatenate([there, partners]))
    if len(doomed):
        before = changes.record
        changes.delete_entries(doomed)
        after = changes.record
        write.committed.append(lambda: engine.store.cache.add_tombstones(before, after, doomed))
    absent = sum(isinstance(one, int) for one in wanted) - int(np.isin(ids, there).sum())
    return len(doomed), absent + int((found == 0).sum())
