"""The whole-store check of one collection: each record by itself, then how they fit together.

Everything is looked at in one view, so that what writers do meanwhile does not matter; it takes about 100 bytes of
memory an entry. Damage is told in sentences; a sentence about many entries names the first of them.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from itertools import chain
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from atlasdb import matrices, setsum
from atlasdb.format import Flag, Level
from atlasdb.store import nodes, postings, tombstones, trees
from atlasdb.store.directory import after
from atlasdb.store.environment import Record
from atlasdb.store.identity import facts_of
from atlasdb.store.index import Index, Space
from atlasdb.store.registry import TreeRecord
from atlasdb.store.view import View
from atlasdb.tree.check import problems
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Ids, Progress

NAMED = 5
"""Ids that one sentence names."""

T = TypeVar("T")


@dataclass(slots=True)
class _Columns:
    """Numbers of many records, gathered in parts: u64 each."""

    parts: dict[str, list[Ids]] = field(default_factory=dict)

    def add(self, **columns: npt.ArrayLike) -> None:
        """The next records' numbers."""
        for name, numbers in columns.items():
            self.parts.setdefault(name, []).append(np.asarray(numbers, np.uint64))

    def __getitem__(self, name: str) -> Ids:
        return np.concatenate(self.parts.get(name, [np.zeros(0, np.uint64)]))

    def by_id(self) -> Ids:
        """Ids and value ids side by side: (n, 2), sorted by id."""
        stacked = np.stack([self["ids"], self["value_ids"]], axis=1)
        return stacked[np.argsort(stacked[:, 0], kind="stable")]


def check(view: View) -> Iterator[Progress]:
    """Go through the collection; each Progress has the damage found since the one before."""
    return _Check(view).run()


