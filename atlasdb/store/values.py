"""The table of values: distinct value vectors with their identities, in records of many, read where they lie.

The key of a record is its first value's id; ids are given in order and none is ever taken away, so a record holds a run
of them. A commit's new values make records of their own, but a short last record is rewritten longer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb import crc
from atlasdb import format as fmt
from atlasdb.store.environment import Tables, Txn
from atlasdb.store.trees import ITS_OWN_PAGES, address
from atlasdb.tree import scoring
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Ids, Vectors

SHORT = 256
"""A record below this many values is extended by the next commit."""
RECORD_VALUES = 4096

Record = tuple[bytes, memoryview]


@dataclass(frozen=True, slots=True)
class Directory:
    """Where the values of a collection lie: `firsts` u64 (c,) the first id of each record, `at` int64 (c, 3) where its
    scales, checks and vectors begin, `counts` int64 (c,). The first `stay` records never move."""

    firsts: Ids
    counts: npt.NDArray[np.int64]
    at: npt.NDArray[np.int64]
    stay: int

    @staticmethod
    def none() -> "Directory":
        """Of no values."""
        return Directory(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, 3), np.int64), 0)


def directory(txn: Txn, tables: Tables, dimension: int, known: Directory) -> Directory:
    """Of all values that this transaction has; `known` is an earlier one."""
    firsts, counts, at = known.firsts[: known.stay].tolist(), known.counts[: known.stay].tolist(), []
    stay = known.stay
    for key, record in after(txn, tables, firsts[-1] if firsts else 0):
        count = fmt.value_count(dimension, key, record)
        start, offsets = address(record), fmt.value_offsets(count)
        firsts.append(int.from_bytes(key, "big"))
        counts.append(count)
        at.append([start + offsets.scales, start + offsets.checks, start + offsets.vectors])
        stay += count >= SHORT and len(record) >= ITS_OWN_PAGES and stay == len(firsts) - 1
    places = np.concatenate([known.at[: known.stay], np.array(at, np.int64).reshape(-1, 3)])
    return Directory(np.array(firsts, np.uint64), np.array(counts, np.int64), places, stay)


def read(where: Directory, dimension: int, ids: Ids) -> Vectors:
    """The values of these ids, in order: int8 (len(ids), D), copied and checked. DataLoss where one is missing."""
    records = np.searchsorted(where.firsts, ids, side="right").astype(np.int64) - 1
    data = np.empty((len(ids), dimension), np.int8)
    scales, wrong = scoring.gather_values(ids, records, where.firsts, where.counts, where.at, data, crc.TABLES)
    if wrong >= 0:
        raise DataLoss(f"the value {ids[wrong]} is missing or fails its checksum; `atlasdb verify` lists all damage")
    return Vectors(data, scales)


def after(txn: Txn, tables: Tables, last: int) -> Iterator[Record]:
    """(key, record) of the records that begin above the id `last`, where they lie; unchecked."""
    with txn.cursor(tables.values) as cursor:
        more = cursor.set_range(fmt.id_key(last + 1))
        while more:
            yield bytes(cursor.key()), cursor.value()
            more = cursor.next()


def identity(txn: Txn, tables: Tables, number: int) -> bytes:
    """The identity of a value; nothing where it isn't there. Unchecked."""
    with txn.cursor(tables.values) as cursor:
        if not (cursor.prev() if cursor.set_range(fmt.id_key(number + 1)) else cursor.last()):
            return b""
        return fmt.value_identity(cursor.value(), number - int.from_bytes(cursor.key(), "big"))


def append(txn: Txn, tables: Tables, first: int, identities: Sequence[bytes], vectors: Vectors) -> None:
    """Add values with the ids from `first` on, which is one more than the last."""
    joined = b"".join(identities)
    with txn.cursor(tables.values) as cursor:
        if cursor.last():
            key, record = bytes(cursor.key()), cursor.value()
            if len(record) < fmt.value_offsets(SHORT).vectors + SHORT * vectors.dimension:
                before, old = fmt.open_values(vectors.dimension, key, record)
                joined = before + joined
                data, scales = np.concatenate([old.data, vectors.data]), np.concatenate([old.scales, vectors.scales])
                first, vectors = int.from_bytes(key, "big"), Vectors(data, scales)
                cursor.delete()
        for start in range(0, len(vectors), RECORD_VALUES):
            part = vectors.take(slice(start, start + RECORD_VALUES))
            named = joined[start * fmt.IDENTITY_BYTES : (start + len(part)) * fmt.IDENTITY_BYTES]
            key = fmt.id_key(first + start)
            cursor.put(key, fmt.seal_values(key, first + start, named, part), append=True)
