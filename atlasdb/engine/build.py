"""A new tree of a whole collection, made beside the old one while reads and writes go on.

    read      entries up to a last id, in short views, into memory: about (D + 28) bytes each
    plan      pure mathematics, atlasdb/tree/build.py
    write     the new generation's nodes and postings, in bounded transactions
    catch up  entries inserted meanwhile, placed in the new tree, until few are left
    flip      one transaction: place those few, count tombstones again, make the new generation the one that is read
    clear     the old generation, in bounded transactions

Until the flip nobody reads the new generation: a crash, an error or a cancel before it leaves the old one as it was,
and what was written is cleared at once, or when the store is next opened.
"""

from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field

import numpy as np

from atlasdb.engine.engine import Engine
from atlasdb.format import EntryColumns, Level, U32s
from atlasdb.store import nodes, postings, tombstones
from atlasdb.store.changes import Changes
from atlasdb.store.entries import columns_after
from atlasdb.store.postings import Placed
from atlasdb.store.registry import CollectionRecord
from atlasdb.store.writer import WriteTxn
from atlasdb.tree.build import plan
from atlasdb.tree.image import TreeImage, TreePlan
from atlasdb.tree.place import nearest
from atlasdb_contract.errors import AtlasError, Cancelled, FailedPrecondition
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Ids, Progress, Vectors

READ_ENTRIES = 8192
"""Entries that one view copies, and about as many as one transaction writes."""
WRITE_NODES = 4096
FEW = 256
"""So many entries may be left for the flip to place, in the writer's turn."""
CATCH_UP_ROUNDS = 64
"""After so many rounds the flip takes what is left, however much writers add."""

Report = Callable[[Progress], None]


@dataclass(slots=True)
class _Build:
    """One build: `record` as it was at the start; `placed`: ids that the new postings hold, in parts."""

    engine: Engine
    record: CollectionRecord
    report: Report
    placed: list[Ids] = field(default_factory=list)
    delta_entries: int = 0

    @property
    def generation(self) -> Generation:
        """The one being made."""
        return Generation(self.record.generation + 1)

    @property
    def last(self) -> int:
        """The last id that is placed."""
        return max((int(ids[-1]) for ids in self.placed if len(ids)), default=0)

    def submit(self, job: Callable[[WriteTxn, Changes], None], weight: int) -> None:
        """Run a job in the writer's turn; FailedPrecondition where the collection is another by now."""

        def run(write: WriteTxn) -> None:
            changes = write.changes(self.record.name)
            if (changes.record.id, changes.record.generation) != (self.record.id, self.record.generation):
                raise FailedPrecondition(f"the collection {self.record.name!r} was dropped while its tree was built")
            write.grows = True
            job(write, changes)

        self.engine.store.submit(run, weight).result()


def build(
    engine: Engine, name: str, seed: int, cancelled: Callable[[], bool], progress: Callable[[Progress], None]
) -> Generation:
    """See Database.build."""

    def report(step: Progress) -> None:
        if cancelled():
            raise Cancelled(f"the build of {name!r} was stopped; its tree is as it was")
        progress(step)

    with engine.building(name):
        engine.store.clear_generations(name)
        with engine.store.view(name) as view:
            record = view.record
        task = _Build(engine, record, report)
        try:
            image = _write_tree(task, seed)
            _catch_up(task, image)
            report(Progress("flip", 0, 1))
            _flip(task, image)
        except BaseException:
            with suppress(AtlasError):
                engine.store.clear_generations(name)
            raise
        progress(Progress("clear", 0, 0))
        engine.store.clear_generations(name)
        progress(Progress("clear", 1, 1, task.generation))
        return task.generation


def _write_tree(task: _Build, seed: int) -> TreeImage:
    """Read, plan, write: everything up to the last id of now is placed."""
    columns = _read(task)
    planned = plan(columns.keys, columns.subjects, seed, task.report)
    task.placed.append(columns.ids)
    _write_nodes(task, planned)
    _write_postings(task, columns, planned.node_of)
    return TreeImage.of(task.generation, planned.roots, planned.inter, planned.guides)


