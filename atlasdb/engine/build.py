"""Trees made beside those that are read, while reads and writes go on.

`build` makes one tree of a whole collection. `fold` makes one of the delta and of the trees that are not much bigger,
so that a collection has few trees, each a few times bigger than the next, and every entry is folded a few times.

    read      the slots of the trees to be replaced and of the delta, in short views, into memory: (D + 40) bytes each
    plan      pure mathematics, atlasdb/tree/build.py
    write     the new tree's nodes and slots, in bounded transactions
    flip      one transaction: the new tree is read in place of the old ones and of the delta up to the last entry read
    clear     what is not read any more, in bounded transactions

Until the flip nobody reads the new tree: a crash, an error or a cancel before it leaves all as it was, and what was
written is cleared at once, or when the store is next opened.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

import numpy as np
import numpy.typing as npt

from atlasdb import matrices
from atlasdb.engine.engine import Engine
from atlasdb.store import nodes, postings, tombstones
from atlasdb.store.changes import Changes
from atlasdb.store.nodes import RECORD_NODES
from atlasdb.store.postings import RECORD_SLOTS
from atlasdb.store.registry import CollectionRecord, TreeRecord
from atlasdb.store.view import View
from atlasdb.store.writer import WriteTxn
from atlasdb.tree.build import plan
from atlasdb.tree.image import TreePlan, rows_of
from atlasdb.tree.slots import Slots
from atlasdb.tree.summary import Summary
from atlasdb_contract.errors import AtlasError, Cancelled, DataLoss, FailedPrecondition
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Progress, Vectors

READ_RECORDS = 4
"""Records of the delta that one view copies."""
WRITE_RECORDS = 8
"""Records of a tree that one transaction writes."""
GROWTH = 4
"""A fold takes in the trees that have fewer entries than this many times what it already has."""

Report = Callable[[Progress], None]


@dataclass(frozen=True, slots=True)
class _Build:
    """One build: `record` as it was at the start, the generations that the new tree replaces."""

    engine: Engine
    record: CollectionRecord
    replaced: frozenset[int]
    report: Report

    @property
    def generation(self) -> Generation:
        """The one being made."""
        return Generation(self.record.generation + 1)

    def submit(self, job: Callable[[WriteTxn, Changes], None], weight: int) -> None:
        """Run a job in the writer's turn; FailedPrecondition where the collection is another by now."""

        def run(write: WriteTxn) -> None:
            changes = write.changes(self.record.name)
            if (changes.record.id, changes.record.generation) != (self.record.id, self.record.generation):
                raise FailedPrecondition(f"the collection {self.record.name!r} was dropped while its tree was built")
            job(write, changes)
            changes.touch()

        self.engine.store.submit(run, weight).result()


def build(
    engine: Engine, name: str, seed: int, cancelled: Callable[[], bool], progress: Callable[[Progress], None]
) -> Generation:
    """See Database.build."""
    return _make(engine, name, seed, cancelled, progress, lambda record: record.trees)


def fold(engine: Engine, name: str, cancelled: Callable[[], bool]) -> Generation:
    """A tree of the delta and of the small trees. Cancelled, NotFound, FailedPrecondition: a build is running."""
    return _make(engine, name, 0, cancelled, lambda _: None, small_trees)


def small_trees(record: CollectionRecord) -> tuple[TreeRecord, ...]:
    """The trees that a fold of the delta takes in."""
    size, taken = record.delta_entries, []
    for tree in sorted(record.trees, key=lambda tree: tree.entries):
        if tree.entries >= GROWTH * size:
            break
        taken.append(tree)
        size += tree.entries
    return tuple(taken)


def _make(
    engine: Engine,
    name: str,
    seed: int,
    cancelled: Callable[[], bool],
    progress: Callable[[Progress], None],
    choose: Callable[[CollectionRecord], tuple[TreeRecord, ...]],
) -> Generation:
    def report(step: Progress) -> None:
        if cancelled():
            raise Cancelled(f"the build of {name!r} was stopped; its trees are as they were")
        progress(step)

    with engine.building(name):
        engine.store.clear_generations(name)
        with engine.store.view(name) as view:
            record = view.record
        task = _Build(engine, record, frozenset(int(tree.generation) for tree in choose(record)), report)
        try:
            _write(task, seed)
        except BaseException:
            with suppress(AtlasError):
                engine.store.clear_generations(name)
            raise
        progress(Progress("clear", 0, 0))
        engine.store.clear_generations(name)
        progress(Progress("clear", 1, 1, task.generation))
        return task.generation


