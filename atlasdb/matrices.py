"""The records that hold matrices, and are read where they lie: slots of postings, nodes, values.

Each begins with a checksum, as every record does (`atlasdb.format`, which has the table of all), then the number of its
rows and what else its length depends on; its columns stand one after the other, the matrix last.
"""

import struct
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

from atlasdb import crc
from atlasdb.format import CRC_BYTES, IDENTITY_BYTES, Buffer, check, damaged, seal
from atlasdb_contract.types import Floats, Ids, Vectors

_HEADER = struct.Struct("<IIII")

SLOTS_SHIFT: Final = 12
"""A record of a tree's postings has 1 << this many slots (the last one of a tree may have fewer): at D = 384, 1.6
MiB."""
NODES_SHIFT: Final = 10
"""A record of nodes has 1 << this many."""


class SlotOffsets(NamedTuple):
    """Where the columns of `count` slots begin in their record."""

    ids: int
    value_ids: int
    scales: int
    checks: int
    keys: int


class NodeOffsets(NamedTuple):
    """Where the columns of `count` nodes with L links begin in their record."""

    starts: int
    scales: int
    code_scales: int
    links: int
    codes: int
    vectors: int


def slot_offsets(count: int) -> SlotOffsets:
    """Each column's first byte, from the start of the record."""
    first = _HEADER.size
    return SlotOffsets(first, first + 8 * count, first + 16 * count, first + 20 * count, _padded(first + 24 * count))


def node_offsets(count: int, links: int, words: int) -> NodeOffsets:
    """Each column's first byte, from the start of the record."""
    starts = _HEADER.size
    scales = starts + 8 * (count + 1)
    codes = _padded(scales + 4 * count * (2 + links))
    return NodeOffsets(
        starts, scales, scales + 4 * count, scales + 8 * count, codes, _padded(codes + 8 * count * words)
    )