class _Check:
    def __init__(self, view: View) -> None:
        self._view = view
        self._name = view.record.name
        self._damage: list[str] = []
        self._entries = _Columns()
        self._values = _Columns()
        self._slots = _Columns()
        self._given = 0
        self._sum = setsum.EMPTY
        self._dead = self._tombstones()

    def run(self) -> Iterator[Progress]:
        record = self._view.record
        yield from self._each("entries", self._read_entries(), record.entries)
        yield from self._each("values", self._read_values(), record.next_value - 1)
        yield from self._each("postings", self._read_postings(), record.entries + record.tombstones)
        for what, stage in (
            ("entries", self._check_entries),
            ("the index", self._check_index),
            ("postings", self._check_postings),
            ("the trees", self._check_trees),
        ):
            try:
                stage()
            except DataLoss as error:
                self._damage.append(str(error))
            yield self._progress(f"consistency of {what}", 1, 1)

    def _tombstones(self) -> Ids:
        """None where they can't be read, which is told."""
        try:
            return self._view.tombstones()
        except DataLoss as error:
            self._damage.append(str(error))
            return np.zeros(0, np.uint64)

    def _each(self, stage: str, batches: Iterator[int], total: int) -> Iterator[Progress]:
        done = 0
        for count in batches:
            done += count
            yield self._progress(stage, done, total)

    def _progress(self, stage: str, done: int, total: int) -> Progress:
        damage, self._damage = tuple(self._damage), []
        return Progress(stage, done, total, damage=damage)

    def _say(self, bad: Ids, what: str) -> None:
        """One sentence about ids that something is wrong with."""
        if len(bad):
            named = ", ".join(map(str, bad[:NAMED].tolist())) + (", …" if len(bad) > NAMED else "")
            self._damage.append(f"{self._name}: {what}: {len(bad)}, with the ids {named}")

    def _expect(self, what: str, counted: object, recorded: object) -> None:
        if counted != recorded:
            self._damage.append(f"{self._name}: the registry counts {recorded} {what}; there are {counted}")

    # ---- each record by itself ----

    def _opened(self, records: Iterator[Record], opened: Callable[[bytes, memoryview], T]) -> Iterator[tuple[int, T]]:
        """A table's records with the numbers that are their keys; damaged ones are told and left out."""
        for key, record in records:
            try:
                yield int.from_bytes(key, "big"), opened(key, record)
            except DataLoss as error:
                self._damage.append(str(error))

    def _read_entries(self) -> Iterator[int]:
        view, dead = self._view, self._dead
        for first, rows in self._opened(after(view.txn, view.tables.entries, 0), matrices.open_entries):
            ids = np.arange(first, first + len(rows), dtype=np.uint64)
            hashes = facts_of(rows.texts, rows.ends, view.record.salt).hashes
            there = ~tombstones.among(dead, ids)
            self._given += len(ids)
            self._sum = setsum.added(self._sum, rows.items[there])
            self._entries.add(ids=ids[there], value_ids=rows.value_ids[there])
            self._entries.add(flags=rows.flags[there], hashes=hashes[there])
            yield int(there.sum())

    def _read_values(self) -> Iterator[int]:
        view, dimension = self._view, self._view.record.dimension
        records = after(view.txn, view.tables.values, 0)
        opened = self._opened(records, lambda key, record: matrices.open_values(dimension, key, record))
        for first, (identities, vectors) in opened:
            ids = np.arange(first, first + len(vectors), dtype=np.uint64)
            self._values.add(ids=ids, hashes=identities[:, 0])
            yield len(vectors)

    def _read_postings(self) -> Iterator[int]:
        view, record = self._view, self._view.record
        trees = [postings.of_tree(view.txn, view.tables, tree.generation) for tree in record.trees]
        records = chain(*trees, postings.of_delta(view.txn, view.tables, record.folded))
        for _, slots in self._opened(records, lambda key, lent: matrices.open_slots(record.dimension, key, lent)):
            self._slots.add(ids=slots.ids, value_ids=slots.value_ids)
            yield slots.entries

    # ---- how they fit together ----

    def _check_entries(self) -> None:
        record, ids, flags = self._view.record, self._entries["ids"], self._entries["flags"]
        inverse = (flags & np.uint64(Flag.INVERSE)) != 0
        self._expect("rows of entries", self._given, record.next_entry - 1)
        self._expect("entries", len(ids), record.entries)
        self._expect("entries that add up to", self._sum.hex(), record.setsum.hex())
        self._expect("inverse entries", int(inverse.sum()), record.inverse_entries)
        self._expect("values", len(self._values["ids"]), record.next_value - 1)
        self._say(ids[ids >= record.next_entry], "entries whose id was never given")
        expected = ids[(flags & np.uint64(Flag.HAS_INVERSE)) != 0] + np.uint64(1)
        self._say(np.setxor1d(expected, ids[inverse]), "inverse entries that are missing or that no entry has")
        self._say(ids[~np.isin(self._entries["value_ids"], self._values["ids"])], "entries without their value")

    def _check_index(self) -> None:
        forward = (self._entries["flags"] & np.uint64(Flag.INVERSE)) == 0
        ids, hashes = self._entries["ids"][forward], self._entries["hashes"][forward]
        self._say(ids[~self._indexed(Space.TRIPLES, ids, hashes)], "entries that the index of triples lacks")
        ids, hashes = self._values["ids"], self._values["hashes"]
        self._say(ids[~self._indexed(Space.VALUES, ids, hashes)], "values that the index of values lacks")

    def _indexed(self, space: Space, ids: Ids, hashes: Ids) -> npt.NDArray[np.bool_]:
        """Which of these pairs an index holds."""
        held = _Columns()
        for some, of in Index(self._view.txn, self._view.tables, space, lambda _: np.ones(0, np.bool_)).pairs():
            if (some[1:] < some[:-1]).any():
                self._damage.append(f"{self._name}: a record of the index of {space.name} is out of order")
            held.add(hashes=some, ids=of)
        order = np.argsort(held["ids"], kind="stable")
        if not len(order):
            return np.zeros(len(ids), np.bool_)
        at = np.minimum(np.searchsorted(held["ids"][order], ids), len(order) - 1)
        there: npt.NDArray[np.bool_] = (held["ids"][order][at] == ids) & (held["hashes"][order][at] == hashes)
        return there

    def _check_postings(self) -> None:
        dead = self._dead
        stored, slots = self._entries.by_id(), self._slots.by_id()
        gone = tombstones.among(dead, slots[:, 0])
        self._expect("tombstones", int(gone.sum()), self._view.record.tombstones)
        self._say(slots[1:, 0][slots[1:, 0] == slots[:-1, 0]], "entries in two slots of postings")
        self._say(np.setdiff1d(stored[:, 0], slots[:, 0]), "entries in no posting")
        live = slots[~gone]
        self._say(np.setdiff1d(live[:, 0], stored[:, 0]), "slots of postings without an entry")
        there = stored[np.isin(stored[:, 0], live[:, 0])]
        live = live[np.isin(live[:, 0], stored[:, 0])]
        if len(live) == len(there):
            self._say(there[(live != there).any(axis=1), 0], "entries that differ from their slot in a posting")

    def _check_trees(self) -> None:
        view, record = self._view, self._view.record
        of_trees = sum(tree.entries for tree in record.trees)
        self._expect("entries of the delta", len(self._slots["ids"]) - of_trees, record.delta_entries)
        for tree in record.trees:
            trees.read(view.txn, view.tables, tree, record.dimension)
            self._check_places(tree)
            self._damage += [f"{self._name}: generation {tree.generation}: {what}" for what in self._problems(tree)]

    def _check_places(self, tree: TreeRecord) -> None:
        """Whether every entry of a tree is found by its id."""
        view, dimension = self._view, self._view.record.dimension
        first, ids, slots = 0, [], []
        for _, record in postings.of_tree(view.txn, view.tables, tree.generation):
            held = matrices.open_slots(dimension, _, record)
            ids.append(held.ids.astype(np.uint64))
            slots.append(np.repeat(np.arange(first, first + len(held)), np.diff(held.starts)))
            first += len(held)
        joined, wanted = np.concatenate(ids), np.concatenate(slots)
        found = trees.slots_of(view.txn, view.tables, tree, joined)
        self._say(
            np.sort(joined[found != wanted]), f"entries of generation {tree.generation} that its places lead elsewhere"
        )

    def _problems(self, tree: TreeRecord) -> list[str]:
        view, dimension = self._view, self._view.record.dimension
        roots, inter = (
            [
                matrices.open_nodes(dimension, *lent)
                for lent in nodes.of_level(view.txn, view.tables, tree.generation, level)
            ]
            for level in Level
        )
        starts = np.concatenate([part.starts[:-1] for part in inter] + [inter[-1].starts[-1:]])
        gates, links = (np.concatenate([part.links for part in level]) for level in (roots, inter))
        return problems(gates, links, starts.astype(np.int64), tree.slots)