def _write(task: _Build, seed: int) -> None:
    """Read, plan, write, flip."""
    given, folded, gone = _read(task)
    planned = plan(given, seed, task.report)
    tree = None
    if len(given):
        summary = Summary.of(given.subjects[planned.order], np.diff(planned.starts))
        task.submit(
            lambda write, changes: _write_directions(task, planned, summary, write, changes), planned.roots.data.nbytes
        )
        _write_nodes(task, planned)
        _write_slots(task, planned, given)
        first, last = int(planned.ids.min()), int(planned.ids.max())
        _write_places(task, planned, first, last)
        counts = len(planned.roots), len(planned.nodes), len(planned.order), len(planned.ids)
        tree = TreeRecord(task.generation, *counts, first, last)
    task.report(Progress("flip", 0, 1))
    task.submit(lambda _, changes: changes.flip(tree, task.replaced, folded, gone), 0)


def _read(task: _Build) -> tuple[Slots, int, int]:
    """The slots to be replaced with the entries that are there, the delta's last entry, and how many entries are not.

    DataLoss where a record of slots is damaged.
    """
    record = task.record
    chosen = [tree for tree in record.trees if tree.generation in task.replaced]
    room = sum(tree.slots for tree in chosen) + record.delta_entries
    total = sum(tree.entries for tree in chosen) + record.delta_entries
    gathered = _Gathered(room, total, record.dimension)
    for tree in chosen:
        for first in range(0, tree.slots, RECORD_SLOTS):
            with task.engine.store.view(record.name) as view:
                gathered.add(postings.read_tree(view.txn, view.tables, tree.generation, first, record.dimension), view)
            task.report(Progress("read", gathered.seen, total))
    folded = int(record.folded)
    last = int(record.next_entry) - 1
    while folded < last:
        before = folded
        with task.engine.store.view(record.name) as view:
            for slots in islice(view.delta_after(folded), READ_RECORDS):
                if slots.ids[-1] > last:  # what came since the build began is the next one's
                    slots = slots.take(slots.ids <= last)
                gathered.add(slots, view)
                folded = int(slots.ids[-1]) if len(slots) else last
        if folded == before:
            raise DataLoss(
                f"the delta of {record.name!r} lacks entries after {folded}; `atlasdb verify` lists all damage"
            )
        task.report(Progress("read", min(gathered.seen, total), total))
    return gathered.slots(), folded, gathered.gone


class _Gathered:
    """Slots that come in parts, in memory taken once; those whose entries are all deleted are left out."""

    def __init__(self, slots: int, entries: int, dimension: int) -> None:
        self._keys = Vectors(np.empty((slots, dimension), np.int8), np.empty(slots, np.float32))
        self._subjects = np.empty(slots, np.uint64)
        self._starts = np.zeros(slots + 1, np.int64)
        self._ids, self._value_ids = (np.empty(entries, np.uint64) for _ in range(2))
        self._count = self._entries = 0
        self.seen = 0
        self.gone = 0

    def add(self, slots: Slots, view: View) -> None:
        """Some more, less the entries that are deleted by now."""
        self.seen += slots.entries
        dead = tombstones.among(view.tombstones(), slots.ids)
        if dead.any():
            slots = _without(slots, dead)
            self.gone += int(dead.sum())
        here = slice(self._count, self._count + len(slots))
        entries = slice(self._entries, self._entries + slots.entries)
        self._keys.data[here], self._keys.scales[here] = slots.keys.data, slots.keys.scales
        self._subjects[here] = slots.subjects
        self._ids[entries], self._value_ids[entries] = slots.ids, slots.value_ids
        self._starts[here.start + 1 : here.stop + 1] = slots.starts[1:] + np.int64(self._entries)
        self._count, self._entries = here.stop, entries.stop

    def slots(self) -> Slots:
        """All."""
        here, entries = slice(0, self._count), slice(0, self._entries)
        keys = Vectors(self._keys.data[here], self._keys.scales[here])
        starts = self._starts[: self._count + 1]
        return Slots(self._subjects[here], keys, starts, self._ids[entries], self._value_ids[entries])


