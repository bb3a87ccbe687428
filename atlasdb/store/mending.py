"""Damaged records found, and put right: where they lie, when their own parity says what they were."""

import os
from collections.abc import Iterator
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from atlasdb import format as fmt
from atlasdb import matrices, parity, setsum
from atlasdb.format import Flag
from atlasdb.store import pages
from atlasdb.store.changes import Changes
from atlasdb.store.environment import FILE
from atlasdb.store.identity import facts_of
from atlasdb.store.index import Index, Space
from atlasdb.store.opened import table_name
from atlasdb.store.records import records_from
from atlasdb.store.view import View
from atlasdb.store.writer import WriteTxn
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Ids

VIEW_BYTES = 32 << 20
"""Of records that one view looks at."""


class Piece(NamedTuple):
    """A record of a collection."""

    table: str
    key: bytes

    def __str__(self) -> str:
        return f"{self.table}: {fmt.shown(self.table, self.key)}"


class Scanned(NamedTuple):
    """Records that one view looked at: the damaged ones, how many bytes, the key to go on from (None: none)."""

    damaged: list[Piece]
    size: int
    onward: bytes | None


def scan(view: View, table: str, first: bytes) -> Scanned:
    """Compare the checksums of a table's records from the key `first` on."""
    damaged: list[Piece] = []
    size = 0
    for key, record in records_from(view.txn, getattr(view.tables, table), first):
        if size >= VIEW_BYTES:
            return Scanned(damaged, size, key)
        size += len(record)
        try:
            fmt.check(table, key, record)
        except DataLoss:
            damaged.append(Piece(table, key))
    return Scanned(damaged, size, None)


def as_it_was(view: View, piece: Piece) -> bytes | None:
    """A damaged record put right by its parity; None where that can't be."""
    record = view.txn.get(piece.key, db=getattr(view.tables, piece.table))
    bare = piece.table == "nodes" and piece.key[4] in (fmt.Level.PLACES, fmt.Level.SUMMARY)
    if record is None or bare or piece.table not in ("entries", "values", "postings", "nodes"):
        return None
    return parity.restored(piece.key, record)


def write(write: WriteTxn, changes: Changes, records: dict[Piece, bytes]) -> None:
    """Put records back as they were, which is on disk when this returns; short ones with the transaction.

    A long record is written where it lies: nobody else does, as LMDB never changes a page that is in use.
    """
    environment, collection = write.environment, changes.record.id
    lying = environment.structure(keep=f"{collection:08x}/").places
    with open(environment.path / FILE, "r+b") as file:
        for piece, record in records.items():
            of_table = lying.get(table_name(collection, piece.table).decode(), {})
            place = of_table.get(piece.key)
            if place is not None and place.size == len(record):
                os.pwrite(file.fileno(), record, place.page * pages.BYTES + pages.HEAD)
            else:
                write.txn.put(piece.key, record, db=getattr(changes.tables, piece.table))
        os.fsync(file.fileno())
    keys = {(piece.table, piece.key) for piece in records}
    left = tuple(one for one in changes.record.out if (one.table, one.key) not in keys)
    changes.record = replace(changes.record, out=left)
    changes.tables.lying.clear()
    changes.touch()


def make_index(write: WriteTxn, changes: Changes) -> None:
    """The index anew, from entries and values; of those that are damaged nothing is found."""
    with write.txn.cursor(changes.tables.index) as cursor:
        more = cursor.first()
        while more:
            more = cursor.delete()
    changes.tables.seen.clear()
    for space, table in ((Space.TRIPLES, "entries"), (Space.VALUES, "values")):
        index = Index(write.txn, changes.tables, space, lambda ids: np.ones(len(ids), np.bool_))
        for hashes, ids in _pairs(write, changes, table):
            order = np.argsort(hashes, kind="stable")
            index.append(hashes[order], ids[order])
            index.step()
    changes.touch()


def _pairs(write: WriteTxn, changes: Changes, table: str) -> Iterator[tuple[Ids, Ids]]:
    keys = [key for key, _ in records_from(write.txn, getattr(changes.tables, table), b"")]
    for key in keys:
        record = bytes(write.txn.get(key, db=getattr(changes.tables, table)) or b"")
        first = int.from_bytes(key, "big")
        try:
            if table == "values":
                identities, _ = matrices.open_values(changes.record.dimension, key, record)
                yield identities[:, 0].copy(), np.arange(first, first + len(identities), dtype=np.uint64)
                continue
            rows = matrices.open_entries(key, record)
        except DataLoss:
            continue
        hashes = facts_of(rows.texts.copy(), rows.ends, changes.record.salt).hashes
        forward = ((rows.flags & Flag.INVERSE) == 0) & (rows.value_ids != 0)
        yield hashes[forward], np.arange(first, first + len(rows), dtype=np.uint64)[forward]


def change_items(write: WriteTxn, changes: Changes, ids: Ids, items: Ids) -> None:
    """What entries are in the setsum, u64 (n, 2), where their vectors had to be made anew. DataLoss where one's own
    record is damaged."""
    where = changes.where("entries")
    records, rows = where.find(ids)
    for number in np.unique(records).tolist():
        first = int(where.firsts[number])
        key = fmt.id_key(first)
        held = matrices.open_entries(key, bytes(write.txn.get(key, db=changes.tables.entries) or b""))
        here = records == number
        changed = held.items.copy()
        changed[rows[here]] = items[here]
        sealed = matrices.seal_entries(key, first, replace(held, items=changed))
        alive = ~np.isin(ids[here], changes.gone(ids[here]))
        known = setsum.less(changes.record.setsum, held.items[rows[here][alive]])
        changes.record = replace(changes.record, setsum=setsum.added(known, items[here][alive]))
        write.txn.put(key, sealed, db=changes.tables.entries)
    changes.tables.lying.clear()
