"""The records of many rows, which are read where they lie: slots of postings, nodes, values, entries.

Each begins with a checksum, as every record does (`atlasdb.format`, which has the table of all), then the number of its
rows and what else its length depends on; its columns stand one after the other, the widest last.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from atlasdb import crc, parity
from atlasdb.format import CRC_BYTES, IDENTITY_BYTES, Buffer, check, damaged, seal
from atlasdb.tree.image import node_rows
from atlasdb.tree.slots import Slots
from atlasdb_contract.types import Ids, Vectors

_HEADER = struct.Struct("<IIII")

SLOTS_SHIFT: Final = 12
"""A record of a tree's postings has 1 << this many slots (the last one of a tree may have fewer): at D = 384, 1.6
MiB."""
NODES_SHIFT: Final = 10
"""A record of nodes has 1 << this many."""


class SlotOffsets(NamedTuple):
    """Where the columns of slots begin in their record."""

    starts: int
    subjects: int
    scales: int
    checks: int
    ids: int
    value_ids: int
    seals: int
    keys: int


def slot_offsets(count: int, entries: int) -> SlotOffsets:
    """Each column's first byte, from the start of the record."""
    ids = _HEADER.size
    value_ids = ids + 8 * entries
    subjects = value_ids + 8 * entries
    starts = subjects + 8 * count
    scales = starts + 4 * (count + 1)
    checks = scales + 4 * count
    seals = checks + 4 * count
    return SlotOffsets(starts, subjects, scales, checks, ids, value_ids, seals, _padded(seals + 4 * entries))


def node_offsets(count: int, links: int, words: int) -> tuple[int, int]:
    """Where the rows and the vectors of `count` nodes with L links begin in their record."""
    rows = _padded(_HEADER.size)
    return rows, rows + count * node_rows(words, links).itemsize