def _without(slots: Slots, dead: npt.NDArray[np.bool_]) -> Slots:
    """Less the entries that are `dead` (m,), and the slots that have no other."""
    owner = np.repeat(np.arange(len(slots)), np.diff(slots.starts))[~dead]
    left = np.bincount(owner, minlength=len(slots))
    kept = left > 0
    starts = np.concatenate([[0], np.cumsum(left[kept])])
    ids, value_ids = slots.ids[~dead], slots.value_ids[~dead]
    return Slots(slots.subjects[kept], slots.keys.take(kept), starts, ids, value_ids)


def _write_directions(task: _Build, planned: TreePlan, summary: Summary, write: WriteTxn, changes: Changes) -> None:
    write.grows = True
    nodes.write_summary(write.txn, changes.tables, task.generation, summary)
    nodes.write_directions(write.txn, changes.tables, task.generation, planned)


def _write_nodes(task: _Build, planned: TreePlan) -> None:
    total = len(planned.nodes)
    for firsts in _batches(total, RECORD_NODES):

        def job(write: WriteTxn, changes: Changes, firsts: range = firsts) -> None:
            write.grows = True
            for first in firsts:
                stop = min(first + RECORD_NODES, total)
                rows, vectors = rows_of(planned, first, stop), planned.nodes.data[first:stop]
                nodes.write(write.txn, changes.tables, task.generation, first, rows, vectors)

        task.submit(job, len(firsts) * RECORD_NODES * task.record.dimension)
        task.report(Progress("write nodes", min(firsts.stop, total), total))


def _write_slots(task: _Build, planned: TreePlan, given: Slots) -> None:
    total = len(planned.order)
    for firsts in _batches(total, RECORD_SLOTS):

        def job(write: WriteTxn, changes: Changes, firsts: range = firsts) -> None:
            write.grows = True
            for first in firsts:
                slots = planned.slots(given, first, min(first + RECORD_SLOTS, total))
                postings.write_tree(write.txn, changes.tables, task.generation, first, slots)

        task.submit(job, len(firsts) * RECORD_SLOTS * task.record.dimension)
        task.report(Progress("write postings", min(firsts.stop, total), total))


def _write_places(task: _Build, planned: TreePlan, first: int, last: int) -> None:
    """Which slot each entry is in, by its id; parts without an entry are left out."""
    slots = np.repeat(np.arange(len(planned.order), dtype=np.uint32), np.diff(planned.entry_starts))
    order = np.argsort(planned.ids, kind="stable")
    offsets, slots = planned.ids[order] - np.uint64(first), slots[order]
    parts = range((last - first >> matrices.PLACES_SHIFT) + 1)
    for start in parts[::WRITE_RECORDS]:
        some = parts[start : start + WRITE_RECORDS]

        def job(write: WriteTxn, changes: Changes, some: range = some) -> None:
            write.grows = True
            for part in some:
                low, high = np.searchsorted(offsets, np.array([part, part + 1], np.uint64) << matrices.PLACES_SHIFT)
                if low < high:
                    places = np.full(nodes.PLACES, nodes.NOWHERE, np.uint32)
                    places[offsets[low:high] - np.uint64(part << matrices.PLACES_SHIFT)] = slots[low:high]
                    nodes.write_places(write.txn, changes.tables, task.generation, part, places)

        task.submit(job, len(some) * 4 * nodes.PLACES)
        task.report(Progress("write places", some[-1] + 1, len(parts)))


def _batches(total: int, step: int) -> Iterator[range]:
    """The first rows of records, some records at a time."""
    for start in range(0, total, WRITE_RECORDS * step):
        yield range(start, min(total, start + WRITE_RECORDS * step), step)
