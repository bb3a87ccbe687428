"""What one transaction does to one collection: gathered while its jobs run, and written once by `flush`.

Lookups see what is gathered too. Deletions are written at once, and whatever is gathered before them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from atlasdb import matrices, setsum
from atlasdb.format import Flag
from atlasdb.matrices import EntryRows
from atlasdb.store import entries, postings, registry, tombstones, values
from atlasdb.store.directory import Directory, Layout, extended
from atlasdb.store.identity import Facts
from atlasdb.store.index import Index, Space
from atlasdb.store.opened import Tables, Txn
from atlasdb.store.records import table_bytes
from atlasdb.store.registry import CollectionRecord, Out, TreeRecord
from atlasdb.tree.slots import Slots
from atlasdb_contract.errors import ResourceExhausted
from atlasdb_contract.ids import EntryId, Generation, ValueId
from atlasdb_contract.types import Ids, Quota, Vectors

OUT_LIMIT = 4096
"""Damaged pieces that a collection's record names; `atlasdb verify` finds them all."""

_QUOTA_WAYS = "delete some, or raise its quota with 'atlasdb collections set'"

Positions = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class NewEntries:
    """N entries to append: `rows`, subjects u64 (N,), keys (N, D); `facts` of the forward ones, in order."""

    rows: EntryRows
    subjects: Ids
    keys: Vectors
    facts: Facts


class Lookup:
    """Which triples and values a collection holds, in one transaction."""

    def __init__(self, txn: Txn, tables: Tables, record: CollectionRecord) -> None:
        self._txn = txn
        self.tables = tables
        self.record = record
        self._triples = Index(txn, tables, Space.TRIPLES, self._alive)
        self._values = Index(txn, tables, Space.VALUES, lambda ids: np.ones(len(ids), np.bool_))
        self._written = False
        """Whether this transaction has written rows: where they lie is then its own affair."""

    def triples(self, facts: Facts) -> Ids:
        """The forward entry of each fact: u64 (N,), 0: none."""
        found = np.zeros(len(facts), np.uint64)
        positions, ids = self._triples.find(facts.hashes)
        alive = self._alive(ids) if len(ids) else np.zeros(0, np.bool_)
        positions, ids = positions[alive], ids[alive]
        if len(ids):
            right = entries.same(self.where("entries"), ids, facts, positions)
            found[positions[right]] = ids[right]
        return found

    def values(self, identities: Ids) -> Ids:
        """The value of each identity u64 (N, 2): u64 (N,), 0: none."""
        found = np.zeros(len(identities), np.uint64)
        positions, ids = self._values.find(identities[:, 0])
        if len(ids):
            right = values.same(self.where("values"), ids, identities[positions])
            found[positions[right]] = ids[right]
        return found

    def where(self, table: str) -> Directory:
        """Where the rows of `entries` or `values` lie in this transaction, until it writes."""
        layout, columns = self._layout(table)
        known = self.tables.lying.get(table) or Directory.none(columns)
        found = extended(self._txn, getattr(self.tables, table), layout, known)
        if not self._written:
            self.tables.lying[table] = found
        return found

    def _layout(self, table: str) -> tuple[Layout, int]:
        if table == "entries":
            return entries.LAYOUT, entries.COLUMNS
        return values.layout(self.record.dimension), values.COLUMNS

    def _alive(self, ids: Ids) -> npt.NDArray[np.bool_]:
        if not self.record.deletions:
            return np.ones(len(ids), np.bool_)
        return ~tombstones.find(self._txn, self.tables, ids)