def _padded(size: int) -> int:
    return -(-(size + 16) // 64) * 64 - 16


def seal_slots(key: bytes, slots: Slots) -> bytearray:
    """A record of slots."""
    at = slot_offsets(len(slots), slots.entries)
    checks = crc.of_keys(slots.subjects, slots.keys)
    seals = crc.of_entries(slots.ids, slots.value_ids, np.repeat(checks, np.diff(slots.starts)))
    record = bytearray(parity.whole(size := at.keys + slots.keys.data.nbytes))
    _HEADER.pack_into(record, 0, 0, len(slots), slots.keys.dimension, slots.entries)
    columns = (
        (at.ids, slots.ids.astype("<u8")),
        (at.value_ids, slots.value_ids.astype("<u8")),
        (at.subjects, slots.subjects.astype("<u8")),
        (at.starts, slots.starts.astype("<u4")),
        (at.scales, slots.keys.scales.astype("<f4")),
        (at.checks, checks.astype("<u4")),
        (at.seals, seals.astype("<u4")),
        (at.keys, slots.keys.data),
    )
    return _sealed(key, record, size, columns)


def _sealed(key: bytes, record: bytearray, size: int, columns: Sequence[tuple[int, npt.NDArray[Any]]]) -> bytearray:
    """A record whose columns end at `size`, with them, its parity and its checksum filled in."""
    whole = np.frombuffer(record, np.uint8)
    for start, column in columns:
        if column.nbytes:
            whole[start : start + column.nbytes] = np.ascontiguousarray(column).reshape(-1).view(np.uint8)
    return parity.seal(key, record, size)


def slots_size(dimension: int, count: int, entries: int) -> int:
    """Bytes of a record of slots."""
    return parity.whole(slot_offsets(count, entries).keys + count * dimension)


def slot_counts(dimension: int, key: bytes, record: Buffer) -> tuple[int, int]:
    """How many slots a record has, and entries, from its header. DataLoss where it is not as long as that takes."""
    count, told, entries = _HEADER.unpack_from(record)[1:] if len(record) >= _HEADER.size else (0, 0, 0)
    if told != dimension or len(record) != slots_size(dimension, count, entries):
        raise damaged("postings", key, "is cut short")
    return int(count), int(entries)


def spanned_slots(dimension: int, key: bytes, record: Buffer) -> tuple[int, int]:
    """The same, with the slots' spans checked too: what is read where it lies goes by them. DataLoss."""
    count, entries = slot_counts(dimension, key, record)
    starts = np.frombuffer(record, "<u4", count + 1, slot_offsets(count, entries).starts)
    if entries < count or starts[0] != 0 or starts[-1] != entries or (starts[1:] <= starts[:-1]).any():
        raise damaged("postings", key, "has slots without entries")
    return count, entries


def last_slot_id(dimension: int, key: bytes, record: Buffer) -> int:
    """The id of a record's last entry; unchecked."""
    count, entries = slot_counts(dimension, key, record)
    return int(np.frombuffer(record, "<u8", 1, slot_offsets(count, entries).ids + 8 * (entries - 1))[0])


def open_slots(dimension: int, key: bytes, record: Buffer) -> Slots:
    """The slots of a record, as views of it; checked."""
    check("postings", key, record)
    return lent_slots(dimension, key, record)


def slot_checks(dimension: int, key: bytes, record: Buffer) -> tuple[crc.U32s, crc.U32s]:
    """The checksums of a record's slots and the seals of their entries, as they are stored. DataLoss."""
    count, entries = slot_counts(dimension, key, record)
    at = slot_offsets(count, entries)
    return np.frombuffer(record, "<u4", count, at.checks), np.frombuffer(record, "<u4", entries, at.seals)


def lent_keys(dimension: int, key: bytes, record: Buffer) -> tuple[Ids, Vectors]:
    """The subjects and the keys of a record's slots, unchecked: views. DataLoss where it is cut short."""
    count, entries = slot_counts(dimension, key, record)
    at = slot_offsets(count, entries)
    matrix = np.frombuffer(record, np.int8, count * dimension, at.keys).reshape(count, dimension)
    return np.frombuffer(record, "<u8", count, at.subjects), Vectors(
        matrix, np.frombuffer(record, "<f4", count, at.scales)
    )


def lent_slots(dimension: int, key: bytes, record: Buffer) -> Slots:
    """The same, with nothing checked but that they can be told apart."""
    count, entries = spanned_slots(dimension, key, record)
    at = slot_offsets(count, entries)
    matrix = np.frombuffer(record, np.int8, count * dimension, at.keys).reshape(count, dimension)
    scales = np.frombuffer(record, "<f4", count, at.scales)
    starts = np.frombuffer(record, "<u4", count + 1, at.starts)
    ids, value_ids = (np.frombuffer(record, "<u8", entries, start) for start in (at.ids, at.value_ids))
    subjects = np.frombuffer(record, "<u8", count, at.subjects)
    return Slots(subjects, Vectors(matrix, scales), starts, ids, value_ids)


class ValueOffsets(NamedTuple):
    """Where the columns of `count` values begin in their record."""

    identities: int
    scales: int
    checks: int
    vectors: int


def value_offsets(count: int) -> ValueOffsets:
    """Each column's first byte, from the start of the record."""
    scales = _HEADER.size + IDENTITY_BYTES * count
    return ValueOffsets(_HEADER.size, scales, scales + 4 * count, _padded(scales + 8 * count))


def seal_values(key: bytes, first: int, identities: Ids, vectors: Vectors) -> bytearray:
    """A record of values with the ids from `first` on; `identities` u64 (n, 2)."""
    count = len(vectors)
    at = value_offsets(count)
    ids = np.arange(first, first + count, dtype=np.uint64)
    record = bytearray(parity.whole(size := at.vectors + vectors.data.nbytes))
    _HEADER.pack_into(record, 0, 0, count, vectors.dimension, 0)
    columns = (
        (at.identities, identities.astype("<u8")),
        (at.scales, vectors.scales.astype("<f4")),
        (at.checks, crc.of_values(ids, vectors).astype("<u4")),
        (at.vectors, vectors.data),
    )
    return _sealed(key, record, size, columns)


def values_size(dimension: int, count: int) -> int:
    """Bytes of a record of values."""
    return parity.whole(value_offsets(count).vectors + count * dimension)


def value_count(dimension: int, key: bytes, record: Buffer) -> int:
    """How many values a record has, from its header. DataLoss where the record is not as long as that takes."""
    count, told = _HEADER.unpack_from(record)[1:3] if len(record) >= _HEADER.size else (0, 0)
    if told != dimension or len(record) != values_size(dimension, count):
        raise damaged("values", key, "is cut short")
    return int(count)


def open_values(dimension: int, key: bytes, record: Buffer) -> tuple[Ids, Vectors]:
    """Identities u64 (n, 2) and vectors, as views of the record; checked."""
    check("values", key, record)
    return lent_values(dimension, key, record)


def lent_values(dimension: int, key: bytes, record: Buffer) -> tuple[Ids, Vectors]:
    """The same, unchecked. DataLoss where the record is cut short."""
    count = value_count(dimension, key, record)
    at = value_offsets(count)
    matrix = np.frombuffer(record, np.int8, count * dimension, at.vectors).reshape(count, dimension)
    identities = np.frombuffer(record, "<u8", 2 * count, at.identities).reshape(count, 2)
    return identities, Vectors(matrix, np.frombuffer(record, "<f4", count, at.scales))


@dataclass(frozen=True, slots=True)
class EntryRows:
    """N entries as they are stored but for their keys: `flags` u8 (N,), `value_ids` u64 (N,), `items` u64 (N, 2), what
    they are in a setsum, `texts` uint8, where entry i ends at ends[i], int64 (N,), and begins where the one before
    ends."""

    flags: npt.NDArray[np.uint8]
    value_ids: Ids
    items: Ids
    texts: npt.NDArray[np.uint8]
    ends: npt.NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.flags)

    def part(self, start: int, stop: int) -> "EntryRows":
        """The rows from `start` to `stop`, `stop` above `start`: views."""
        first = int(self.ends[start - 1]) if start else 0
        ends = self.ends[start:stop] - first
        texts = self.texts[first : int(self.ends[stop - 1])]
        here = slice(start, stop)
        return EntryRows(self.flags[here], self.value_ids[here], self.items[here], texts, ends)

    @staticmethod
    def joined(parts: "Sequence[EntryRows]") -> "EntryRows":
        """At least one, end to end."""
        if len(parts) == 1:
            return parts[0]
        before = np.cumsum([0, *(len(part.texts) for part in parts)])
        return EntryRows(
            np.concatenate([part.flags for part in parts]),
            np.concatenate([part.value_ids for part in parts]),
            np.concatenate([part.items for part in parts]),
            np.concatenate([part.texts for part in parts]),
            np.concatenate([part.ends + start for part, start in zip(parts, before.tolist(), strict=False)]),
        )


