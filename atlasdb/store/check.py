"""The check of one collection: each record by itself, and how it fits with all others.

It goes through the tables in many short views, and takes little memory whatever the collection's size: what is compared
across tables is compared by sums that do not depend on order (atlasdb/setsum.py), as the collection was when a stage
began. New entries are not looked at; where a build replaces what is being read, the stage begins again.

    entries    a row for each, inverse entries in pairs, in the index; their items add up to the setsum
    values     in the index
    postings   every entry in one slot, found there by its id; slot, texts and value are what its item says
    index      sorted, of ids that were given
    trees      every node is reached, and nodes divide the slots

Damage is told in sentences; one about many entries names the first of them.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress

import numpy as np
import numpy.typing as npt

from atlasdb import format as fmt
from atlasdb import matrices, setsum
from atlasdb.format import Flag
from atlasdb.store import entries, leading, postings, tombstones, trees, unsound, values
from atlasdb.store.cursor import STAGES, Cursor
from atlasdb.store.identity import facts_of
from atlasdb.store.index import Index, Space
from atlasdb.store.records import records_from
from atlasdb.store.registry import CollectionRecord, Out, TreeRecord
from atlasdb.store.store import Store
from atlasdb.store.view import View
from atlasdb.tree.slots import Positions, Slots
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Ids, Progress

NAMED = 5
"""Ids that one sentence names."""
VIEW_BYTES = 8 << 20
"""Of records that one view looks at."""
RESTARTS = 8
"""Times that a stage begins again as builds go on."""

Bools = npt.NDArray[np.bool_]


class Check:
    """Of one collection; `run` once. `read`: bytes of records looked at so far."""

    def __init__(self, store: Store, name: str, cursor: Cursor | None) -> None:
        self._store = store
        self._name = name
        self.cursor = cursor or Cursor()
        self._damage: list[str] = []
        self.read = 0
        with store.view(name) as view:
            self._begin(view)
            if cursor is not None and cursor.as_of != self._as_of(view.record):
                self.cursor = Cursor(cursor.stage)
            self.cursor.as_of = self._as_of(view.record)

    def _begin(self, view: View) -> None:
        """What the collection is measured by from now on."""
        self._record = view.record
        self._dead = np.zeros(0, np.uint64)
        try:
            self._dead = view.tombstones()
        except DataLoss as error:
            self._damage.append(str(error))
        self._last = int(view.record.next_entry) - 1

    @staticmethod
    def _as_of(record: CollectionRecord) -> list[int]:
        generations = (int(tree.generation) for tree in record.trees)
        return [record.deletions, record.drops, record.next_entry, record.next_value, *generations]

    def run(self) -> Iterator[Progress]:
        """All stages that are left; each Progress has the damage found since the one before."""
        steps = {
            "entries": self._entries,
            "values": self._values,
            "postings": self._postings,
            "index": self._index,
            "trees": self._trees,
        }
        for stage in STAGES[STAGES.index(self.cursor.stage) :]:
            if stage != self.cursor.stage:
                with self._store.view(self._name) as view:
                    self._begin(view)
                    self.cursor = Cursor(stage, as_of=self._as_of(view.record))
            yield from steps[stage]()

    def _told(self, total: int, done: int | None = None) -> Progress:
        damage, self._damage = tuple(self._damage), []
        done = self.cursor.counts[0] if done is None else done
        return Progress(self.cursor.stage, min(done, total), total, damage=damage)

    def _say(self, bad: Ids, what: str) -> None:
        """One sentence about ids that something is wrong with."""
        if len(bad):
            named = ", ".join(map(str, bad[:NAMED].tolist())) + (", …" if len(bad) > NAMED else "")
            self._damage.append(f"{self._name}: {what}: {len(bad)}, with the ids {named}")

    def _expect(self, what: str, counted: object, recorded: object) -> None:
        if counted != recorded:
            self._damage.append(f"{self._name}: the registry counts {recorded} {what}; there are {counted}")

    def _afresh(self, view: View) -> None:
        """Begin the stage again where rows were taken away, so that other records have the rest."""
        if view.record.drops != self._record.drops:
            self._begin(view)
            self.cursor = Cursor(self.cursor.stage, as_of=self._as_of(view.record))

    def _alive(self, ids: Ids) -> Bools:
        return ~tombstones.among(self._dead, ids)

    def _some(self, view: View, table: str, prefix: bytes = b"") -> Iterator[tuple[bytes, memoryview]]:
        """Records from the cursor on, as many as one view looks at; the cursor is behind each as it comes."""
        size = 0
        first = max(self.cursor.at, prefix)
        for key, record in records_from(view.txn, getattr(view.tables, table), first, prefix):
            if size >= VIEW_BYTES:
                return
            size += len(record)
            self.read += len(record)
            self.cursor.at = key + b"\0"
            yield key, record

    # ---- entries ----

    def _entries(self) -> Iterator[Progress]:
        while self._entries_some():
            yield self._told(self._last)
        _, live, inverse, _ = self.cursor.counts
        self._expect("entries", live, self._record.entries)
        self._expect("inverse entries", inverse, self._record.inverse_entries)
        self._expect("entries that add up to", self.cursor.sums.hex(), self._record.setsum.hex())
        yield self._told(self._last)

    def _entries_some(self) -> bool:
        """What one view looks at; False: that was all."""
        more = False
        with self._store.view(self._name) as view:
            self._afresh(view)
            triples = Index(view.txn, view.tables, Space.TRIPLES, lambda ids: np.ones(len(ids), np.bool_))
            for key, record in self._some(view, "entries"):
                more = True
                first = int.from_bytes(key, "big")
                if first > self._last:
                    continue
                try:
                    rows = matrices.open_entries(key, record)
                except DataLoss as error:
                    self._doubt(error)
                    continue
                ids = np.arange(first, first + len(rows), dtype=np.uint64)
                here = len(ids[ids <= self._last])
                self._entry_rows(ids[:here], rows.part(0, here), triples)
        return more

    def _entry_rows(self, ids: Ids, rows: matrices.EntryRows, triples: Index) -> None:
        there = self._alive(ids)
        inverse = (rows.flags & Flag.INVERSE) != 0
        has = (rows.flags & Flag.HAS_INVERSE) != 0
        broken = ids[1:][has[:-1] != inverse[1:]]
        self._say(broken, "inverse entries that are missing or that no entry has")
        wrong = (rows.value_ids == 0) | (rows.value_ids >= self._record.next_value)
        self._say(ids[there & wrong], "entries without their value")
        forward = there & ~inverse
        hashes = facts_of(np.array(rows.texts), rows.ends, self._record.salt).hashes
        try:
            lacking = ids[forward][~_held(triples, hashes[forward], ids[forward])]
        except DataLoss as error:
            self._damage.append(str(error))
        else:
            self._say(lacking, "entries that the index of triples lacks")
        self.cursor.sums = setsum.added(self.cursor.sums, rows.items[there])
        counts = self.cursor.counts
        counts[0] += len(ids)
        counts[1] += int(there.sum())
        counts[2] += int((there & inverse).sum())

    # ---- values ----

    def _values(self) -> Iterator[Progress]:
        total = int(self._record.next_value) - 1
        while self._values_some():
            yield self._told(total)
        yield self._told(total)

    def _values_some(self) -> bool:
        more, out = False, []
        dimension = self._record.dimension
        with self._store.view(self._name) as view:
            self._afresh(view)
            index = Index(view.txn, view.tables, Space.VALUES, lambda ids: np.ones(len(ids), np.bool_))
            for key, record in self._some(view, "values"):
                more = True
                first = int.from_bytes(key, "big")
                try:
                    identities, vectors = matrices.open_values(dimension, key, record)
                except DataLoss as error:
                    self._doubt(error)
                    out += unsound.values_of(dimension, key, record)
                    continue
                ids = np.arange(first, first + len(vectors), dtype=np.uint64)
                ids = ids[ids < self._record.next_value]
                self.cursor.counts[0] += len(ids)
                try:
                    held = _held(index, identities[: len(ids), 0], ids)
                except DataLoss as error:
                    self._damage.append(str(error))
                else:
                    self._say(ids[~held], "values that the index of values lacks")
        self._note(out)
        return more

    def _note(self, out: Sequence[Out]) -> None:
        if new := [one for one in out if one not in self._store.cache.out(self._record)]:
            self._store.note(self._record, new)

    # ---- postings ----

    def _postings(self) -> Iterator[Progress]:
        for _ in range(RESTARTS):
            total = sum(tree.entries for tree in self._record.trees) + int(self._record.delta_entries)
            while (more := self._postings_some()) is True:
                yield self._told(total)
            if more is False:
                self._postings_added_up()
                yield self._told(total)
                return
            with self._store.view(self._name) as view:
                self._begin(view)
                self.cursor = Cursor("postings", as_of=self._as_of(view.record))
        self._damage.append(f"{self._name}: builds replaced the trees again and again; verify it once more")
        yield self._told(1)

    def _postings_some(self) -> bool | None:
        """What one view looks at; False: that was all; None: the trees are others by now."""
        out: list[Out] = []
        cursor = self.cursor
        with self._store.view(self._name) as view:
            ours = (self._record.trees, self._record.folded)
            if (view.record.trees, view.record.folded) != ours:
                return None
            if cursor.part > len(self._record.trees):
                return False
            tree = self._record.trees[cursor.part] if cursor.part < len(self._record.trees) else None
            prefix = fmt.POSTING_KEY.pack(tree.generation if tree else postings.DELTA, 0)[:4]
            if tree is None:
                cursor.at = max(cursor.at, fmt.POSTING_KEY.pack(postings.DELTA, int(self._record.folded) + 1))
            more = False
            for key, record in self._some(view, "postings", prefix):
                more = True
                try:
                    slots = matrices.open_slots(self._record.dimension, key, record)
                except DataLoss as error:
                    self._doubt(error)
                    out += unsound.slots_of(self._record.dimension, key, record)
                    continue
                self._slots(view, tree, key, slots)
            if not more:
                if tree is not None and cursor.counts[3] != tree.entries:
                    what = f"entries of the generation {tree.generation}"
                    self._expect(what, cursor.counts[3], tree.entries)
                cursor.part, cursor.at, cursor.counts[3] = cursor.part + 1, b"", 0
        self._note(out)
        return True

    def _doubt(self, error: DataLoss) -> None:
        """A record that is read where it lies is damaged."""
        self._damage.append(str(error))
        self._store.cache.doubt(self._record.id)

    def _slots(self, view: View, tree: TreeRecord | None, key: bytes, slots: Slots) -> None:
        owners = np.repeat(np.arange(len(slots)), np.diff(slots.starts))
        given = slots.ids <= np.uint64(self._last)
        ids = slots.ids[given].astype(np.uint64)
        there = self._alive(ids)
        counts = self.cursor.counts
        counts[0] += len(ids)
        counts[1] += int((~there).sum())
        counts[3] += len(slots.ids)
        self.cursor.sums = setsum.added(self.cursor.sums, _pairs(ids[there]))
        if tree is not None:
            first = int.from_bytes(key[4:], "big")
            with suppress(DataLoss):  # told when the trees are looked at
                found = trees.slots_of(view.txn, view.tables, tree, ids)
                what = f"entries of generation {tree.generation} that its places lead elsewhere"
                self._say(np.sort(ids[found != first + owners[given]]), what)
        where = view.cache.entries(view.txn, view.tables, view.record)
        known = where.find(ids)[0] >= 0
        self._say(ids[there & ~known], "slots of postings without an entry")
        some = there & known
        self._compare(view, slots, np.flatnonzero(given)[some], owners[given][some])

    def _compare(self, view: View, slots: Slots, positions: Positions, owners: Positions) -> None:
        """Entries of slots with their rows: value, and what they are."""
        ids = slots.ids[positions].astype(np.uint64)
        try:
            rows = entries.read(view.cache.entries(view.txn, view.tables, view.record), ids)
            different = rows.value_ids != slots.value_ids[positions]
            self._say(ids[different], "entries that differ from their slot in a posting")
            distinct, of = np.unique(rows.value_ids, return_inverse=True)
            where = view.cache.values(view.txn, view.tables, view.record)
            if (absent := (where.find(distinct)[0] < 0)[of]).any():
                self._say(ids[absent], "entries without their value")
                return
            vectors = values.read(where, self._record.dimension, distinct)
        except DataLoss as error:
            self._damage.append(f"{self._name}: {error}")
            return
        inverse = (rows.flags & Flag.INVERSE) != 0
        items = setsum.items_of(rows.texts, rows.ends, inverse, (slots.keys, owners), (vectors, of.astype(np.int64)))
        self._say(ids[(items != rows.items).any(axis=1)], "entries whose key, value or texts are not what was stored")

    def _postings_added_up(self) -> None:
        self._expect("tombstones", self.cursor.counts[1], int(self._record.tombstones))
        held = sum(tree.entries for tree in self._record.trees)
        self._expect("entries of the delta", self.cursor.counts[0] - held, int(self._record.delta_entries))
        wanted = setsum.EMPTY
        for start in range(1, self._last + 1, 1 << 16):
            ids = np.arange(start, min(self._last + 1, start + (1 << 16)), dtype=np.uint64)
            wanted = setsum.added(wanted, _pairs(ids[self._alive(ids)]))
        if wanted != self.cursor.sums:
            self._name_misplaced()

    def _name_misplaced(self) -> None:
        """Which entries have no slot, or two: a bit for each."""
        seen = np.zeros(self._last + 1, np.bool_)
        twice: list[Ids] = []
        with self._store.view(self._name) as view:
            for slots in _readable(view):
                ids = slots.ids[slots.ids <= np.uint64(self._last)].astype(np.int64)
                distinct, counts = np.unique(ids, return_counts=True)
                twice.append(distinct[(counts > 1) | seen[distinct]].astype(np.uint64))
                seen[distinct] = True
        every = np.arange(1, self._last + 1, dtype=np.uint64)
        self._say(every[~seen[1:] & self._alive(every)], "entries in no posting")
        self._say(np.unique(np.concatenate([*twice, every[:0]])), "entries in two slots of postings")

    # ---- index, trees ----

    def _index(self) -> Iterator[Progress]:
        more = True
        while more:
            more = False
            with self._store.view(self._name) as view:
                for key, record in self._some(view, "index"):
                    more = True
                    self._damage += leading.index_damage(view, key, record)
            yield self._told(1, 0)
        yield self._told(1, 1)

    def _trees(self) -> Iterator[Progress]:
        for done, tree in enumerate(self._record.trees):
            with self._store.view(self._name) as view:
                if tree in view.record.trees:
                    damage, read = leading.tree_damage(view, tree, self._doubt)
                    self._damage += damage
                    self.read += read
            yield self._told(len(self._record.trees), done + 1)
        yield self._told(1, 1)


def _held(index: Index, hashes: Ids, ids: Ids) -> Bools:
    """Which of these pairs an index holds."""
    positions, found = index.find(hashes)
    held = np.zeros(len(ids), np.bool_)
    held[positions[found == ids[positions]]] = True
    return held


def _pairs(ids: Ids) -> Ids:
    """Ids as they are added up."""
    return np.stack([ids, ~ids], axis=1)


def _readable(view: View) -> Iterator[Slots]:
    dimension = view.record.dimension
    sources = [postings.of_tree(view.txn, view.tables, tree.generation) for tree in view.record.trees]
    for source in (*sources, postings.of_delta(view.txn, view.tables, view.record.folded)):
        for key, record in source:
            with suppress(DataLoss):
                yield matrices.open_slots(dimension, key, record)