class Changes(Lookup):
    """The collection in a write transaction."""

    def __init__(self, txn: Txn, tables: Tables, record: CollectionRecord) -> None:
        super().__init__(txn, tables, record)
        self._before = record
        self._rows: list[EntryRows] = []
        self._slots: list[Slots] = []
        self._facts: list[tuple[Facts, Ids]] = []
        self._new_values: dict[bytes, int] = {}
        self._value_parts: list[tuple[Ids, Vectors]] = []
        self.deleted: list[int] = []

    # ---- lookups, of what is gathered too ----

    def triples(self, facts: Facts) -> Ids:
        """The forward entry of each fact: u64 (N,), 0: none."""
        found = super().triples(facts)
        for held, ids in self._facts:
            for i, j in _equal(facts, held):
                found[i] = ids[j]
        return found

    def values(self, identities: Ids) -> Ids:
        """The value of each identity u64 (N, 2): u64 (N,), 0: none."""
        found = super().values(identities)
        if self._new_values:
            for i in np.flatnonzero(found == 0).tolist():
                found[i] = self._new_values.get(identities[i].tobytes(), 0)
        return found

    # ---- what is done ----

    def add_values(self, identities: Ids, vectors: Vectors) -> Ids:
        """Append distinct values that are not there, identities u64 (N, 2): their ids, u64 (N,)."""
        first = int(self.record.next_value)
        ids = np.arange(first, first + len(identities), dtype=np.uint64)
        self._value_parts.append((identities, vectors))
        self._new_values.update(zip(map(bytes, identities.view("V16")[:, 0]), ids.tolist(), strict=True))
        self.record = replace(self.record, next_value=ValueId(first + len(identities)))
        return ids

    def vectors(self, ids: Ids) -> Vectors:
        """The values of these ids, in order, copied; those that are gathered too. DataLoss where one is damaged."""
        first = int(self.record.next_value) - sum(len(part[0]) for part in self._value_parts)
        new = ids >= np.uint64(first)
        data, scales = np.empty((len(ids), self.record.dimension), np.int8), np.empty(len(ids), np.float32)
        if new.any():
            gathered = _joined([part[1] for part in self._value_parts]).take((ids[new] - np.uint64(first)).astype(int))
            data[new], scales[new] = gathered.data, gathered.scales
        if not new.all():
            stored = values.read(self.where("values"), self.record.dimension, ids[~new])
            data[~new], scales[~new] = stored.data, stored.scales
        return Vectors(data, scales)

    def add_entries(self, new: NewEntries) -> Ids:
        """Append entries, of whose facts none is there: their ids, u64 (N,). ResourceExhausted: beyond the quota."""
        self._check_entries(len(new.rows))
        first, rows = int(self.record.next_entry), new.rows
        ids = np.arange(first, first + len(rows), dtype=np.uint64)
        inverse = (rows.flags & Flag.INVERSE) != 0
        self._rows.append(rows)
        self._facts.append((new.facts, ids[~inverse]))
        self._slots.append(Slots.single(ids, rows.value_ids, new.subjects, new.keys))
        self.record = replace(
            self.record,
            next_entry=EntryId(first + len(ids)),
            entries=self.record.entries + len(ids),
            delta_entries=self.record.delta_entries + len(ids),
            inverse_entries=self.record.inverse_entries + int(inverse.sum()),
            setsum=setsum.added(self.record.setsum, rows.items),
        )
        return ids

    def gone(self, ids: Ids) -> Ids:
        """Those of `ids` that were deleted."""
        return ids[~self._alive(ids)]

    def partners(self, ids: Ids) -> tuple[Ids, Ids]:
        """Those of `ids` that are there, and the entries that point the other way from them."""
        self.write()
        ids = ids[(ids > 0) & (ids < self.record.next_entry)]
        ids = ids[self._alive(ids)]
        flags = entries.read(self.where("entries"), ids).flags if len(ids) else np.zeros(0, np.uint8)
        before = ids[(flags & Flag.INVERSE) != 0] - np.uint64(1)
        after = ids[(flags & Flag.HAS_INVERSE) != 0] + np.uint64(1)
        return ids, np.concatenate([before, after])

    def delete_entries(self, ids: Ids) -> None:
        """Take distinct entries that are there; they stay in their slots as tombstones."""
        self.write()
        rows = entries.read(self.where("entries"), ids)
        tombstones.add(self._txn, self.tables, ids)
        self.deleted += ids.tolist()
        self.record = replace(
            self.record,
            entries=self.record.entries - len(ids),
            inverse_entries=self.record.inverse_entries - int(((rows.flags & Flag.INVERSE) != 0).sum()),
            tombstones=self.record.tombstones + len(ids),
            deletions=self.record.deletions + 1,
            setsum=setsum.less(self.record.setsum, rows.items),
        )

    def limit(self, quota: Quota) -> CollectionRecord:
        """The record with another quota."""
        self.record = replace(self.record, quota=quota)
        return self.record

    def rewrite(self, table: str, gone: bytes, records: Mapping[bytes, bytearray]) -> None:
        """Put `records` of entries or values in the place of the one with the key `gone`: with fewer rows."""
        db = getattr(self.tables, table)
        self._txn.delete(gone, db=db)
        for key, record in records.items():
            self._txn.put(key, record, db=db)
        self.tables.lying.pop(table, None)
        self._written = True
        self.record = replace(self.record, drops=self.record.drops + 1)

    def purge(self, space: Space, at: int, alive: Callable[[Ids], Bools]) -> int | None:
        """Take pairs whose ids are not alive out of some of an index; the hash to go on from, None: that was all."""
        index = Index(self._txn, self.tables, space, alive)
        return index.purge(at)

    def touch(self) -> None:
        """The tables of postings or nodes change: no address in them holds any longer by itself."""
        self.record = replace(self.record, revision=self.record.revision + 1)

    def leave_out(self, out: Iterable[Out]) -> None:
        """Note damaged pieces, those of trees and of the delta only as long as these are read."""
        alive = {int(tree.generation) for tree in self.record.trees}
        kept = [one for one in {*self.record.out, *out} if _is_read(one, alive, int(self.record.folded))]
        if (noted := tuple(sorted(kept)[:OUT_LIMIT])) != self.record.out:
            self.record = replace(self.record, out=noted)
            self.touch()

    def flip(self, tree: TreeRecord | None, replaced: frozenset[int], folded: int, gone: int) -> None:
        """Read `tree` in place of the trees of the generations `replaced` and of the delta up to the entry `folded`.

        `gone`: how many tombstones have no slot any more.
        """
        self.write()
        postings.cut_delta(self._txn, self.tables, self.record.dimension, folded)
        kept = tuple(one for one in self.record.trees if one.generation not in replaced)
        delta = postings.of_delta(self._txn, self.tables, folded)
        left = sum(matrices.slot_counts(self.record.dimension, key, record)[0] for key, record in delta)
        self.record = replace(
            self.record,
            generation=tree.generation if tree else Generation(self.record.generation + 1),
            trees=(*kept, tree) if tree else kept,
            folded=EntryId(folded),
            delta_entries=left,
            tombstones=self.record.tombstones - gone,
        )
        self.leave_out(())
        self.touch()

    def write(self) -> None:
        """Write what is gathered."""
        if self._value_parts:
            identities = np.concatenate([part[0] for part in self._value_parts])
            vectors = _joined([part[1] for part in self._value_parts])
            first = int(self.record.next_value) - len(identities)
            values.append(self._txn, self.tables, first, identities, vectors)
            _grow(self._values, identities[:, 0], np.arange(first, first + len(identities), dtype=np.uint64))
        if self._rows:
            rows = EntryRows.joined(self._rows)
            entries.append(self._txn, self.tables, int(self.record.next_entry) - len(rows), rows)
            postings.append(self._txn, self.tables, self.record.folded, Slots.joined(self._slots))
            hashes, ids = (
                np.concatenate([f.hashes for f, _ in self._facts]),
                np.concatenate([i for _, i in self._facts]),
            )
            _grow(self._triples, hashes, ids)
            self.touch()
        self._written |= bool(self._value_parts or self._rows)
        for gathered in (self._value_parts, self._rows, self._slots, self._facts):
            gathered.clear()
        self._new_values.clear()

    def flush(self) -> None:
        """Write what is gathered, and the collection's record; the last act of the transaction. ResourceExhausted: it
        adds entries, and takes more than the quota."""
        self.write()
        if self.record.next_entry > self._before.next_entry:
            self._check_bytes()
        if self.record is not self._before:
            registry.put(self._txn, self.record)

    def _check_entries(self, new: int) -> None:
        most = self.record.quota.entries
        if most and self.record.entries + new > most:
            held = f"holds {self.record.entries:,} of at most {most:,} entries, and {new:,} more came"
            raise ResourceExhausted(f"the collection {self.record.name!r} {held}; {_QUOTA_WAYS}")

    def _check_bytes(self) -> None:
        most = self.record.quota.bytes
        if most and (size := sum(table_bytes(self._txn, db) for db in self.tables.all())) > most:
            held = f"would take {size:,} bytes with this insert, and may take {most:,}"
            raise ResourceExhausted(f"the collection {self.record.name!r} {held}; {_QUOTA_WAYS}")


