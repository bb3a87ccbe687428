"""Trees made beside those that are read, while reads and writes go on.

`build` makes one tree of a whole collection. `fold` makes one of the delta and of the trees that are not much bigger,
so that a collection has few trees, each a few times bigger than the next, and every entry is folded a few times.

    read      the entries of the trees to be replaced and of the delta, in short views, into memory: (D + 28) bytes each
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

import numpy as np

from atlasdb import matrices
from atlasdb.engine.engine import Engine
from atlasdb.format import EntryColumns, Level
from atlasdb.store import nodes, postings, tombstones
from atlasdb.store.changes import Changes
from atlasdb.store.nodes import RECORD_NODES
from atlasdb.store.postings import RECORD_SLOTS
from atlasdb.store.registry import CollectionRecord, TreeRecord
from atlasdb.store.writer import WriteTxn
from atlasdb.tree.build import plan
from atlasdb.tree.image import TreePlan
from atlasdb.tree.rank import Slots
from atlasdb_contract.errors import AtlasError, Cancelled, FailedPrecondition
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Ids, Progress, Vectors

READ_ENTRIES = 8192
"""Entries that one view copies."""
WRITE_RECORDS = 8
"""Records of a tree that one transaction writes."""
GROWTH = 4
"""A fold takes in the trees that have fewer slots than this many times what it already has."""

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
    for tree in sorted(record.trees, key=lambda tree: tree.slots):
        if tree.slots >= GROWTH * size:
            break
        taken.append(tree)
        size += tree.slots
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
    record = task.record
    held, folded = _all_given(record) if len(task.replaced) == len(record.trees) else _held(task)
    columns = _read(task, held)
    planned = plan(columns.keys, columns.subjects, seed, task.report)
    tree = None
    if len(columns):
        for level in Level:
            _write_nodes(task, planned, level)
        _write_slots(task, planned, columns)
        tree = TreeRecord(task.generation, len(planned.roots), len(planned.nodes), len(columns))
    task.report(Progress("flip", 0, 1))

    def flip(write: WriteTxn, changes: Changes) -> None:
        dead = tombstones.read(write.txn, changes.tables)
        gone = dead[np.isin(dead, held) & ~np.isin(dead, columns.ids)]
        changes.flip(tree, task.replaced, folded, gone)

    task.submit(flip, 0)


def _all_given(record: CollectionRecord) -> tuple[Ids, int]:
    """The ids of all entries there were, and the last one: what is damaged in trees or delta is not asked for them."""
    return np.arange(1, record.next_entry, dtype=np.uint64), record.next_entry - 1


def _held(task: _Build) -> tuple[Ids, int]:
    """The ids of all slots that are replaced, sorted; the last entry of the delta."""
    record = task.record
    parts: list[Ids] = []
    with task.engine.store.view(record.name) as view:
        for generation in sorted(task.replaced):
            for key, lent in postings.of_tree(view.txn, view.tables, Generation(generation)):
                parts.append(matrices.open_slots(record.dimension, key, lent)[0].copy())
        folded = int(record.folded)
        for key, lent in postings.of_delta(view.txn, view.tables, folded):
            ids = matrices.open_slots(record.dimension, key, lent)[0]
            parts.append(ids.copy())
            folded = int(ids[-1])
    return (np.sort(np.concatenate(parts)) if parts else np.zeros(0, np.uint64)), folded


def _read(task: _Build, held: Ids) -> EntryColumns:
    """Those of these entries that are there."""
    record, room, count = task.record, min(len(held), task.record.entries), 0
    ids, value_ids, subjects = (np.zeros(room, np.uint64) for _ in range(3))
    keys = Vectors(np.zeros((room, record.dimension), np.int8), np.zeros(room, np.float32))
    for start in range(0, len(held), READ_ENTRIES):
        with task.engine.store.view(record.name) as view:
            part = view.columns(held[start : start + READ_ENTRIES])
        here = slice(count, count + len(part))
        ids[here], value_ids[here], subjects[here] = part.ids, part.value_ids, part.subjects
        keys.data[here], keys.scales[here] = part.keys.data, part.keys.scales
        count += len(part)
        task.report(Progress("read", count, room))
    there = slice(0, count)
    keys = Vectors(keys.data[there], keys.scales[there])
    return EntryColumns(ids[there], np.zeros(count, np.uint8), value_ids[there], subjects[there], keys)


def _write_nodes(task: _Build, planned: TreePlan, level: Level) -> None:
    columns = nodes.columns(planned, level)
    total = len(columns.links)
    for firsts in _batches(total, RECORD_NODES):

        def job(write: WriteTxn, changes: Changes, firsts: range = firsts) -> None:
            write.grows = True
            for first in firsts:
                nodes.write(write.txn, changes.tables, task.generation, level, columns, first)

        task.submit(job, len(firsts) * RECORD_NODES * task.record.dimension)
        task.report(Progress(f"write {level.name} nodes", min(firsts.stop, total), total))


def _write_slots(task: _Build, planned: TreePlan, columns: EntryColumns) -> None:
    total = len(columns)
    for firsts in _batches(total, RECORD_SLOTS):
        positions = planned.order[firsts.start : firsts.start + len(firsts) * RECORD_SLOTS]
        slots = Slots(columns.ids[positions], columns.value_ids[positions], columns.keys.take(positions))

        def job(write: WriteTxn, changes: Changes, first: int = firsts.start, slots: Slots = slots) -> None:
            write.grows = True
            postings.write_tree(write.txn, changes.tables, task.generation, first, slots)

        task.submit(job, len(slots) * task.record.dimension)
        task.report(Progress("write postings", min(firsts.stop, total), total))


def _batches(total: int, step: int) -> Iterator[range]:
    """The first rows of records, some records at a time."""
    for start in range(0, total, WRITE_RECORDS * step):
        yield range(start, min(total, start + WRITE_RECORDS * step), step)
