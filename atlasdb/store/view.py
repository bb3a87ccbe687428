"""A view: one collection as it is at one moment, in a read transaction that owns all that is borrowed through it."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np

from atlasdb import format as fmt
from atlasdb.format import EntryColumns, StoredEntry
from atlasdb.store import entries, postings, tombstones, values
from atlasdb.store.changes import Lookup
from atlasdb.store.environment import Tables, Txn
from atlasdb.store.registry import CollectionRecord
from atlasdb.store.trees import TreeCache
from atlasdb.store.values import Directory
from atlasdb.tree.image import Forest
from atlasdb.tree.rank import Slots
from atlasdb_contract.ids import CollectionId
from atlasdb_contract.types import Ids, Vectors


class Cache:
    """What views share: where trees lie, and the latest tombstones of each collection. Values are immutable."""

    def __init__(self) -> None:
        self.trees = TreeCache()
        self._tombstones: dict[CollectionId, tuple[int, Ids]] = {}
        self._values: dict[CollectionId, tuple[int, Directory]] = {}

    def values(self, txn: Txn, tables: Tables, record: CollectionRecord) -> Directory:
        """Where the values lie."""
        version, where = self._values.get(record.id, (0, Directory.none()))
        if version != record.next_value:
            earlier = where if version < record.next_value else Directory.none()
            where = values.directory(txn, tables, record.dimension, earlier)
            if version < record.next_value:
                self._values[record.id] = (record.next_value, where)
        return where

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
        self.trees.forget(collection)
        self._values.pop(collection, None)
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

    def forest(self) -> Forest:
        """Where all slots lie; good as long as the view is open."""
        return self.cache.trees.forest(self.txn, self.tables, self.record, self.tombstones())

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

    def columns(self, ids: Ids) -> EntryColumns:
        """Those that are there without their texts, as columns, in the order of `ids`, copied."""
        return fmt.open_columns(self.record.dimension, entries.records(self.txn, self.tables.entries, ids))

    def values(self, ids: Ids) -> Vectors:
        """The values of these ids, in order, copied."""
        where = self.cache.values(self.txn, self.tables, self.record)
        return values.read(where, self.record.dimension, ids)

    def slots(self) -> Iterator[Slots]:
        """The slots of every tree and of the delta, record by record, checked."""
        parts = [postings.of_tree(self.txn, self.tables, one.generation) for one in self.record.trees]
        records = chain(*parts, postings.of_delta(self.txn, self.tables, self.record.folded))
        return postings.opened(self.record.dimension, records)

    def pages(self, table: str) -> int:
        """LMDB pages of one of the collection's tables."""
        stat = self.txn.stat(getattr(self.tables, table))
        return stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