class EntryOffsets(NamedTuple):
    """Where the columns of `count` entries begin in their record."""

    value_ids: int
    items: int
    ends: int
    checks: int
    flags: int
    texts: int


def entry_offsets(count: int) -> EntryOffsets:
    """Each column's first byte, from the start of the record."""
    first = _HEADER.size
    ends = first + 24 * count
    return EntryOffsets(first, first + 8 * count, ends, ends + 4 * count, ends + 8 * count, ends + 9 * count)


def seal_entries(key: bytes, first: int, rows: EntryRows) -> bytearray:
    """A record of the entries with the ids from `first` on."""
    count = len(rows)
    at = entry_offsets(count)
    ids = np.arange(first, first + count, dtype=np.uint64)
    checks = crc.of_texts(ids, rows.value_ids, rows.items, rows.flags, rows.texts, rows.ends)
    record = bytearray(parity.whole(size := at.texts + len(rows.texts)))
    _HEADER.pack_into(record, 0, 0, count, len(rows.texts), 0)
    columns = (
        (at.value_ids, rows.value_ids.astype("<u8")),
        (at.items, rows.items.astype("<u8")),
        (at.ends, rows.ends.astype("<u4")),
        (at.checks, checks.astype("<u4")),
        (at.flags, rows.flags),
        (at.texts, rows.texts),
    )
    return _sealed(key, record, size, columns)


def entry_count(key: bytes, record: Buffer) -> int:
    """How many entries a record has, from its header. DataLoss where the record is not as long as that takes."""
    count, texts = _HEADER.unpack_from(record)[1:3] if len(record) >= _HEADER.size else (0, 0)
    if not count or len(record) != parity.whole(entry_offsets(count).texts + texts):
        raise damaged("entries", key, "is cut short")
    return int(count)


def value_ids_of(key: bytes, record: Buffer) -> Ids:
    """The value ids of a record's entries, unchecked: a view. DataLoss where it is cut short."""
    count = entry_count(key, record)
    return np.frombuffer(record, "<u8", count, entry_offsets(count).value_ids)


def spanned_entries(key: bytes, record: Buffer) -> int:
    """The same, with where their texts end checked too: what is read where it lies goes by that. DataLoss."""
    count, texts = entry_count(key, record), _HEADER.unpack_from(record)[2]
    ends = np.frombuffer(record, "<u4", count, entry_offsets(count).ends)
    if ends[-1] != texts or (ends[1:] < ends[:-1]).any():
        raise damaged("entries", key, "has texts that end nowhere")
    return count