def _read(task: _Build) -> EntryColumns:
    """All entries up to the last id of now."""
    record, store = task.record, task.engine.store
    room, count, after = record.entries, 0, 0
    ids, value_ids, subjects = (np.zeros(room, np.uint64) for _ in range(3))
    keys = Vectors(np.zeros((room, record.dimension), np.int8), np.zeros(room, np.float32))
    while True:
        with store.view(record.name) as view:
            part = view.columns_after(after, READ_ENTRIES)
        part = part.take(part.ids < record.next_entry)
        if not len(part):
            break
        here = slice(count, count + len(part))
        ids[here], value_ids[here], subjects[here] = part.ids, part.value_ids, part.subjects
        keys.data[here], keys.scales[here] = part.keys.data, part.keys.scales
        count, after = count + len(part), int(part.ids[-1])
        task.report(Progress("read", count, room))
    there = slice(0, count)
    keys = Vectors(keys.data[there], keys.scales[there])
    return EntryColumns(ids[there], np.zeros(count, np.uint8), value_ids[there], subjects[there], keys)


def _write_nodes(task: _Build, planned: TreePlan) -> None:
    levels = ((Level.ROOT, planned.roots), (Level.INTER, planned.inter), (Level.GUIDE, planned.guides))
    for level, those in levels:
        for start in range(0, len(those), WRITE_NODES):

            def job(write: WriteTxn, changes: Changes, level=level, those=those, start=start) -> None:  # type: ignore[no-untyped-def]
                nodes.write(write.txn, changes.tables, task.generation, level, those, start, start + WRITE_NODES)

            task.submit(job, WRITE_NODES * task.record.dimension)
            task.report(Progress(f"write {level.name} nodes", min(start + WRITE_NODES, len(those)), len(those)))


def _write_postings(task: _Build, columns: EntryColumns, node_of: U32s) -> None:
    for done, positions in _batches(node_of):
        part = columns.take(positions)
        placed = Placed(node_of[positions], part.ids, part.value_ids, part.keys)

        def job(write: WriteTxn, changes: Changes, placed: Placed = placed) -> None:
            postings.write_built(write.txn, changes.tables, task.generation, placed)

        task.submit(job, len(placed) * task.record.dimension)
        task.report(Progress("write postings", done, len(columns)))


def _batches(node_of: U32s) -> Iterator[tuple[int, Ids]]:
    """(entries done after it, positions) of batches of whole nodes, of READ_ENTRIES entries or one node more."""
    order = np.argsort(node_of, kind="stable")
    ends = np.flatnonzero(np.diff(node_of[order], append=np.uint32(0xFFFFFFFF))) + 1
    start = 0
    while start < len(order):
        stop = int(ends[min(int(np.searchsorted(ends, start + READ_ENTRIES)), len(ends) - 1)])
        yield stop, order[start:stop].astype(np.uint64)
        start = stop


def _catch_up(task: _Build, image: TreeImage) -> None:
    """Place what came meanwhile, until few are left."""
    for _ in range(CATCH_UP_ROUNDS):
        with task.engine.store.view(task.record.name) as view:
            part = view.columns_after(task.last, READ_ENTRIES)
        if len(part) <= FEW:
            return
        placed = _placed(image, part)

        def job(write: WriteTxn, changes: Changes, placed: Placed = placed) -> None:
            postings.append(write.txn, changes.tables, task.generation, placed)

        task.submit(job, len(placed) * task.record.dimension)
        task.placed.append(part.ids)
        task.delta_entries += len(part)
        task.report(Progress("catch up", task.delta_entries, 0))


def _placed(image: TreeImage, columns: EntryColumns) -> Placed:
    return Placed(nearest(image, columns.keys), columns.ids, columns.value_ids, columns.keys)


def _flip(task: _Build, image: TreeImage) -> None:
    def job(write: WriteTxn, changes: Changes) -> None:
        late = columns_after(write.txn, changes.tables.entries, task.record.dimension, task.last, 1 << 40)
        if len(late):
            postings.append(write.txn, changes.tables, task.generation, _placed(image, late))
        slots = np.concatenate([*task.placed, late.ids])
        dead = tombstones.read(write.txn, changes.tables)
        changes.flip(task.generation, dead[~np.isin(dead, slots)], task.delta_entries + len(late))
        write.committed.append(lambda: task.engine.store.cache.keep_image(task.record.id, image))

    task.submit(job, 0)