def _padded(size: int) -> int:
    return -(-(size + 16) // 64) * 64 - 16


def seal_slots(key: bytes, ids: Ids, value_ids: Ids, keys: Vectors) -> bytes:
    """A record of slots."""
    count = len(ids)
    head = _HEADER.pack(0, count, keys.dimension, 0)[CRC_BYTES:]
    checks = crc.of_slots(ids, value_ids, keys).astype("<u4")
    columns = (ids.astype("<u8"), value_ids.astype("<u8"), keys.scales.astype("<f4"), checks)
    pad = bytes(slot_offsets(count).keys - _HEADER.size - 24 * count)
    return seal(key, b"".join([head, *(c.tobytes() for c in columns), pad, keys.data.tobytes()]))


def slot_count(dimension: int, key: bytes, record: Buffer) -> int:
    """How many slots a record has, from its header. DataLoss where the record is not as long as that takes."""
    count, told = _HEADER.unpack_from(record)[1:3] if len(record) >= _HEADER.size else (0, 0)
    if told != dimension or len(record) != slot_offsets(count).keys + count * dimension:
        raise damaged("postings", key, "is cut short")
    return int(count)


def last_slot_id(dimension: int, key: bytes, record: Buffer) -> int:
    """The id of a record's last slot; unchecked."""
    count = slot_count(dimension, key, record)
    return int(np.frombuffer(record, "<u8", 1, slot_offsets(count).ids + 8 * (count - 1))[0])


def open_slots(dimension: int, key: bytes, record: Buffer) -> tuple[Ids, Ids, Vectors]:
    """Ids, value ids and keys, as views of the record; checked."""
    check("postings", key, record)
    count = slot_count(dimension, key, record)
    at = slot_offsets(count)
    matrix = np.frombuffer(record, np.int8, count * dimension, at.keys).reshape(count, dimension)
    scales = np.frombuffer(record, "<f4", count, at.scales)
    ids, value_ids = (np.frombuffer(record, "<u8", count, start) for start in (at.ids, at.value_ids))
    return ids, value_ids, Vectors(matrix, scales)


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


def seal_values(key: bytes, first: int, identities: bytes, vectors: Vectors) -> bytes:
    """A record of values with the ids from `first` on; `identities` end to end."""
    count = len(vectors)
    head = _HEADER.pack(0, count, vectors.dimension, 0)[CRC_BYTES:]
    ids = np.arange(first, first + count, dtype=np.uint64)
    columns = (vectors.scales.astype("<f4").tobytes(), crc.of_values(ids, vectors).astype("<u4").tobytes())
    at = value_offsets(count)
    pad = bytes(at.vectors - at.checks - 4 * count)
    return seal(key, b"".join([head, identities, *columns, pad, vectors.data.tobytes()]))


def value_count(dimension: int, key: bytes, record: Buffer) -> int:
    """How many values a record has, from its header. DataLoss where the record is not as long as that takes."""
    count, told = _HEADER.unpack_from(record)[1:3] if len(record) >= _HEADER.size else (0, 0)
    if told != dimension or len(record) != value_offsets(count).vectors + count * dimension:
        raise damaged("values", key, "is cut short")
    return int(count)


def value_identity(record: Buffer, position: int) -> bytes:
    """The 16-byte identity of a value in its record; nothing where it ends before. Unchecked."""
    count = _HEADER.unpack_from(record)[1] if len(record) >= _HEADER.size else 0
    start = _HEADER.size + IDENTITY_BYTES * position
    return bytes(record[start : start + IDENTITY_BYTES]) if position < count else b""


def open_values(dimension: int, key: bytes, record: Buffer) -> tuple[bytes, Vectors]:
    """Identities end to end, and vectors as views of the record; checked."""
    check("values", key, record)
    count = value_count(dimension, key, record)
    at = value_offsets(count)
    matrix = np.frombuffer(record, np.int8, count * dimension, at.vectors).reshape(count, dimension)
    vectors = Vectors(matrix, np.frombuffer(record, "<f4", count, at.scales))
    return bytes(record[at.identities : at.scales]), vectors


class NodeColumns(NamedTuple):
    """N nodes of one level: vectors (N, D), their codes u64 (N, W) with scales (N,), starts u64 (N + 1,), links i32
    (N, L) padded with -1."""

    vectors: Vectors
    codes: Ids
    code_scales: Floats
    starts: Ids
    links: npt.NDArray[np.int32]


def seal_nodes(key: bytes, nodes: NodeColumns) -> bytes:
    """One record of nodes."""
    (count, links), words = nodes.links.shape, nodes.codes.shape[1]
    at = node_offsets(count, links, words)
    record = bytearray(at.vectors)
    _HEADER.pack_into(record, 0, 0, count, links, words)
    columns = (
        (at.starts, nodes.starts.astype("<u8")),
        (at.scales, nodes.vectors.scales.astype("<f4")),
        (at.code_scales, nodes.code_scales.astype("<f4")),
        (at.links, nodes.links.astype("<i4")),
        (at.codes, nodes.codes.astype("<u8")),
    )
    for start, column in columns:
        record[start : start + column.nbytes] = column.tobytes()
    return seal(key, bytes(record[CRC_BYTES:]) + nodes.vectors.data.tobytes())


def node_shape(dimension: int, key: bytes, record: Buffer) -> tuple[int, int, int]:
    """(nodes, L, W), from the header. DataLoss where the record is not as long as that takes."""
    count, links, words = _HEADER.unpack_from(record)[1:] if len(record) >= _HEADER.size else (0, 0, 0)
    if not count or len(record) != node_offsets(count, links, words).vectors + count * dimension:
        raise damaged("nodes", key, "is cut short")
    return int(count), int(links), int(words)


def open_nodes(dimension: int, key: bytes, record: Buffer) -> NodeColumns:
    """A record of nodes, checked: views of it."""
    check("nodes", key, record)
    count, links, words = node_shape(dimension, key, record)
    at = node_offsets(count, links, words)
    matrix = np.frombuffer(record, np.int8, count * dimension, at.vectors).reshape(count, dimension)
    scales = np.frombuffer(record, "<f4", count, at.scales)
    linked = np.frombuffer(record, "<i4", count * links, at.links).reshape(count, links)
    codes = np.frombuffer(record, "<u8", count * words, at.codes).reshape(count, words)
    code_scales = np.frombuffer(record, "<f4", count, at.code_scales)
    starts = np.frombuffer(record, "<u8", count + 1, at.starts)
    return NodeColumns(Vectors(matrix, scales), codes, code_scales, starts, linked)
