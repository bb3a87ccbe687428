"""Every byte that reaches the disk.

A store is a folder: `atlas.mdb` (LMDB), `atlas.mdb-lock` (LMDB's readers) and `lock` (the pid of its server). In LMDB's
main table lie `format`, `sequence` and one `collection/NAME` for each collection; each collection has six tables of its
own, named `ID/TABLE` with ID in eight hex digits. Keys are big-endian, so that LMDB's order is numeric order; all else
is little-endian. Each record begins with a CRC32C over its key and the rest of it. Where "pad" stands, what follows
begins on a cache line: 48 bytes beyond a multiple of 64 in the record, since LMDB puts 16 bytes before a long record.

    table       key                                    record, after u32 crc
    main        format                                 magic 8s, version u32, features u32
    main        sequence                               next collection id u32
    main        collection/NAME                        msgpack map, see store/registry.py
    entries     id u64                                 flags u8, pad 3, value id u64, subject u64, scale f32, key i8[D],
                                                       msgpack [head, relation, tail, source, metadata]
    values      first id u64                           count u32, dimension u32, pad u32, identities 16s[n], scales
    f32[n],
                                                       checks u32[n], pad, vectors i8[n][D]
    index       space u8, 0x01, run u64                count u32, hashes u64[n], ids u64[n]     sorted by hash
    index       space u8, 0x02, first hash u64         count u32, hashes u64[n], ids u64[n]     sorted by hash
    index       space u8, 0x03, 0                      msgpack: the sweep in progress, see store/index.py
    postings    generation u32, first u64              count u32, dimension u32, pad u32, ids u64[n], value ids u64[n],
                                                       scales f32[n], checks u32[n], pad, keys i8[n][D]
    nodes       generation u32, level u8, first u32    count u32, L u32, W u32, starts u64[n + 1], scales f32[n],
                                                       code scales f32[n], links i32[n][L], pad, codes u64[n][W],
                                                       pad, vectors i8[n][D]
    tombstones  id u64                                 nothing
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

import msgpack
import numpy as np
import numpy.typing as npt
from google_crc32c import extend as extend_crc32c
from google_crc32c import value as crc32c

from atlasdb import crc
from atlasdb_contract.errors import DataLoss, FailedPrecondition
from atlasdb_contract.ids import EntryId, ValueId
from atlasdb_contract.types import Floats, Ids, Triple, Vectors

MAGIC: Final = b"ATLASDB\0"
VERSION: Final = 1
FEATURES: Final = 0  # bits of parts that a reader must know; none yet
CRC_BYTES: Final = 4
IDENTITY_BYTES: Final = 16
_LARGE: Final = 1 << 13
"""From this size on a record is checked where it lies; below, copying it first is quicker."""

Buffer: TypeAlias = bytes | memoryview
U32s: TypeAlias = npt.NDArray[np.uint32]

_U32 = struct.Struct("<I")
_ID = struct.Struct(">Q")
_FORMAT = struct.Struct("<8sII")
POSTING_KEY = struct.Struct(">IQ")
"""Key of slots: the generation and their first slot; in the delta, generation 0 and their first entry's id."""
NODE_KEY = struct.Struct(">IBI")
"""Key of nodes: generation, level, the first node."""
INDEX_KEY = struct.Struct(">BBQ")
"""Key in the index: space, kind, and a run's number, a leaf's first hash, or 0."""
_ENTRY_HEAD = struct.Struct("<IB3xQQf")
_HEADER = struct.Struct("<IIII")


class Flag(IntEnum):
    """Bits of an entry's flags."""

    INVERSE = 1
    """This entry points back; its forward entry has the id before."""
    HAS_INVERSE = 2
    """The entry with the next id points back."""


class Level(IntEnum):
    """Levels of stored nodes."""

    ROOT = 0
    INTER = 1


class IndexKind(IntEnum):
    """Kinds of records in the index table."""

    RUN = 1
    LEAF = 2
    SWEEP = 3


# ---- sealing: the checksum of any record --------------------------------------------------------------------------


def seal(key: bytes, body: bytes) -> bytes:
    """The record of `body` under `key`."""
    checksum: int = crc32c(key + body)
    return checksum.to_bytes(CRC_BYTES, "little") + body


