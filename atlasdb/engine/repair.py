"""Repair: what is damaged is put right by its parity, or made anew from what it was made of; what is lost is named.

scan       every record's checksum, in short views
parity     a damaged record of entries, values, slots or nodes as it was, to the bit, where the damage is one short run
encode     keys and values that are still damaged, from their texts, where the collection has an encoder
make       the index, from entries and values; the trees, from their slots
lost       the rest: entries by their ids and triples. They stay, left out of fetches, until somebody deletes them
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np

from atlasdb.engine.build import build
from atlasdb.engine.engine import Engine
from atlasdb.engine.remake import Remade, damaged_values, keyless, remade
from atlasdb.store import mending
from atlasdb.store.mending import Piece
from atlasdb.store.opened import TABLES
from atlasdb.store.records import records_from
from atlasdb.store.view import View
from atlasdb.store.writer import WriteTxn
from atlasdb_contract.errors import AtlasError, Cancelled, DataLoss
from atlasdb_contract.types import Ids

TOGETHER = 16
"""Records that one transaction puts back."""
NAMED = 1000
"""Entries of one record that are named with their triples."""


@dataclass(frozen=True, slots=True)
class RepairStep:
    """How far a repair is, and what it did since the last step."""

    stage: str
    done: int
    total: int
    restored: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()


def repair(
    engine: Engine, name: str | None, dry_run: bool, cancelled: Callable[[], bool]
) -> Iterator[tuple[str, RepairStep]]:
    """See Database.repair."""
    damage = engine.store.look_over()
    if engine.store.environment.barred.writes:
        yield name or "", RepairStep("pages", 1, 1, lost=tuple(damage))
        return
    unreadable = engine.store.unreadable()
    names = [name] if name else sorted({record.name for record in engine.store.records()} | set(unreadable))
    for each in names:
        if each in unreadable:
            yield each, RepairStep("pages", 1, 1, lost=(f"{each}: all of it: {unreadable[each]}",))
            continue
        for step in _Repair(engine, each, dry_run).run():
            if cancelled():
                raise Cancelled("the repair was stopped; what it had put right stays so")
            yield each, step


@dataclass(slots=True)
class _Repair:
    """Of one collection."""

    engine: Engine
    name: str
    dry_run: bool
    pieces: list[Piece] = field(default_factory=list)
    """Damaged, and not put right yet."""

    def run(self) -> Iterator[RepairStep]:
        yield from self._scan()
        yield from self._by_parity()
        yield from self._by_encoder()
        yield from self._index()
        yield from self._trees()
        yield RepairStep("lost", 1, 1, lost=tuple(self._lost()))

    def _scan(self) -> Iterator[RepairStep]:
        for done, table in enumerate(TABLES):
            onward: bytes | None = b""
            while onward is not None:
                with self.engine.store.view(self.name) as view:
                    found = mending.scan(view, table, onward)
                    self.pieces += [piece for piece in found.damaged if is_read(view, piece)]
                onward = found.onward
                yield RepairStep("scan", done, len(TABLES))

    def _by_parity(self) -> Iterator[RepairStep]:
        total, pieces, self.pieces = len(self.pieces), self.pieces, []
        for start in range(0, total, TOGETHER):
            fixed: dict[Piece, bytes] = {}
            with self.engine.store.view(self.name) as view:
                for piece in pieces[start : start + TOGETHER]:
                    record = mending.as_it_was(view, piece)
                    if record is None:
                        self.pieces.append(piece)
                    else:
                        fixed[piece] = record
            self._write(fixed)
            told = tuple(f"{self.name}: {piece}: by its parity" for piece in fixed)
            yield RepairStep("parity", min(total, start + TOGETHER), total, restored=told)

    def _write(self, fixed: dict[Piece, bytes], made: Remade | None = None) -> None:
        if not fixed or self.dry_run:
            return

        def job(write: WriteTxn) -> None:
            changes = write.changes(self.name)
            if made is not None:
                mending.change_items(write, changes, made.ids, made.items)
            mending.write(write, changes, fixed)
            write.committed.append(lambda: self.engine.store.cache.forget(changes.record.id))

        self.engine.store.submit(job).result()

    def _by_encoder(self) -> Iterator[RepairStep]:
        pieces, self.pieces = self.pieces, []
        for done, piece in enumerate(pieces, 1):
            made = None
            if piece.table in ("values", "postings"):
                try:
                    made = remade(self.engine, self.name, piece)
                except AtlasError:  # what can't be made again is told as lost
                    made = None
            if made is None:
                self.pieces.append(piece)
            else:
                self._write({piece: made.record}, made if len(made.ids) else None)
                told = (f"{self.name}: {piece}: {made.rows} made again from their texts",)
                yield RepairStep("encode", done, len(pieces), restored=told)

    def _index(self) -> Iterator[RepairStep]:
        damaged = [piece for piece in self.pieces if piece.table == "index"]
        if not damaged:
            return
        if not self.dry_run:
            self.engine.store.submit(lambda write: mending.make_index(write, write.changes(self.name))).result()
        self.pieces = [piece for piece in self.pieces if piece.table != "index"]
        told = tuple(f"{self.name}: {piece}: made again from entries and values" for piece in damaged)
        yield RepairStep("make the index", 1, 1, restored=told)

    def _trees(self) -> Iterator[RepairStep]:
        damaged = [piece for piece in self.pieces if piece.table == "nodes"]
        if not damaged:
            return
        yield RepairStep("build", 0, 1)
        try:
            if not self.dry_run:
                build(self.engine, self.name, 0, lambda: False, lambda _: None)
        except DataLoss as error:
            yield RepairStep("build", 1, 1, lost=(f"{self.name}: the trees can't be built again: {error}",))
            return
        self.pieces = [piece for piece in self.pieces if piece.table != "nodes"]
        told = tuple(f"{self.name}: {piece}: built again from its slots" for piece in damaged)
        yield RepairStep("build", 1, 1, restored=told)

    # ---- what is lost ----

    def _lost(self) -> Iterator[str]:
        for piece in self.pieces:
            if piece.table == "nodes":
                continue
            if piece.table == "tombstones":
                first = int.from_bytes(piece.key, "big") << 13
                yield f"{self.name}: {piece}: which of the entries {first} to {first + 8191} were deleted"
                continue
            with self.engine.store.view(self.name) as view:
                yield from (f"{self.name}: {piece}: {told}" for told in lost_in(view, piece))


def is_read(view: View, piece: Piece) -> bool:
    """Whether a record is part of what is read now, and not what a build left."""
    if piece.table not in ("postings", "nodes"):
        return True
    generation = int.from_bytes(piece.key[:4], "big")
    if piece.table == "postings" and generation == 0:
        return True
    return generation in {int(tree.generation) for tree in view.record.trees}


def lost_in(view: View, piece: Piece) -> Iterator[str]:
    """What a record that can't be put right costs: entries, by id and triple."""
    if piece.table == "entries":
        first = int.from_bytes(piece.key, "big")
        ids = view.there(np.arange(first, next_first(view, piece), dtype=np.uint64))
        unread = [number for number in ids.tolist() if _triple(view, number) is None]
        yield f"the texts of {len(unread)} entries: {_listed(unread)}"
        return
    what = "the value" if piece.table == "values" else "the key"
    gone = _gone(view, piece)
    for number in view.there(gone)[:NAMED].tolist():
        yield f"{what} of entry {number}: {_triple(view, number) or 'its texts are lost too'}"


def _gone(view: View, piece: Piece) -> Ids:
    """The entries whose key or value was in a record and is not sound there."""
    if piece.table == "postings":
        return keyless(view, piece)
    return view.having(damaged_values(view, piece, next_first(view, piece)))


def next_first(view: View, piece: Piece) -> int:
    """The first id of the record behind one of entries or values."""
    for key, _ in records_from(view.txn, getattr(view.tables, piece.table), piece.key + b"\0"):
        return int.from_bytes(key, "big")
    record = view.record
    return int(record.next_entry if piece.table == "entries" else record.next_value)


def _triple(view: View, number: int) -> str | None:
    try:
        [entry] = view.entries(np.array([number], np.uint64))
    except DataLoss:
        return None
    return " | ".join(entry.triple.identity)


def _listed(ids: list[int]) -> str:
    """Ids as runs: 1-5, 9."""
    runs: list[list[int]] = []
    for number in ids:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)
