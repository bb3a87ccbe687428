"""A view: one collection as it is at one moment, in a read transaction that owns all that is borrowed through it."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from atlasdb import format as fmt
from atlasdb.format import EntryColumns, StoredEntry
from atlasdb.store import entries, nodes, postings, tombstones
from atlasdb.store.changes import Lookup
from atlasdb.store.environment import Tables, Txn
from atlasdb.store.registry import CollectionRecord
from atlasdb.tree.descend import PostingView
from atlasdb.tree.image import TreeImage
from atlasdb_contract.ids import CollectionId
from atlasdb_contract.types import Ids, Vectors


class Cache:
    """What views share: the latest tree and tombstones of each collection. Values are immutable."""

    def __init__(self) -> None:
        self._images: dict[CollectionId, TreeImage] = {}
        self._tombstones: dict[CollectionId, tuple[int, Ids]] = {}

    def image(self, txn: Txn, tables: Tables, record: CollectionRecord) -> TreeImage:
        """The tree of the record's generation."""
        image = self._images.get(record.id)
        if image is None or image.generation != record.generation:
            image = nodes.read(txn, tables, record.generation, record.dimension)
            self.keep_image(record.id, image)
        return image

    def keep_image(self, collection: CollectionId, image: TreeImage) -> None:
        """Remember the newest."""
        known = self._images.get(collection)
        if known is None or known.generation <= image.generation:
            self._images[collection] = image

    def tombstones(self, txn: Txn, tables: Tables, record: CollectionRecord) -> Ids:
        """Sorted u64 (n,)."""
        deletions, ids = self._tombstones.get(record.id, (-1, None))
        if ids is None or deletions != record.deletions:
            ids = tombstones.read(txn, tables) if record.tombstones else np.zeros(0, np.uint64)
            if deletions < record.deletions:
                self._tombstones[record.id] = (record.deletions, ids)
        return ids

    def add_tombstones(self, before: CollectionRecord, after: CollectionRecord, deleted: Sequence[int]) -> None:
        """A commit of deletions: spares the next view reading them all."""
        deletions, ids = self._tombstones.get(after.id, (-1, None))
        if ids is not None and deletions == before.deletions:
            merged = np.union1d(ids, np.array(deleted, np.uint64))
            self._tombstones[after.id] = (after.deletions, merged)

    def forget(self, collection: CollectionId) -> None:
        """The collection is gone."""
        self._images.pop(collection, None)
        self._tombstones.pop(collection, None)


@dataclass(frozen=True, slots=True)
class View:
    """One collection in one read transaction."""

    txn: Txn
    tables: Tables
    record: CollectionRecord
    cache: Cache

    @property
    def lookup(self) -> Lookup:
        """Which triples and values there are."""
        return Lookup(self.txn, self.tables, self.record)

    def image(self) -> TreeImage:
        """The tree."""
        return self.cache.image(self.txn, self.tables, self.record)

    def fresh_image(self) -> TreeImage:
        """The tree, read from its records."""
        return nodes.read(self.txn, self.tables, self.record.generation, self.record.dimension)

    def tombstones(self) -> Ids:
        """Sorted u64 (n,)."""
        return self.cache.tombstones(self.txn, self.tables, self.record)

    def entries(self, ids: Ids) -> list[StoredEntry]:
        """Those that are there, in the order of `ids`, copied."""
        found = entries.records(self.txn, self.tables.entries, ids)
        return [fmt.open_entry(self.record.dimension, key, record) for key, record in found]

    def entries_after(self, after: int, limit: int) -> Iterator[StoredEntry]:
        """Up to `limit` with ids above `after`, in id order, copied."""
        for key, record in entries.after(self.txn, self.tables.entries, after, limit):
            yield fmt.open_entry(self.record.dimension, key, record)

    def columns_after(self, after: int, limit: int) -> EntryColumns:
        """The same without their texts, as columns."""
        return entries.columns_after(self.txn, self.tables.entries, self.record.dimension, after, limit)

    def values(self, ids: Ids) -> Vectors:
        """The values of these ids, in order, copied."""
        return entries.values(self.txn, self.tables.values, self.record.dimension, ids)

    def postings(self, wanted: Iterable[int]) -> list[PostingView]:
        """All segments of these INTER nodes."""
        return list(postings.views(postings.of_nodes(self.txn, self.tables, self.record.generation, wanted)))

    def all_postings(self) -> Iterator[PostingView]:
        """Every segment of the tree."""
        return postings.views(postings.of_generation(self.txn, self.tables, self.record.generation))

    def pages(self, table: str) -> int:
        """LMDB pages of one of the collection's tables."""
        stat = self.txn.stat(getattr(self.tables, table))
        return stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
