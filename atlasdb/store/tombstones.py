"""Tombstones: a bit for each entry that was ever deleted, in records of 8,192."""

import numpy as np
import numpy.typing as npt

from atlasdb import format as fmt
from atlasdb.store.opened import Tables, Txn
from atlasdb.store.records import records_from
from atlasdb_contract.types import Ids

BITS_SHIFT = 13
WORDS = 1 << BITS_SHIFT >> 6

Bools = npt.NDArray[np.bool_]


def read(txn: Txn, tables: Tables) -> Ids:
    """All, as tree.image.Forest has them: u64 (n,)."""
    parts: list[tuple[int, Ids]] = []
    for key, record in records_from(txn, tables.tombstones, b""):
        parts.append((int.from_bytes(key, "big"), _words(key, record)))
    words = np.zeros(WORDS * (parts[-1][0] + 1) if parts else 0, np.uint64)
    for part, some in parts:
        words[part * WORDS : (part + 1) * WORDS] = some
    return words


def among(words: Ids, ids: Ids) -> Bools:
    """Which of these ids are deleted, by what `read` gave."""
    at = (ids >> np.uint64(6)).astype(np.int64)
    inside = at < len(words)
    bits = words[np.where(inside, at, 0)] >> (ids & np.uint64(63)) if len(words) else np.zeros(len(ids), np.uint64)
    deleted: Bools = inside & ((bits & np.uint64(1)) != 0)
    return deleted


def marked(words: Ids, ids: Ids) -> Ids:
    """A copy of what `read` gave, with these ids too."""
    last = int(ids.max(initial=np.uint64(0)) >> np.uint64(BITS_SHIFT))
    longer = np.zeros(max(len(words), WORDS * (last + 1)), np.uint64)
    longer[: len(words)] = words
    np.bitwise_or.at(longer, (ids >> np.uint64(6)).astype(np.int64), np.uint64(1) << (ids & np.uint64(63)))
    return longer


def find(txn: Txn, tables: Tables, ids: Ids) -> Bools:
    """Which of these ids are deleted: reads those records alone."""
    deleted = np.zeros(len(ids), np.bool_)
    parts = ids >> np.uint64(BITS_SHIFT)
    for part in np.unique(parts).tolist():
        key = fmt.id_key(part)
        record = txn.get(key, db=tables.tombstones)
        if record is not None:
            here = parts == np.uint64(part)
            deleted[here] = among(_words(key, record), ids[here] - np.uint64(part << BITS_SHIFT))
    return deleted


def add(txn: Txn, tables: Tables, ids: Ids) -> None:
    """More of them."""
    parts = ids >> np.uint64(BITS_SHIFT)
    for part in np.unique(parts).tolist():
        key = fmt.id_key(part)
        record = txn.get(key, db=tables.tombstones)
        words = np.zeros(WORDS, np.uint64) if record is None else _words(key, record)
        words = marked(words, ids[parts == np.uint64(part)] - np.uint64(part << BITS_SHIFT))
        txn.put(key, fmt.seal(key, words.astype("<u8").tobytes()), db=tables.tombstones)


def _words(key: bytes, record: memoryview) -> Ids:
    fmt.check("tombstones", key, record)
    if len(record) != fmt.CRC_BYTES + 8 * WORDS:
        raise fmt.damaged("tombstones", key, "is cut short")
    return np.frombuffer(record, "<u8", WORDS, fmt.CRC_BYTES).astype(np.uint64)