def check(table: str, key: Buffer, record: Buffer) -> None:
    """DataLoss naming the table and the key where the checksum is wrong."""
    if len(record) < _LARGE:
        checksum = crc32c(b"".join((key, record[CRC_BYTES:])))
    else:
        checksum = extend_crc32c(crc32c(bytes(key)), np.frombuffer(record, np.uint8, offset=CRC_BYTES))
    if len(record) < CRC_BYTES or int.from_bytes(record[:CRC_BYTES], "little") != checksum:
        raise damaged(table, bytes(key))


def check_all(table: str, records: Sequence[tuple[Buffer, Buffer]]) -> None:
    """`check` of many records, in a fraction of the time."""
    parts = [part for key, record in records for part in (key, record[CRC_BYTES:])]
    ends = np.cumsum([len(part) for part in parts])[1::2]
    told = np.frombuffer(b"".join([bytes(record[:CRC_BYTES]).ljust(CRC_BYTES) for _, record in records]), "<u4")
    wrong = np.flatnonzero(crc.of_pieces(b"".join(parts), ends) != told)
    if len(wrong):
        raise damaged(table, bytes(records[wrong[0]][0]))


def damaged(table: str, key: bytes, what: str = "fails its checksum") -> DataLoss:
    """The error of a bad record; building again, or loading again, is the way out."""
    return DataLoss(f"a record of the table {table} {what}: key {shown(table, key)}; `atlasdb verify` lists all damage")


_SHOWN = {
    "postings": (POSTING_KEY, "generation {}, slot {}"),
    "nodes": (NODE_KEY, "generation {}, level {}, node {}"),
    "index": (INDEX_KEY, "space {}, kind {}, {:#x}"),
}


def shown(table: str, key: bytes) -> str:
    """A key for people: the numbers that it is made of."""
    layout, words = _SHOWN.get(table, (_ID, "id {}"))
    return words.format(*layout.unpack(key)) if table != "main" and len(key) == layout.size else repr(key)[1:]


def seal_map(key: bytes, content: Any) -> bytes:
    """A record whose body is msgpack."""
    return seal(key, msgpack.packb(content))


def open_map(table: str, key: bytes, record: Buffer) -> Any:
    """The content of a `seal_map` record."""
    check(table, key, record)
    return msgpack.unpackb(bytes(record[CRC_BYTES:]))


FORMAT_KEY: Final = b"format"
SEQUENCE_KEY: Final = b"sequence"
COLLECTION_PREFIX: Final = b"collection/"


def format_record() -> bytes:
    """What this version writes into a new store."""
    return seal(FORMAT_KEY, _FORMAT.pack(MAGIC, VERSION, FEATURES))


def check_format(path: str, record: Buffer | None) -> None:
    """FailedPrecondition where this is no store, or one that only another version of atlasdb can read."""
    whole = record or bytes(CRC_BYTES + _FORMAT.size)
    magic, version, features = _FORMAT.unpack_from(whole, CRC_BYTES)
    if magic != MAGIC:
        raise FailedPrecondition(f"{path} is an LMDB file but not an atlasdb store; choose another --data folder")
    if version != VERSION:
        text = f"{path} has format version {version}; this atlasdb reads version {VERSION}"
        raise FailedPrecondition(f"{text}: use the atlasdb that wrote it")
    if unknown := features & ~FEATURES:
        raise FailedPrecondition(f"{path} uses format features {unknown:#x}, unknown to this atlasdb: use a newer one")
    check("main", FORMAT_KEY, whole)


def id_key(number: int) -> bytes:
    """Key of an entry, a value or a tombstone."""
    return _ID.pack(number)


def id_keys(numbers: Ids) -> list[bytes]:
    """Keys of many."""
    packed = numbers.astype(">u8").tobytes()
    return [packed[i : i + 8] for i in range(0, len(packed), 8)]


def ids_of(keys: Sequence[Buffer]) -> Ids:
    """The numbers in `id_key` keys: u64 (n,)."""
    return np.frombuffer(b"".join(keys), ">u8").astype(np.uint64)


# ---- entries and values --------------------------------------------------------------------------------------------


class StoredEntry(NamedTuple):
    """An entry's record, copied out."""

    id: EntryId
    flags: int
    value_id: ValueId
    subject: int
    key: Vectors
    triple: Triple


