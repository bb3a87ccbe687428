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
from atlasdb_contract.types import Ids, Triple, Vectors

MAGIC: Final = b"ATLASDB\0"
VERSION: Final = 1
FEATURES: Final = 0  # bits of parts that a reader must know; none yet
CRC_BYTES: Final = 4
IDENTITY_BYTES: Final = 16
_LARGE: Final = 1 << 13
"""From this size on a record is checked where it lies; below, copying it first is quicker."""

Buffer: TypeAlias = bytes | memoryview

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
