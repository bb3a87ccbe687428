"""Bytes on disk, table by table: a few records of each kind, written by the store's own code into a scratch store.

So what a row takes has LMDB's pages in it, and follows the format by itself. Records are full, as a bulk load's are.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, sqrt
from pathlib import Path

import numpy as np

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.engine.packing import packed
from atlasdb.matrices import EntryRows
from atlasdb.planning.shape import Shape
from atlasdb.store import entries, nodes, postings, values
from atlasdb.store.environment import Environment
from atlasdb.store.index import RUN_PAIRS, Index, Space
from atlasdb.store.opened import Tables, Txn
from atlasdb.tree import build, codes, graph
from atlasdb.tree.image import node_rows
from atlasdb.tree.slots import Slots
from atlasdb_contract.ids import CollectionId, Generation
from atlasdb_contract.types import Vectors

SAMPLE = 1 << 13
"""Most rows of a kind that are written: two full records, or eight of nodes."""
SAMPLE_ENTRIES = 1 << 20
"""Most entries of the slots that are written."""
MAP_BYTES = 1 << 32


@dataclass(frozen=True, slots=True)
class TreeSize:
    """A tree, or what it is made of: numbers of entries, slots, INTER nodes and ROOTs."""

    entries: int
    slots: int
    nodes: int

    @property
    def roots(self) -> int:
        """As a build makes them."""
        return max(1, round(build.ROOTS * sqrt(self.nodes)))


@dataclass(frozen=True, slots=True)
class RowBytes:
    """What one more row of each kind takes in the file."""

    entry: float
    value: float
    pair: float
    """A hash and an id in the index."""
    delta_slot: float
    slot: float
    """Of a tree, with the ids of its entries."""
    node: float
    root: float
    places: float
    """A record of the places of nodes.PLACES entries; a tree has whole ones."""

    def tree(self, size: TreeSize) -> dict[str, float]:
        """Bytes of a tree by table."""
        places = self.places * ceil(size.entries / nodes.PLACES)
        return {"postings": self.slot * size.slots, "nodes": self.node * size.nodes + self.root * size.roots + places}


def tables(shape: Shape, rows: RowBytes, tree: TreeSize, pairs: float) -> dict[str, float]:
    """Bytes of a built collection's tables; `pairs` of its index, those that lie in it twice counted so."""
    flat = {"entries": rows.entry * shape.entries, "values": rows.value * shape.values, "index": rows.pair * pairs}
    return flat | rows.tree(tree)


def tree_of(shape: Shape, pieces: float) -> TreeSize:
    """The tree of all entries; `pieces` nodes for each head."""
    return TreeSize(shape.entries, shape.slots, max(1, round(shape.heads * pieces)))


def measured(shape: Shape, tree: TreeSize, folder: Path) -> RowBytes:
    """Of a collection of this shape with this tree. `folder` is for the scratch store, made there and left."""
    environment = Environment(folder, MAP_BYTES)
    try:
        with environment.writing() as txn:
            collection = CollectionId(1)
            environment.open_tables(txn, collection)
            return _Writing(txn, environment.tables(collection), shape, tree).all()
    finally:
        environment.close()


@dataclass(frozen=True, slots=True)
class _Writing:
    """Rows of nothing: only how long they are matters."""

    txn: Txn
    tables: Tables
    shape: Shape
    tree: TreeSize

    def all(self) -> RowBytes:
        shape = self.shape
        some = min(SAMPLE, shape.entries)
        slots = max(1, min(SAMPLE, shape.slots, SAMPLE_ENTRIES * shape.slots // shape.entries))
        held = max(slots, round(slots * shape.entries / shape.slots))
        return RowBytes(
            entry=self._grown("entries", some, self._entries),
            value=self._grown("values", min(SAMPLE, shape.values), self._values),
            pair=self._grown("index", min(RUN_PAIRS, shape.entries), self._pairs),
            delta_slot=self._grown("postings", some, lambda n: self._delta(self._slots(n, n))),
            slot=self._grown("postings", slots, lambda n: self._tree(self._slots(n, held))),
            node=self._grown("nodes", min(SAMPLE, self.tree.nodes), self._nodes),
            root=self._grown("nodes", min(SAMPLE, self.tree.roots), self._roots),
            places=self._grown("nodes", 1, self._places),
        )

    def _grown(self, table: str, count: int, write: Callable[[int], None]) -> float:
        """Bytes by which a table grows with each of so many rows."""
        before = self._bytes(table)
        write(count)
        return (self._bytes(table) - before) / count

    def _bytes(self, table: str) -> int:
        stat = self.txn.stat(getattr(self.tables, table))
        return int(stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]))

    def _vectors(self, count: int) -> Vectors:
        return Vectors(np.zeros((count, self.shape.dimension), np.int8), np.ones(count, np.float32))

    def _entries(self, count: int) -> None:
        third, rest = divmod(round(self.shape.text_bytes), 3)
        lengths = np.tile(np.array([third, third, third + rest], np.uint32), (count, 1))
        texts, ends, _, _ = packed(np.full(int(lengths.sum()), ord("a"), np.uint8), lengths)
        rows = EntryRows(
            np.zeros(count, np.uint8), np.zeros(count, np.uint64), np.zeros((count, 2), np.uint64), texts, ends
        )
        entries.append(self.txn, self.tables, 1, rows)

    def _values(self, count: int) -> None:
        values.append(self.txn, self.tables, 1, np.zeros((count, 2), np.uint64), self._vectors(count))

    def _pairs(self, count: int) -> None:
        numbers = np.arange(count, dtype=np.uint64)
        Index(self.txn, self.tables, Space.TRIPLES, lambda ids: np.ones(len(ids), np.bool_)).append(numbers, numbers)

    def _slots(self, count: int, held: int) -> Slots:
        """`held` entries in so many slots."""
        ids, starts = np.arange(1, held + 1, dtype=np.uint64), np.linspace(0, held, count + 1).astype(np.int64)
        return Slots(np.zeros(count, np.uint64), self._vectors(count), starts, ids, ids)

    def _delta(self, slots: Slots) -> None:
        postings.append(self.txn, self.tables, 0, slots)

    def _tree(self, slots: Slots) -> None:
        postings.write_tree(self.txn, self.tables, Generation(1), 0, slots)

    def _nodes(self, count: int) -> None:
        rows = np.zeros(count, node_rows(codes.words(self.shape.dimension), graph.DEGREE))
        vectors = self._vectors(count).data
        for first in range(0, count, nodes.RECORD_NODES):
            part = slice(first, first + nodes.RECORD_NODES)
            nodes.write(self.txn, self.tables, Generation(1), first, rows[part], vectors[part])

    def _roots(self, count: int) -> None:
        for first in range(0, count, nodes.RECORD_NODES):
            key = fmt.NODE_KEY.pack(1, fmt.Level.ROOT, first)
            some = min(nodes.RECORD_NODES, count - first)
            record = matrices.seal_vectors(key, self._vectors(some), np.zeros(some, np.int64))
            self.txn.put(key, record, db=self.tables.nodes)

    def _places(self, _: int) -> None:
        nodes.write_places(self.txn, self.tables, Generation(1), 0, np.zeros(nodes.PLACES, np.uint32))