@dataclass(frozen=True, slots=True)
class EntryColumns:
    """N entries' records without their texts: `subjects` u64 (N,) says whose entries stand together."""

    ids: Ids
    flags: npt.NDArray[np.uint8]
    value_ids: Ids
    subjects: Ids
    keys: Vectors

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Any) -> "EntryColumns":
        """The entries at `positions` (indices, a mask or a slice)."""
        ids, value_ids, subjects = (column[positions] for column in (self.ids, self.value_ids, self.subjects))
        return EntryColumns(ids, self.flags[positions], value_ids, subjects, self.keys.take(positions))


_ENTRY: Final = [
    ("crc", "<u4"),
    ("flags", "u1"),
    ("pad", "u1", 3),
    ("value", "<u8"),
    ("subject", "<u8"),
    ("scale", "<f4"),
]


def _layout(head: list[Any], dimension: int) -> np.dtype[Any]:
    """The part of fixed length of an entry's record."""
    return np.dtype([*head, ("vector", "i1", (dimension,))])


def entry_text(head: str, relation: str, tail: str, source: str, metadata: dict[str, str]) -> bytes:
    """An entry's texts as they are stored."""
    packed: bytes = msgpack.packb((head, relation, tail, source, metadata))
    return packed


def entry_records(columns: EntryColumns, texts: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
    """(key, record) of each entry."""
    fixed = np.zeros(len(columns), _layout(_ENTRY, columns.keys.dimension))
    fixed["flags"], fixed["value"], fixed["subject"] = columns.flags, columns.value_ids, columns.subjects
    fixed["scale"], fixed["vector"] = columns.keys.scales, columns.keys.data
    packed, size = fixed.tobytes(), fixed.dtype.itemsize
    starts = range(CRC_BYTES, len(packed) + CRC_BYTES, size)
    return [
        (key, seal(key, packed[start : start + size - CRC_BYTES] + text))
        for key, start, text in zip(id_keys(columns.ids), starts, texts, strict=True)
    ]


def open_entry(dimension: int, key: Buffer, record: Buffer) -> StoredEntry:
    """One entry, checked and copied."""
    check("entries", key, record)
    _, flags, value_id, subject, scale = _ENTRY_HEAD.unpack_from(record)
    triple = Triple(*msgpack.unpackb(record[_ENTRY_HEAD.size + dimension :]))
    vector = np.frombuffer(record, np.int8, dimension, _ENTRY_HEAD.size).reshape(1, dimension).copy()
    number = EntryId(_ID.unpack(key)[0])
    return StoredEntry(number, flags, value_id, subject, Vectors(vector, np.array([scale], np.float32)), triple)


def entry_flags(key: Buffer, record: Buffer) -> int:
    """An entry's flags, checked."""
    check("entries", key, record)
    return record[CRC_BYTES]


def entry_triple(dimension: int, record: Buffer) -> tuple[str, str, str]:
    """(head, relation, tail) of a checked record."""
    head, relation, tail, _, _ = msgpack.unpackb(record[_ENTRY_HEAD.size + dimension :])
    return head, relation, tail


def open_columns(dimension: int, records: Sequence[tuple[Buffer, Buffer]]) -> EntryColumns:
    """Many entries, checked and copied, their texts left out."""
    layout = _layout(_ENTRY, dimension)
    check_all("entries", records)
    fixed = np.frombuffer(b"".join([record[: layout.itemsize] for _, record in records]), layout)
    return EntryColumns(
        ids_of([key for key, _ in records]),
        fixed["flags"].copy(),
        fixed["value"].astype(np.uint64),
        fixed["subject"].astype(np.uint64),
        Vectors(np.ascontiguousarray(fixed["vector"]), fixed["scale"].astype(np.float32)),
    )


def seal_pairs(key: bytes, hashes: Ids, ids: Ids) -> bytes:
    """A run or a leaf of the index: hashes sorted."""
    return seal(key, _U32.pack(len(hashes)) + hashes.astype("<u8").tobytes() + ids.astype("<u8").tobytes())


def open_pairs(record: Buffer) -> tuple[Ids, Ids]:
    """Hashes and ids, views of the record. Unchecked: the caller checks a record the first time it is seen."""
    count: int = _U32.unpack_from(record, CRC_BYTES)[0]
    both = np.frombuffer(record, "<u8", 2 * count, CRC_BYTES + _U32.size)
    return both[:count], both[count:]


# ---- postings and nodes -------------------------------------------------------------------------------------------

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
