"""A view: one collection as it is at one moment, in a read transaction that owns all that is borrowed through it."""

from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import chain

import numpy as np

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.format import StoredEntry
from atlasdb.store import entries, postings, tombstones, trees, values
from atlasdb.store.changes import Lookup
from atlasdb.store.directory import Directory, Layout, extended
from atlasdb.store.opened import Tables, Txn
from atlasdb.store.owners import having
from atlasdb.store.registry import CollectionRecord, Out
from atlasdb.store.trees import TreeCache, Woods
from atlasdb.tree import scoring
from atlasdb.tree.slots import Positions, Slots
from atlasdb.tree.summary import Summary, heads_among
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import CollectionId
from atlasdb_contract.types import Ids, Vectors

DELTA_HEADS = 1 << 18
"""Slots of the delta whose heads are counted."""
ROWS_AT_ONCE = 1024
"""Entries whose rows are copied together."""


class Cache:
    """What views share: where trees and rows lie, and the latest tombstones of each collection."""

    def __init__(self) -> None:
        self.trees = TreeCache()
        self._tombstones: dict[CollectionId, tuple[int, Ids]] = {}
        self._rows: dict[tuple[CollectionId, str], tuple[tuple[int, int], Directory]] = {}
        self._noted: dict[CollectionId, tuple[int, frozenset[Out]]] = {}
        self.met: dict[CollectionId, dict[bytes, int]] = {}
        """Records of slots that were compared with their checksums: key -> checksum."""

    def note(self, record: CollectionRecord, out: Iterable[Out]) -> None:
        """Damage that the registry does not know of yet: it counts until the collection's next revision."""
        self._noted[record.id] = (record.revision, self.out(record) | frozenset(out))

    def out(self, record: CollectionRecord) -> frozenset[Out]:
        """Damage that is known of."""
        revision, noted = self._noted.get(record.id, (0, frozenset()))
        return frozenset(record.out) | noted if noted and revision == record.revision else frozenset(record.out)

    def values(self, txn: Txn, tables: Tables, record: CollectionRecord) -> Directory:
        """Where the values lie."""
        layout = values.layout(record.dimension)
        return self._directory(txn, tables, record, "values", record.next_value, layout, values.COLUMNS)

    def entries(self, txn: Txn, tables: Tables, record: CollectionRecord) -> Directory:
        """Where the entries' rows lie."""
        return self._directory(txn, tables, record, "entries", record.next_entry, entries.LAYOUT, entries.COLUMNS)

    def _directory(
        self, txn: Txn, tables: Tables, record: CollectionRecord, table: str, last: int, layout: Layout, columns: int
    ) -> Directory:
        none, version = Directory.none(columns), (record.drops, last)
        known, where = self._rows.get((record.id, table), ((0, 0), none))
        if known != version:
            longer = known[0] == record.drops and known < version
            where = extended(txn, getattr(tables, table), layout, where if longer else none)
            if known < version:
                self._rows[record.id, table] = (version, where)
        return where

    def tombstones(self, txn: Txn, tables: Tables, record: CollectionRecord) -> Ids:
        """As tombstones.read gives them."""
        deletions, words = self._tombstones.get(record.id, (-1, None))
        if words is None or deletions != record.deletions:
            words = tombstones.read(txn, tables) if record.deletions else np.zeros(0, np.uint64)
            if deletions < record.deletions:
                self._tombstones[record.id] = (record.deletions, words)
        return words

    def add_tombstones(self, before: CollectionRecord, after: CollectionRecord, deleted: Ids) -> None:
        """A commit of deletions: spares the next view reading them all."""
        deletions, words = self._tombstones.get(after.id, (-1, None))
        if words is not None and deletions == before.deletions:
            self._tombstones[after.id] = (after.deletions, tombstones.marked(words, deleted))

    def doubt(self, collection: CollectionId) -> None:
        """A record of it is damaged: where things lie is looked up anew, and numbers checked before they lead on."""
        self.trees.forget(collection)
        for table in ("entries", "values"):
            self._rows.pop((collection, table), None)

    def forget(self, collection: CollectionId) -> None:
        """The collection is gone."""
        self.trees.forget(collection)
        self._noted.pop(collection, None)
        self.met.pop(collection, None)
        for table in ("entries", "values"):
            self._rows.pop((collection, table), None)
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

    def woods(self) -> Woods:
        """Where all slots lie, and what is damaged; good as long as the view is open."""
        out = self.cache.out(self.record)
        return self.cache.trees.woods(self.txn, self.tables, self.record, self.tombstones, out)

    def doubted(self, woods: Woods) -> set[int]:
        """Which of these records of slots fail their checksum; it is compared when the process first meets a record."""
        known = self.cache.met.get(self.record.id, {})
        met: dict[bytes, int] = {}
        found = set()
        for number, key in enumerate(woods.keys):
            record = self.txn.get(key, db=self.tables.postings) or memoryview(b"")
            told = int.from_bytes(record[: fmt.CRC_BYTES], "little")
            try:
                if known.get(key) != told:
                    fmt.check("postings", key, record)
            except DataLoss:
                found.add(number)
            else:
                met[key] = told
        self.cache.met[self.record.id] = met
        return found

    def slots_out(self, slots: Positions) -> list[Out]:
        """Slots of the forest, int64 (n,), as the registry names damaged ones."""
        keys = self.woods().keys
        position = (1 << scoring.POSITION_BITS) - 1
        return [Out("postings", keys[slot >> scoring.POSITION_BITS], slot & position) for slot in slots.tolist()]

    def having(self, value_ids: Ids) -> Ids:
        """The entries that have one of these values, deleted ones too; what is damaged is passed over."""
        return having(self.txn, self.tables, value_ids)

    def held(self, besides: bytes) -> Ids:
        """The entries, deleted ones too, that some record of slots but that of one key holds and can be read."""
        parts = [postings.of_tree(self.txn, self.tables, one.generation) for one in self.record.trees]
        found = [np.zeros(0, np.uint64)]
        for key, record in chain(*parts, postings.of_delta(self.txn, self.tables, self.record.folded)):
            with suppress(DataLoss):
                if key == besides:
                    continue
                found.append(matrices.lent_slots(self.record.dimension, key, record).ids.astype(np.uint64))
        return np.concatenate(found)

    def identities(self, value_ids: Ids) -> Ids:
        """Of values, u64 (n, 2), unchecked. DataLoss where one is missing."""
        where = self.cache.values(self.txn, self.tables, self.record)
        return values.identities(where, value_ids)

    def entries_of(self, ids: Ids) -> Iterator[StoredEntry]:
        """Entries that were given, deleted ones too, in the order of `ids`, copied. DataLoss."""
        where = self.cache.entries(self.txn, self.tables, self.record)
        for start in range(0, len(ids), ROWS_AT_ONCE):
            some = ids[start : start + ROWS_AT_ONCE]
            yield from entries.stored(some, entries.read(where, some))

    def tombstones(self) -> Ids:
        """As tree.image.Forest has them."""
        return self.cache.tombstones(self.txn, self.tables, self.record)

    def there(self, ids: Ids) -> Ids:
        """Those of `ids` whose entries are there, in their order."""
        given = ids[(ids > 0) & (ids < self.record.next_entry)]
        return given[~tombstones.among(self.tombstones(), given)]

    def entries(self, ids: Ids) -> Iterator[StoredEntry]:
        """Those that are there, in the order of `ids`, copied."""
        return self.entries_of(self.there(ids))

    def keys(self, ids: Ids) -> Vectors:
        """The keys of entries that are there, in order: int8 (len(ids), D), copied. DataLoss where one is missing."""
        order = np.unique(ids)
        found = Vectors(np.zeros((len(order), self.record.dimension), np.int8), np.full(len(order), np.nan, np.float32))
        shared = (self.txn, self.tables)
        of_trees = [trees.keys_of(*shared, one, self.record.dimension, order) for one in self.record.trees]
        of_delta = postings.keys_of_delta(
            *shared, self.record.dimension, self.record.folded, order[order > self.record.folded]
        )
        for some, keys in chain(*of_trees, of_delta):
            at = np.searchsorted(order, some)
            found.data[at], found.scales[at] = keys.data, keys.scales
        if len(missing := order[np.isnan(found.scales)]):
            raise DataLoss(f"the key of entry {missing[0]} is missing; `atlasdb verify` lists all damage")
        return found.take(np.searchsorted(order, ids))

    def tree_slots(self, ids: Ids) -> list[Positions]:
        """For each tree that is walked, the slot of each entry there: int64 (len(ids),), -1 where it is not in it."""
        return [trees.slots_of(self.txn, self.tables, one, ids) for one in self.woods().trees]

    def summaries(self) -> list[Summary | None]:
        """What stats tell of each tree; None where that is not known."""
        return [trees.summary(self.txn, self.tables, one) for one in self.record.trees]

    def heads(self) -> tuple[int, bool]:
        """How many distinct heads the slots have, deleted ones too, and whether that is an estimate.

        Of a tree that has no summary it is the number of its nodes; what is beyond DELTA_HEADS is taken in proportion.
        """
        summaries = self.summaries()
        known = [summary for summary in summaries if summary]
        unknown = sum(one.nodes for one, summary in zip(self.record.trees, summaries, strict=True) if not summary)
        forest = self.woods().forest
        delta, seen = trees.delta_heads(forest, DELTA_HEADS)
        heads, estimated = heads_among([*known, Summary(len(delta), (), 0, delta)] if seen else known)
        if seen < (total := len(forest.delta)):
            before, _ = heads_among(known)
            heads, estimated = before + max(0, heads - before) * total // seen, True
        return heads + unknown, estimated or unknown > 0

    def damaged_values(self, ids: Ids) -> list[Out]:
        """Those of these values that are missing or fail their checksum."""
        where = self.cache.values(self.txn, self.tables, self.record)
        found = []
        for number in np.unique(ids):
            try:
                values.read(where, self.record.dimension, np.array([number], np.uint64))
            except DataLoss:
                records, rows = where.find(np.array([number], np.uint64))
                first, row = (int(where.firsts[records[0]]), int(rows[0])) if records[0] >= 0 else (int(number), 0)
                found.append(Out("values", fmt.id_key(first), row))
        return found

    def values(self, ids: Ids) -> Vectors:
        """The values of these ids, in order, copied."""
        return values.read(self.cache.values(self.txn, self.tables, self.record), self.record.dimension, ids)

    def slots(self) -> Iterator[Slots]:
        """The slots of every tree and of the delta, record by record, checked."""
        parts = [postings.of_tree(self.txn, self.tables, one.generation) for one in self.record.trees]
        records = chain(*parts, postings.of_delta(self.txn, self.tables, self.record.folded))
        return postings.opened(self.record.dimension, records)

    def delta_after(self, folded: int) -> Iterator[Slots]:
        """The slots of the delta after the entry `folded`, record by record, checked."""
        return postings.opened(self.record.dimension, postings.of_delta(self.txn, self.tables, folded))

    def pages(self, table: str) -> int:
        """LMDB pages of one of the collection's tables."""
        stat = self.txn.stat(getattr(self.tables, table))
        return stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]
