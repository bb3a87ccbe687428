"""What one transaction does to one collection: written at once where order demands it, gathered where it pays.

Entries and values are appended as they come. Index pairs, placed entries and the counters are gathered, and `flush`
writes them once for all jobs of the transaction. Lookups see both.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.store import entries, postings, registry, tombstones, values
from atlasdb.store.environment import Tables, Txn
from atlasdb.store.identity import TripleKey
from atlasdb.store.index import Index, Space
from atlasdb.store.registry import CollectionRecord, TreeRecord
from atlasdb.tree.rank import Slots
from atlasdb_contract.ids import EntryId, Generation, ValueId
from atlasdb_contract.types import Ids, Vectors


@dataclass(frozen=True, slots=True)
class NewEntries:
    """N entries to append, as columns: flags, value ids, subjects, keys (N, D), stored texts."""

    flags: npt.NDArray[np.uint8]
    value_ids: Ids
    subjects: Ids
    keys: Vectors
    texts: Sequence[bytes]


class Lookup:
    """Which triples and values a collection holds, in one transaction."""

    def __init__(self, txn: Txn, tables: Tables, record: CollectionRecord) -> None:
        self._txn = txn
        self.tables = tables
        self.record = record
        self._triples = Index(txn, tables, Space.TRIPLES, self._alive)
        self._values = Index(txn, tables, Space.VALUES, lambda ids: np.ones(len(ids), np.bool_))

    def triples(self, keys: Sequence[TripleKey]) -> list[EntryId]:
        """The forward entry of each triple; 0: none."""
        positions, ids = self._triples.find(np.array([key.hash for key in keys], np.uint64))
        return self._confirmed_triples(keys, positions, ids)

    def values(self, identities: Sequence[bytes]) -> list[ValueId]:
        """The value of each identity; 0: none."""
        hashes = np.frombuffer(b"".join([identity[:8] for identity in identities]), "<u8").astype(np.uint64)
        positions, ids = self._values.find(hashes)
        found = [ValueId(0)] * len(identities)
        for position, number in zip(positions.tolist(), ids.tolist(), strict=True):
            if values.identity(self._txn, self.tables, number) == identities[position]:
                found[position] = ValueId(number)
        return found

    def _confirmed_triples(
        self, keys: Sequence[TripleKey], positions: npt.NDArray[np.int64], ids: Ids
    ) -> list[EntryId]:
        """Of the candidates those whose entries are there and really hold the triple."""
        found = [EntryId(0)] * len(keys)
        for position, number in zip(positions.tolist(), ids.tolist(), strict=True):
            key = fmt.id_key(number)
            record = None if found[position] else self._txn.get(key, db=self.tables.entries)
            if record is not None and self._holds(key, record, keys[position]):
                found[position] = EntryId(number)
        return found

    def _holds(self, key: bytes, record: memoryview, triple: TripleKey) -> bool:
        """Whether this is the forward entry of the triple."""
        inverse = fmt.entry_flags(key, record) & fmt.Flag.INVERSE
        return not inverse and fmt.entry_triple(self.record.dimension, record) == triple.triple

    def _alive(self, ids: Ids) -> npt.NDArray[np.bool_]:
        there = [self._txn.get(key, db=self.tables.entries) is not None for key in fmt.id_keys(ids)]
        return np.array(there, np.bool_)


class Changes(Lookup):
    """The collection in a write transaction."""

    def __init__(self, txn: Txn, tables: Tables, record: CollectionRecord) -> None:
        super().__init__(txn, tables, record)
        self._before = record
        self._new_triples: dict[int, list[int]] = {}
        self._new_values: dict[bytes, ValueId] = {}
        self._placed: list[Slots] = []
        self.deleted: list[int] = []

    # ---- lookups, of what is gathered too ----

    def triples(self, keys: Sequence[TripleKey]) -> list[EntryId]:
        """The forward entry of each triple; 0: none."""
        found = super().triples(keys)
        if not self._new_triples:
            return found
        pairs = [(i, number) for i, key in enumerate(keys) for number in self._new_triples.get(key.hash, ())]
        positions, ids = np.array(pairs, np.int64).reshape(-1, 2).T
        fresh = self._confirmed_triples(keys, positions, ids.astype(np.uint64))
        return [new or old for new, old in zip(fresh, found, strict=True)]

    def values(self, identities: Sequence[bytes]) -> list[ValueId]:
        """The value of each identity; 0: none."""
        found = super().values(identities)
        return [old or self._new_values.get(key, ValueId(0)) for old, key in zip(found, identities, strict=True)]

    # ---- what is done ----

    def add_values(self, identities: Sequence[bytes], vectors: Vectors) -> Ids:
        """Append values that are not there: their ids, u64 (N,)."""
        first = self.record.next_value
        ids = np.arange(first, first + len(identities), dtype=np.uint64)
        values.append(self._txn, self.tables, first, identities, vectors)
        self._new_values.update(zip(identities, map(ValueId, ids.tolist()), strict=True))
        self.record = replace(self.record, next_value=ValueId(first + len(identities)))
        return ids

    def add_entries(self, new: NewEntries, hashes: Sequence[int]) -> Ids:
        """Append entries: their ids, u64 (N,). `hashes`: of the forward ones' triples, in order; none is there yet."""
        first = self.record.next_entry
        ids = np.arange(first, first + len(new.flags), dtype=np.uint64)
        columns = fmt.EntryColumns(ids, new.flags, new.value_ids, new.subjects, new.keys)
        entries.append(self._txn, self.tables.entries, fmt.entry_records(columns, new.texts))
        inverse = (new.flags & fmt.Flag.INVERSE) != 0
        for digest, number in zip(hashes, ids[~inverse].tolist(), strict=True):
            self._new_triples.setdefault(digest, []).append(number)
        self._placed.append(Slots(ids, new.value_ids, new.keys))
        self.record = replace(
            self.record,
            next_entry=EntryId(first + len(ids)),
            entries=self.record.entries + len(ids),
            delta_entries=self.record.delta_entries + len(ids),
            inverse_entries=self.record.inverse_entries + int(inverse.sum()),
        )
        return ids

    def partners(self, ids: Sequence[int]) -> dict[int, tuple[int, ...]]:
        """Each id that is there -> it and the entry that points the other way, where it has one."""
        found = {}
        for number in ids:
            key = fmt.id_key(number)
            record = self._txn.get(key, db=self.tables.entries)
            if record is None:
                continue
            flags = fmt.entry_flags(key, record)
            other = (number - 1,) if flags & fmt.Flag.INVERSE else (number + 1,) if flags & fmt.Flag.HAS_INVERSE else ()
            found[number] = (number, *other)
        return found

    def delete_entries(self, ids: Sequence[int]) -> None:
        """Take entries that are there; their slots in postings become tombstones."""
        inverse = 0
        for number in ids:
            key = fmt.id_key(number)
            record = self._txn.get(key, db=self.tables.entries)
            assert record is not None, f"entry {number} is not there"
            inverse += bool(fmt.entry_flags(key, record) & fmt.Flag.INVERSE)
            self._txn.delete(key, db=self.tables.entries)
        tombstones.add(self._txn, self.tables, np.array(ids, np.uint64))
        self.deleted += ids
        self.record = replace(
            self.record,
            entries=self.record.entries - len(ids),
            inverse_entries=self.record.inverse_entries - inverse,
            tombstones=self.record.tombstones + len(ids),
            deletions=self.record.deletions + 1,
        )

    def touch(self) -> None:
        """The tables of postings or nodes change: no address in them holds any longer by itself."""
        self.record = replace(self.record, revision=self.record.revision + 1)

    def flip(self, tree: TreeRecord | None, replaced: frozenset[int], folded: int, gone: Ids) -> None:
        """Read `tree` in place of the trees of the generations `replaced` and of the delta up to the entry `folded`.

        `gone`: the tombstones that have no slot any more.
        """
        if self._placed:
            postings.append(self._txn, self.tables, self.record.folded, Slots.joined(self._placed))
            self._placed.clear()
        postings.cut_delta(self._txn, self.tables, self.record.dimension, folded)
        tombstones.remove(self._txn, self.tables, gone)
        kept = tuple(one for one in self.record.trees if one.generation not in replaced)
        delta = postings.of_delta(self._txn, self.tables, folded)
        left = sum(matrices.slot_count(self.record.dimension, key, record) for key, record in delta)
        self.record = replace(
            self.record,
            generation=tree.generation if tree else Generation(self.record.generation + 1),
            trees=(*kept, tree) if tree else kept,
            folded=EntryId(folded),
            delta_entries=left,
            tombstones=self.record.tombstones - len(gone),
            deletions=self.record.deletions + 1,
        )
        self.touch()

    def flush(self) -> None:
        """Write what is gathered; the last act of the transaction."""
        if self._placed:
            postings.append(self._txn, self.tables, self.record.folded, Slots.joined(self._placed))
            self.touch()
        if self._new_triples:
            pairs = [(digest, number) for digest, numbers in self._new_triples.items() for number in numbers]
            self._grow(self._triples, np.array(pairs, np.uint64).reshape(-1, 2))
        if self._new_values:
            hashes = np.frombuffer(b"".join([identity[:8] for identity in self._new_values]), "<u8")
            self._grow(self._values, np.stack([hashes, np.array(list(self._new_values.values()), np.uint64)], axis=1))
        if self.record is not self._before:
            registry.put(self._txn, self.record)

    def _grow(self, index: Index, pairs: Ids) -> None:
        ordered = pairs[np.argsort(pairs[:, 0], kind="stable")]
        index.append(ordered[:, 0], ordered[:, 1])
        index.step()
