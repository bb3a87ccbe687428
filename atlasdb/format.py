"""Every byte that reaches the disk.

A store is a folder: `atlas.mdb` (LMDB), `atlas.mdb-lock` (LMDB's readers) and `lock` (the pid of its server). In LMDB's
main table lie `format`, `sequence` and one `collection/NAME` for each collection; each collection has six tables of its
own, named `ID/TABLE` with ID in eight hex digits. Keys are big-endian, so that LMDB's order is numeric order; all else
is little-endian. Each record begins with a CRC32C over its key and the rest of it. Where "pad" stands, what follows
begins on a cache line: 48 bytes beyond a multiple of 64 in the record, since LMDB puts 16 bytes before a long record.
Records of entries, values, slots and nodes end with a second checksum and parity (`atlasdb/parity.py`).

    table       key                                    record, after u32 crc
    main        format                                 magic 8s, version u32, features u32
    main        sequence                               next collection id u32
    main        collection/NAME                        msgpack map, see store/registry.py
    main        copy/KEY                               the same once more, of each of these three
    entries     first id u64                           count u32, text bytes u32, pad u32, value ids u64[n], items
                                                       16s[n], ends u32[n], checks u32[n], flags u8[n], texts: of each
                                                       entry msgpack [head, relation, tail, source, metadata]
    values      first id u64                           count u32, dimension u32, pad u32, identities 16s[n], scales
                                                       f32[n], checks u32[n], pad, vectors i8[n][D]
    index       space u8, 0x01, run u64                count u32, hashes u64[n], ids u64[n]     sorted by hash
    index       space u8, 0x02, first hash u64         count u32, hashes u64[n], ids u64[n]     sorted by hash
    index       space u8, 0x03, 0                      msgpack: the sweep in progress, see store/index.py
    postings    generation u32, first u64              count u32, dimension u32, entries u32, ids u64[m], value ids
                                                       u64[m], subjects u64[n], starts u32[n + 1], scales f32[n],
                                                       checks u32[n], seals u32[m], pad, keys i8[n][D]
    nodes       generation u32, 0x00, first u32        count u32, dimension u32, pad u32, first nodes i64[n], scales
                                                       f32[n], ROOTs i8[n][D]
    nodes       generation u32, 0x01, first u32        count u32, L u32, W u32, pad, rows[n] of whole cache lines: code
                                                       u64[W], first slot u64, scale f32, code scale f32, slots u16,
                                                       0 u16, residual codes u8[44], links i32[L], pad; then vectors
                                                       i8[n][D]
    nodes       generation u32, 0x02, part u32         slots u32[n] of the entries from the tree's first id on
    nodes       generation u32, 0x03, first u32        as of 0x00: residuals, each with a 0
    nodes       generation u32, 0x04, 0 u32            msgpack [heads, nodes by size, largest, least hashes u64[h]]
    tombstones  part u64                               bits u64[128] of the entries from part * 8192 on; 1: deleted
"""

import struct
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

import msgpack
import numpy as np
from google_crc32c import extend as extend_crc32c
from google_crc32c import value as crc32c

from atlasdb_contract.errors import DataLoss, FailedPrecondition
from atlasdb_contract.ids import EntryId, ValueId
from atlasdb_contract.types import Ids, Triple

MAGIC: Final = b"ATLASDB\0"
VERSION: Final = 2
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


class Flag(IntEnum):
    """Bits of an entry's flags."""

    INVERSE = 1
    """This entry points back; its forward entry has the id before."""
    HAS_INVERSE = 2
    """The entry with the next id points back."""


class Level(IntEnum):
    """What a record of the table of nodes holds."""

    ROOT = 0
    INTER = 1
    PLACES = 2
    """Where a tree's entries are."""
    RESIDUAL = 3
    """How keys differ from their node's mean."""
    SUMMARY = 4
    """What stats tell of the tree."""


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
COPY_PREFIX: Final = b"copy/"
"""Of the key of the second record of each of these."""


def format_record(key: bytes = FORMAT_KEY) -> bytes:
    """What this version writes into a new store, under FORMAT_KEY and behind COPY_PREFIX."""
    return seal(key, _FORMAT.pack(MAGIC, VERSION, FEATURES))


def check_format(path: str, record: Buffer | None, copy: Buffer | None = None) -> None:
    """FailedPrecondition where this is no store, or one that only another version of atlasdb can read. The `copy`
    speaks where the record itself is damaged."""
    if copy is not None and record is not None:
        try:
            check("main", FORMAT_KEY, record)
        except DataLoss:
            check("main", COPY_PREFIX + FORMAT_KEY, copy)
            record = format_record() if copy == format_record(COPY_PREFIX + FORMAT_KEY) else record
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
    """Key of what is named by one number."""
    return _ID.pack(number)


# ---- entries' texts, pairs of the index ---------------------------------------------------------------------------


class StoredEntry(NamedTuple):
    """An entry's row, copied out."""

    id: EntryId
    flags: int
    value_id: ValueId
    triple: Triple


def entry_text(head: str, relation: str, tail: str, source: str, metadata: dict[str, str]) -> tuple[bytes, int]:
    """An entry's texts as they are stored, and how long the part is that says which triple it is."""
    metadata = dict(sorted(metadata.items()))
    whole: bytes = msgpack.packb((head, relation, tail, source, metadata))
    return whole, len(whole) - len(msgpack.packb(source)) - len(msgpack.packb(metadata))


def open_text(text: Buffer) -> Triple:
    """The triple of an entry's texts."""
    return Triple(*msgpack.unpackb(text))


def seal_pairs(key: bytes, hashes: Ids, ids: Ids) -> bytes:
    """A run or a leaf of the index: hashes sorted."""
    return seal(key, _U32.pack(len(hashes)) + hashes.astype("<u8").tobytes() + ids.astype("<u8").tobytes())


def open_pairs(record: Buffer) -> tuple[Ids, Ids]:
    """Hashes and ids, views of the record. Unchecked: the caller checks a record the first time it is seen."""
    count: int = _U32.unpack_from(record, CRC_BYTES)[0]
    both = np.frombuffer(record, "<u8", 2 * count, CRC_BYTES + _U32.size)
    return both[:count], both[count:]