def open_entries(key: bytes, record: Buffer) -> EntryRows:
    """The entries of a record, as views of it; checked."""
    check("entries", key, record)
    count, texts = spanned_entries(key, record), _HEADER.unpack_from(record)[2]
    at = entry_offsets(count)
    return EntryRows(
        np.frombuffer(record, np.uint8, count, at.flags),
        np.frombuffer(record, "<u8", count, at.value_ids),
        np.frombuffer(record, "<u8", 2 * count, at.items).reshape(count, 2),
        np.frombuffer(record, np.uint8, texts, at.texts),
        np.frombuffer(record, "<u4", count, at.ends).astype(np.int64),
    )


PLACES_SHIFT: Final = 16
"""A record of places is of 1 << this many entries."""


def seal_places(key: bytes, slots: npt.NDArray[np.uint32]) -> bytes:
    """Where entries of one tree are: their slots u32 (n,); the largest number: nowhere."""
    return seal(key, slots.astype("<u4").tobytes())


def open_places(key: bytes, record: Buffer) -> npt.NDArray[np.uint32]:
    """A view of the record; checked."""
    check("nodes", key, record)
    return np.frombuffer(record, "<u4", -1, CRC_BYTES)


def seal_nodes(key: bytes, rows: npt.NDArray[np.void], vectors: npt.NDArray[np.int8]) -> bytearray:
    """One record of N INTER nodes: `rows` as `node_rows` has them, vectors int8 (N, D)."""
    words, links = rows.dtype["code"].shape[0], rows.dtype["links"].shape[0]
    at = node_offsets(len(rows), links, words)
    record = bytearray(parity.whole(size := at[1] + vectors.nbytes))
    _HEADER.pack_into(record, 0, 0, len(rows), links, words)
    return _sealed(key, record, size, ((at[0], rows.view(np.uint8)), (at[1], vectors)))


def node_shape(dimension: int, key: bytes, record: Buffer) -> tuple[int, int, int]:
    """(nodes, L, W), from the header. DataLoss where the record is not as long as that takes."""
    count, links, words = _HEADER.unpack_from(record)[1:] if len(record) >= _HEADER.size else (0, 0, 0)
    told = bool(count) and 8 * words + 4 * links <= len(record)  # what begins with noise has no layout
    if not told or len(record) != parity.whole(node_offsets(count, links, words)[1] + count * dimension):
        raise damaged("nodes", key, "is cut short")
    return int(count), int(links), int(words)


def open_nodes(dimension: int, key: bytes, record: Buffer) -> tuple[npt.NDArray[np.void], npt.NDArray[np.int8]]:
    """Rows and vectors of a record of INTER nodes, checked: views of it."""
    check("nodes", key, record)
    count, links, words = node_shape(dimension, key, record)
    rows, vectors = node_offsets(count, links, words)
    matrix = np.frombuffer(record, np.int8, count * dimension, vectors).reshape(count, dimension)
    return np.frombuffer(record, node_rows(words, links), count, rows), matrix


def seal_vectors(key: bytes, vectors: Vectors, firsts: npt.NDArray[np.int64]) -> bytearray:
    """One record of N vectors that are read at once, ROOTs or residuals, with a number each."""
    count = len(vectors)
    record = bytearray(parity.whole(size := _HEADER.size + count * (12 + vectors.dimension)))
    _HEADER.pack_into(record, 0, 0, count, vectors.dimension, 0)
    at = _HEADER.size
    columns = (
        (at, firsts.astype("<i8")),
        (at + 8 * count, vectors.scales.astype("<f4")),
        (at + 12 * count, vectors.data),
    )
    return _sealed(key, record, size, columns)


def open_vectors(dimension: int, key: bytes, record: Buffer) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """The vectors of a record and their numbers, checked: views of it."""
    check("nodes", key, record)
    count, told = _HEADER.unpack_from(record)[1:3] if len(record) >= _HEADER.size else (0, 0)
    if told != dimension or len(record) != parity.whole(_HEADER.size + count * (12 + dimension)):
        raise damaged("nodes", key, "is cut short")
    at = _HEADER.size
    matrix = np.frombuffer(record, np.int8, count * dimension, at + 12 * count).reshape(count, dimension)
    return Vectors(matrix, np.frombuffer(record, "<f4", count, at + 8 * count)), np.frombuffer(record, "<i8", count, at)
