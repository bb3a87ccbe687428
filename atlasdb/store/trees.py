"""A collection's forest, found in the store: where the records of its trees and its delta lie in the map.

Addresses hold as long as the records do. LMDB never moves a record that has pages of its own, so those of a tree hold
for its life; a record small enough to share a page may move with any write to its table.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.format import Level
from atlasdb.store import nodes, postings, tombstones
from atlasdb.store.opened import Tables, Txn
from atlasdb.store.owners import having
from atlasdb.store.records import Record
from atlasdb.store.registry import CollectionRecord, Out, TreeRecord
from atlasdb.tree import scoring
from atlasdb.tree.codes import words as code_words
from atlasdb.tree.image import NODE_COLUMNS, SLOT_COLUMNS, Columns, Forest, Tree, lent
from atlasdb.tree.slots import Positions
from atlasdb.tree.summary import Summary
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import CollectionId
from atlasdb_contract.types import Ids, Vectors

ITS_OWN_PAGES = 4096
"""A record of at least so many bytes has pages of its own (LMDB's limit is half a page, less a header)."""


@dataclass(frozen=True, slots=True)
class Woods:
    """A collection's forest, with what its damage cost. `trees`: those that are walked, as the forest has them; the
    slots of others are compared one by one. `out`: entries, about, that nothing finds; `damage`: in sentences."""

    forest: Forest
    trees: tuple[TreeRecord, ...]
    keys: tuple[bytes, ...]
    """Of the forest's records of slots."""
    out: int
    damage: tuple[str, ...]


_Kept: TypeAlias = tuple[Tree, tuple[bytes, ...]]
"""A tree, and the keys of its records of slots."""


class TreeCache:
    """Trees that stay where they are, and the latest forest of each collection. Its users' threads share it."""

    def __init__(self) -> None:
        self._trees: dict[tuple[CollectionId, int], _Kept] = {}
        self._woods: dict[CollectionId, tuple[tuple[int, ...], Woods]] = {}

    def woods(
        self, txn: Txn, tables: Tables, record: CollectionRecord, dead: Callable[[], Ids], out: frozenset[Out]
    ) -> Woods:
        """All slots as this transaction has them. `dead`: the tombstones; `out`: damage that is known of."""
        version = (record.revision, record.deletions, len(out))
        known = self._woods.get(record.id)
        if known is not None and known[0] == version:
            return known[1]
        found = _Gathering(self, txn, tables, record).woods(dead(), out)
        if known is None or known[0] < version:
            self._woods[record.id] = (version, found)
            self._forget_trees(record)
        return found

    def tree(self, txn: Txn, tables: Tables, record: CollectionRecord, one: TreeRecord) -> "_Kept":
        """A tree, and the keys of its records of slots. DataLoss as `read` says."""
        kept = self._trees.get((record.id, one.generation))
        if kept is None:
            tree, keys, stays = read(txn, tables, one, record.dimension)
            kept = tree, keys
            if stays:
                self._trees[record.id, one.generation] = kept
        return kept

    def _forget_trees(self, record: CollectionRecord) -> None:
        alive = {one.generation for one in record.trees}
        for key in list(self._trees):
            if key[0] == record.id and key[1] not in alive:
                self._trees.pop(key, None)

    def forget(self, collection: CollectionId) -> None:
        """The collection is gone."""
        self._woods.pop(collection, None)
        for key in list(self._trees):
            if key[0] == collection:
                self._trees.pop(key, None)


class _Gathering:
    """A collection's records of slots, put together."""

    def __init__(self, cache: TreeCache, txn: Txn, tables: Tables, record: CollectionRecord) -> None:
        self._cache, self._txn, self._tables, self._record = cache, txn, tables, record
        self._damage: list[str] = []

    def woods(self, dead: Ids, out: frozenset[Out]) -> Woods:
        """All of it."""
        record = self._record
        trees, walked, loose = [], [], []
        keys: list[bytes] = []
        for one in record.trees:
            try:
                tree, of_tree = self._cache.tree(self._txn, self._tables, record, one)
            except DataLoss as error:
                self._damage.append(str(error))
                loose.append(self._sound(postings.of_tree(self._txn, self._tables, one.generation)))
            else:
                trees.append(tree)
                walked.append(one)
                keys += of_tree
        loose.append(self._sound(postings.of_delta(self._txn, self._tables, record.folded)))
        keys += [key for part in loose for key in part[1]]
        delta = Columns.joined([part[0] for part in loose])
        forest = Forest.of(record.dimension, trees, delta, dead)
        return self._without(Woods(forest, tuple(walked), tuple(keys), 0, ()), out)

    def _sound(self, records: Iterator[Record]) -> tuple[Columns, list[bytes]]:
        """Of those records whose slots can be told apart."""
        counts, at = [], []
        keys: list[bytes] = []
        for key, record in records:
            try:
                columns, some, _ = _slots([(key, record)], self._record.dimension)
            except DataLoss as error:
                self._damage.append(str(error))
            else:
                counts.append(columns.counts)
                at.append(columns.at)
                keys += some
        none = Columns.none(SLOT_COLUMNS)
        return Columns(np.concatenate([none.counts, *counts]), np.concatenate([none.at, *at])), keys

    def _without(self, woods: Woods, out: frozenset[Out]) -> Woods:
        """The same, with what is known to be damaged left out."""
        forest, record = woods.forest, self._record
        slots = _slots_out(woods.keys, out)
        expected = sum(one.entries for one in record.trees) + record.delta_entries
        held = int(forest.slots.at[:, scoring.ENTRIES].sum())
        lost = max(0, expected - held) + sum(_entries_of(forest, slot) for slot in slots.tolist())
        dead, values = forest.dead, [one for one in out if one.table == "values"]
        if values:
            wanted = np.array([int.from_bytes(one.key, "big") + one.row for one in values], np.uint64)
            ids = having(self._txn, self._tables, wanted)
            ids = ids[~tombstones.among(dead, ids)]
            dead, lost = tombstones.marked(dead, ids), lost + len(ids)
        told = [f"{one.table}: {fmt.shown(one.table, one.key)}, row {one.row}" for one in sorted(out)]
        forest = replace(forest, out=slots, dead=dead)
        damage = tuple(dict.fromkeys([*self._damage, *(f"damaged, and left out of fetches: {one}" for one in told)]))
        return replace(woods, forest=forest, out=lost, damage=damage)


def _slots_out(keys: tuple[bytes, ...], out: frozenset[Out]) -> Positions:
    """The forest's names of slots that are out, sorted."""
    rows: dict[bytes, list[int]] = {}
    for one in out:
        if one.table == "postings" and one.row >= 0:
            rows.setdefault(one.key, []).append(one.row)
    found = [record << scoring.POSITION_BITS | row for record, key in enumerate(keys) for row in rows.get(key, ())]
    return np.array(sorted(found), np.int64)


def _entries_of(forest: Forest, slot: int) -> int:
    """How many entries a slot has."""
    record, position = slot >> scoring.POSITION_BITS, slot & ((1 << scoring.POSITION_BITS) - 1)
    start, stop = scoring.span(forest.slots.at, record, position)
    return int(stop - start)


def read(txn: Txn, tables: Tables, one: TreeRecord, dimension: int) -> tuple[Tree, tuple[bytes, ...], bool]:
    """A tree, the keys of its records of slots, and whether its records stay where they are. DataLoss where one is
    missing or cut short."""
    roots, firsts = nodes.directions(txn, tables, one.generation, Level.ROOT, dimension)
    residuals, _ = nodes.directions(txn, tables, one.generation, Level.RESIDUAL, dimension)
    inter, links, nodes_stay = _nodes(nodes.of_level(txn, tables, one.generation, Level.INTER), dimension)
    slots, keys, slots_stay = _slots(postings.of_tree(txn, tables, one.generation), dimension)
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
    return tree, keys, nodes_stay and slots_stay


def _slots(records: Iterable[Record], dimension: int) -> tuple[Columns, tuple[bytes, ...], bool]:
    counts, at, keys, stays = [], [], [], True
    for key, record in records:
        count, entries = matrices.spanned_slots(dimension, key, record)
        keys.append(key)
        start = address(record)
        at.append([*(start + offset for offset in matrices.slot_offsets(count, entries)), entries])
        counts.append(count)
        stays &= len(record) >= ITS_OWN_PAGES
    return _columns(counts, at, SLOT_COLUMNS), tuple(keys), stays


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


def summary(txn: Txn, tables: Tables, one: TreeRecord) -> Summary | None:
    """What stats tell of a tree; None where that is not known."""
    with suppress(DataLoss):
        return nodes.summary(txn, tables, one.generation)
    return None


def delta_heads(forest: Forest, limit: int) -> tuple[Ids, int]:
    """The distinct hashes of heads in the delta, u64, sorted; of its first `limit` slots, about, and how many those
    are. The forest's view is open."""
    parts, seen = [np.zeros(0, np.uint64)], 0
    for record in range(forest.bases[-1], len(forest.slots.counts)):
        if seen >= limit:
            break
        count = int(forest.slots.counts[record])
        parts.append(lent(forest.slots.at[record, scoring.SUBJECTS], (count,), np.uint64))
        seen += count
    return np.unique(np.concatenate(parts)), seen
