"""A collection's forest, found in the store: where the records of its trees and its delta lie in the map.

Addresses hold as long as the records do. LMDB never moves a record that has pages of its own, so those of a tree hold
for its life; a record small enough to share a page may move with any write to its table.
"""

from collections.abc import Iterable, Iterator

import numpy as np

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.format import Level
from atlasdb.store import nodes, postings
from atlasdb.store.environment import Record, Tables, Txn
from atlasdb.store.registry import CollectionRecord, TreeRecord
from atlasdb.tree.codes import words as code_words
from atlasdb.tree.image import NODE_COLUMNS, SLOT_COLUMNS, Columns, Forest, Tree, rows_in
from atlasdb.tree.slots import Positions
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import CollectionId
from atlasdb_contract.types import Ids, Vectors

ITS_OWN_PAGES = 4096
"""A record of at least so many bytes has pages of its own (LMDB's limit is half a page, less a header)."""


class TreeCache:
    """Trees that stay where they are, and the latest forest of each collection. Its users' threads share it."""

    def __init__(self) -> None:
        self._trees: dict[tuple[CollectionId, int], Tree] = {}
        self._forests: dict[CollectionId, tuple[tuple[int, int], Forest]] = {}

    def forest(self, txn: Txn, tables: Tables, record: CollectionRecord, dead: Ids) -> Forest:
        """All slots as this transaction has them. `dead`: the tombstones."""
        version = (record.revision, record.deletions)
        known = self._forests.get(record.id)
        if known is not None and known[0] == version:
            return known[1]
        trees = [self._tree(txn, tables, record, one) for one in record.trees]
        forest = Forest.of(record.dimension, trees, _delta(txn, tables, record), dead)
        if known is None or known[0] < version:
            self._forests[record.id] = (version, forest)
            self._forget_trees(record)
        return forest

    def _tree(self, txn: Txn, tables: Tables, record: CollectionRecord, one: TreeRecord) -> Tree:
        tree = self._trees.get((record.id, one.generation))
        if tree is None:
            tree, stays = read(txn, tables, one, record.dimension)
            if stays:
                self._trees[record.id, one.generation] = tree
        return tree

    def _forget_trees(self, record: CollectionRecord) -> None:
        alive = {one.generation for one in record.trees}
        for key in list(self._trees):
            if key[0] == record.id and key[1] not in alive:
                self._trees.pop(key, None)

    def forget(self, collection: CollectionId) -> None:
        """The collection is gone."""
        self._forests.pop(collection, None)
        for key in list(self._trees):
            if key[0] == collection:
                self._trees.pop(key, None)


def read(txn: Txn, tables: Tables, one: TreeRecord, dimension: int) -> tuple[Tree, bool]:
    """A tree, and whether its records stay where they are. DataLoss where one is missing or cut short."""
    roots, firsts = nodes.directions(txn, tables, one.generation, Level.ROOT, dimension)
    residuals, _ = nodes.directions(txn, tables, one.generation, Level.RESIDUAL, dimension)
    inter, links, nodes_stay = _nodes(nodes.of_level(txn, tables, one.generation, Level.INTER), dimension)
    slots, slots_stay = _slots(postings.of_tree(txn, tables, one.generation), dimension)
    for what, found, wanted, shift in (
        ("INTER nodes", inter, one.nodes, matrices.NODES_SHIFT),
        ("slots", slots, one.slots, matrices.SLOTS_SHIFT),
    ):
        if len(found) != wanted or (found.counts[:-1] != 1 << shift).any():
            raise DataLoss(
                f"generation {one.generation} has {len(found)} {what} of {wanted}; `atlasdb verify` lists all damage"
            )
    root_starts = np.append(firsts, one.nodes)
    tree = Tree(roots, root_starts, residuals, inter, links, slots, matrices.NODES_SHIFT, matrices.SLOTS_SHIFT)
    return tree, nodes_stay and slots_stay


def _delta(txn: Txn, tables: Tables, record: CollectionRecord) -> Columns:
    return _slots(postings.of_delta(txn, tables, record.folded), record.dimension)[0]


def _slots(records: Iterable[Record], dimension: int) -> tuple[Columns, bool]:
    counts, at, stays = [], [], True
    for key, record in records:
        count, entries = matrices.slot_counts(dimension, key, record)
        start = address(record)
        at.append([start + offset for offset in matrices.slot_offsets(count, entries)])
        counts.append(count)
        stays &= len(record) >= ITS_OWN_PAGES
    return _columns(counts, at, SLOT_COLUMNS), stays


def _nodes(records: Iterable[Record], dimension: int) -> tuple[Columns, int, bool]:
    counts, at, stays, links = [], [], True, -1
    for key, record in records:
        count, width, words = matrices.node_shape(dimension, key, record)
        links = width if links < 0 else links
        if (width, words) != (links, code_words(dimension)):
            raise fmt.damaged("nodes", key, "has links or codes of another number")
        start = address(record)
        at.append([start + offset for offset in matrices.node_offsets(count, links, words)])
        counts.append(count)
        stays &= len(record) >= ITS_OWN_PAGES
    return _columns(counts, at, NODE_COLUMNS), links, stays


def _columns(counts: list[int], at: list[list[int]], columns: int) -> Columns:
    return Columns(np.array(counts, np.int64), np.array(at, np.int64).reshape(len(at), columns))


def slots_of(txn: Txn, tables: Tables, one: TreeRecord, ids: Ids) -> Positions:
    """The slot of each entry in a tree: int64 (n,), -1 where it is not in it."""
    found = np.full(len(ids), -1, np.int64)
    inside = np.flatnonzero((ids >= one.first) & (ids <= one.last))
    offsets = (ids[inside] - np.uint64(one.first)).astype(np.int64)
    parts = offsets >> matrices.PLACES_SHIFT
    for part in np.unique(parts).tolist():
        here = parts == part
        places = nodes.places(txn, tables, one.generation, part)
        if len(places):
            slots = places[offsets[here] & (nodes.PLACES - 1)]
            found[inside[here]] = np.where(slots == nodes.NOWHERE, -1, slots.astype(np.int64))
    return found


def keys_of(txn: Txn, tables: Tables, one: TreeRecord, dimension: int, ids: Ids) -> Iterator[tuple[Ids, Vectors]]:
    """The keys of those of `ids` (sorted) that are in a tree: some ids, and their keys, at a time."""
    slots = slots_of(txn, tables, one, ids)
    there = slots >= 0
    ids, wanted = ids[there], slots[there]
    for record in np.unique(wanted >> matrices.SLOTS_SHIFT).tolist():
        here = wanted >> matrices.SLOTS_SHIFT == record
        key = fmt.POSTING_KEY.pack(one.generation, record << matrices.SLOTS_SHIFT)
        lent = txn.get(key, db=tables.postings)
        if lent is not None:
            found = matrices.open_slots(dimension, key, lent)
            yield ids[here], found.keys.take(wanted[here] - (record << matrices.SLOTS_SHIFT))


def address(record: memoryview) -> int:
    """Where a record begins in memory."""
    where: int = np.frombuffer(record, np.uint8).__array_interface__["data"][0]
    return where


def largest_node(tree: Tree) -> int:
    """Slots under the INTER node that has most; the tree's view is open."""
    records = range(len(tree.nodes.counts))
    return max((int(rows_in(tree, record)["count"].max()) for record in records), default=0)
