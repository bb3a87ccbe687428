"""A damaged record of slots or values made again, row by row: what is sound stays, the rest is encoded from its texts.

Every slot, entry in a slot and value has a checksum of its own, so it is known which rows are as they were. A vector
that is encoded again and has the old checksum is the old one, to the bit. One that has another (an encoder rounds as
its batches fall) takes its place, and the items of its entries are made to fit.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import NamedTuple

import numpy as np

from atlasdb import crc, matrices
from atlasdb.crc import U32s
from atlasdb.engine.engine import Engine
from atlasdb.engine.read import texts_of
from atlasdb.format import POSTING_KEY, Flag
from atlasdb.ingest.phrases import Phrasing
from atlasdb.setsum import items_of
from atlasdb.store import entries, postings, trees
from atlasdb.store.identity import subject_hashes, text_identities, vector_identities
from atlasdb.store.mending import Piece
from atlasdb.store.view import View
from atlasdb.tree.slots import Positions, Slots
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import NO_ENCODER, Ids, Vectors

Bools = np.ndarray[tuple[int], np.dtype[np.bool_]]
Encode = Callable[[list[str]], Vectors]


class Remade(NamedTuple):
    """A record as it is to be; how many rows were made again; entries u64 (n,) whose items change, to u64 (n, 2)."""

    record: bytes
    rows: str
    ids: Ids
    items: Ids


def remade(engine: Engine, name: str, piece: Piece) -> Remade:
    """A record of slots or values. DataLoss where not all of it can be known; the encoder's errors."""
    with engine.store.view(name) as view:
        config = view.record.config

        def encode(texts: list[str]) -> Vectors:
            if config.encoder == NO_ENCODER:
                raise DataLoss("the collection has no encoder")
            return quantise(engine.encode(config, name, texts).result())

        return _values(view, piece, encode) if piece.table == "values" else _slots(view, piece, encode)


# ---- slots ----


def _slots(view: View, piece: Piece, encode: Encode) -> Remade:
    slots, bad = _told_apart(view, piece)
    owners = np.repeat(np.arange(len(slots)), np.diff(slots.starts))
    if not bad.any():
        return Remade(_sealed(piece, slots), "the entries of the keys", *_NONE)
    again = np.flatnonzero(bad)
    texts, subjects = _key_texts(view, slots.ids[slots.starts[:-1][again].astype(np.int64)])
    made = encode(texts)
    data, scales = slots.keys.data.copy(), slots.keys.scales.copy()
    data[again], scales[again] = made.data, made.scales
    of_subjects = slots.subjects.copy()
    of_subjects[again] = subjects
    fixed = replace(slots, keys=Vectors(data, scales), subjects=of_subjects)
    checks = matrices.slot_checks(view.record.dimension, piece.key, _record(view, piece))[0]
    changed = (crc.of_keys(fixed.subjects, fixed.keys) != checks)[owners]
    items = _items(view, fixed.ids[changed], keys=(fixed.keys, owners[changed]))
    return Remade(_sealed(piece, fixed), f"{len(again)} keys", fixed.ids[changed], items)


def _record(view: View, piece: Piece) -> bytes:
    return bytes(view.txn.get(piece.key, db=getattr(view.tables, piece.table)) or b"")


def _told_apart(view: View, piece: Piece) -> tuple[Slots, Bools]:
    """A record's slots with their entries as they must be, and which slots have a wrong checksum.

    Which entries a slot has is said by the places of its tree, too, and in the delta by the order of ids.
    """
    dimension, record = view.record.dimension, _record(view, piece)
    checks, seals = matrices.slot_checks(dimension, piece.key, record)
    starts, ids = _entries_of(view, piece, len(checks))
    if len(ids) != len(seals):
        raise DataLoss("which entries are in which slot is lost")
    rows = entries.read(view.cache.entries(view.txn, view.tables, view.record), ids)
    subjects, keys = matrices.lent_keys(dimension, piece.key, record)
    slots = Slots(subjects, keys, starts, ids, rows.value_ids)
    return slots, crc.of_keys(subjects, keys) != checks


def _entries_of(view: View, piece: Piece, count: int) -> tuple[Positions, Ids]:
    """Where each slot's entries begin, (count + 1,), and the entries' ids, slot after slot."""
    generation, first = POSTING_KEY.unpack(piece.key)
    if generation == postings.DELTA:
        return np.arange(count + 1), np.arange(first, first + count, dtype=np.uint64)
    [tree] = [one for one in view.record.trees if one.generation == generation]
    every = np.arange(tree.first, tree.last + 1, dtype=np.uint64)
    slots = trees.slots_of(view.txn, view.tables, tree, every)
    here = (slots >= first) & (slots < first + count)
    order = np.argsort(slots[here], kind="stable")
    sizes = np.bincount(slots[here] - first, minlength=count)
    return np.concatenate([[0], np.cumsum(sizes)]), every[here][order]


_NONE = np.zeros(0, np.uint64), np.zeros((0, 2), np.uint64)


def _sealed(piece: Piece, slots: Slots) -> bytes:
    return bytes(matrices.seal_slots(piece.key, slots))