def _is_read(one: Out, alive: set[int], folded: int) -> bool:
    """Whether a piece is part of what is read now."""
    if one.table not in ("postings", "nodes"):
        return True
    generation = int.from_bytes(one.key[:4], "big")
    in_delta = generation == postings.DELTA and one.table == "postings"
    return int.from_bytes(one.key[4:], "big") > folded if in_delta else generation in alive


def _equal(facts: Facts, held: Facts) -> list[tuple[int, int]]:
    """Which facts are the same: positions in both."""
    order = np.argsort(held.hashes, kind="stable")
    left = np.searchsorted(held.hashes[order], facts.hashes)
    found = []
    for i in np.flatnonzero(held.hashes[order].take(left, mode="clip") == facts.hashes).tolist():
        at = int(left[i])
        while at < len(order) and held.hashes[order[at]] == facts.hashes[i]:
            j = int(order[at])
            ours, theirs = (one.texts[one.starts[n] : one.stops[n]] for one, n in ((facts, i), (held, j)))
            if np.array_equal(ours, theirs):
                found.append((i, j))
            at += 1
    return found


def _grow(index: Index, hashes: Ids, ids: Ids) -> None:
    order = np.argsort(hashes, kind="stable")
    index.append(hashes[order], ids[order])
    index.step()


def _joined(parts: list[Vectors]) -> Vectors:
    if len(parts) == 1:
        return parts[0]
    return Vectors(np.concatenate([part.data for part in parts]), np.concatenate([part.scales for part in parts]))