def _key_texts(view: View, ids: Ids) -> tuple[list[str], Ids]:
    """The key texts of entries whose vectors were encoded, and their subjects. DataLoss where one's were given."""
    _check_encoded(view, ids)
    texts, subjects = [], []
    for stored in view.entries_of(ids):
        inverse = bool(stored.flags & Flag.INVERSE)
        texts.append(texts_of(stored.triple, inverse, _phrasing(view))[0])
        subjects.append(stored.triple.tail if inverse else stored.triple.head)
    return texts, subject_hashes(subjects, view.record.salt)


def _phrasing(view: View) -> Phrasing:
    return Phrasing(view.record.config.phrases, view.record.config.inverse)


def _check_encoded(view: View, ids: Ids) -> None:
    """DataLoss where the vectors of an entry came from a client: nobody can make them again."""
    rows = list(view.entries_of(ids))
    wanted = text_identities(
        [texts_of(one.triple, bool(one.flags & Flag.INVERSE), _phrasing(view))[1] for one in rows], view.record.salt
    )
    held = view.identities(np.array([one.value_id for one in rows], np.uint64))
    if not np.array_equal(wanted, held):
        raise DataLoss("some of its vectors came from a client")


def _items(
    view: View,
    ids: Ids,
    keys: "tuple[Vectors, Positions] | None" = None,
    values: "tuple[Vectors, Positions] | None" = None,
) -> Ids:
    """What entries are in the setsum, with keys or values other than the stored ones."""
    if not len(ids):
        return _NONE[1]
    rows = entries.read(view.cache.entries(view.txn, view.tables, view.record), ids)
    every = np.arange(len(ids))
    of_keys = (view.keys(ids), every) if keys is None else keys
    of_values = (view.values(rows.value_ids), every) if values is None else values
    return items_of(rows.texts, rows.ends, (rows.flags & Flag.INVERSE) != 0, of_keys, of_values)


# ---- values ----


def _values(view: View, piece: Piece, encode: Encode) -> Remade:
    first = int.from_bytes(piece.key, "big")
    identities, vectors, bad = values_in(view, piece)
    ids = np.arange(first, first + len(vectors), dtype=np.uint64)
    texts = _value_texts(view, ids)
    data, scales = vectors.data.copy(), vectors.scales.copy()
    again = np.flatnonzero(bad)
    of_texts = text_identities(texts, view.record.salt)
    if len(again):
        if not np.array_equal(identities[again], of_texts[again]):
            raise DataLoss("some of its vectors came from a client")
        made = encode([texts[i] for i in again.tolist()])
        data[again], scales[again] = made.data, made.scales
    fixed = Vectors(data, scales)
    given = vector_identities(fixed, view.record.salt)
    known = (identities == of_texts).all(axis=1) | (identities == given).all(axis=1)
    if view.record.config.encoder == NO_ENCODER:
        identities = np.where(known[:, None], identities, given)
    elif not known.all():
        identities = np.where(known[:, None], identities, of_texts)
    record = bytes(matrices.seal_values(piece.key, first, identities, fixed))
    changed = ids[again[crc.of_values(ids, fixed)[again] != value_checks(view, piece)[again]]]
    having = view.having(changed)
    rows = entries.read(view.cache.entries(view.txn, view.tables, view.record), having)
    items = _items(view, having, values=(fixed, (rows.value_ids - np.uint64(first)).astype(np.int64)))
    return Remade(record, f"{len(again)} values", having, items)


def values_in(view: View, piece: Piece) -> tuple[Ids, Vectors, np.ndarray[tuple[int], np.dtype[np.bool_]]]:
    """A record's identities and values, unchecked, copied, and which have a wrong checksum. DataLoss."""
    first = int.from_bytes(piece.key, "big")
    record = bytes(view.txn.get(piece.key, db=view.tables.values) or b"")
    identities, vectors = matrices.lent_values(view.record.dimension, piece.key, record)
    ids = np.arange(first, first + len(vectors), dtype=np.uint64)
    return identities, vectors, crc.of_values(ids, vectors) != value_checks(view, piece)


def value_checks(view: View, piece: Piece) -> U32s:
    """The checksums of a record's values, as they are stored."""
    record = bytes(view.txn.get(piece.key, db=view.tables.values) or b"")
    count = matrices.value_count(view.record.dimension, piece.key, record)
    return np.frombuffer(record, "<u4", count, matrices.value_offsets(count).checks)


def _value_texts(view: View, ids: Ids) -> list[str]:
    """The text of each value, of the first entry that has it; "" where nothing has."""
    having = view.having(ids)
    texts = dict.fromkeys(ids.tolist(), "")
    for stored in view.entries_of(having):
        if not texts[stored.value_id]:
            texts[stored.value_id] = texts_of(stored.triple, bool(stored.flags & Flag.INVERSE), _phrasing(view))[1]
    return list(texts.values())


# ---- what can't be made again ----


def keyless(view: View, piece: Piece) -> Ids:
    """The entries whose key was in a record of slots and is not sound there."""
    every = np.arange(1, int(view.record.next_entry), dtype=np.uint64)
    try:
        slots, bad = _told_apart(view, piece)
        return slots.ids[np.repeat(bad, np.diff(slots.starts))]
    except DataLoss:
        return np.setdiff1d(every, view.held(besides=piece.key))


def damaged_values(view: View, piece: Piece, stop: int) -> Ids:
    """The values of a record that are not sound; `stop`: the first id of the next record."""
    first = int.from_bytes(piece.key, "big")
    ids = np.arange(first, stop, dtype=np.uint64)
    try:
        return ids[values_in(view, piece)[2]]
    except DataLoss:
        return ids
