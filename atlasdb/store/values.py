"""The table of values: distinct value vectors with their identities, in records of many, read where they lie.

The key of a record is its first value's id; ids are given in order and none is ever taken away, so a record holds a run
of them. A commit's new values make records of their own, but a short last record is rewritten longer.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb import crc, matrices
from atlasdb import format as fmt
from atlasdb.store.environment import Record, Tables, Txn, records_from
from atlasdb.store.trees import ITS_OWN_PAGES, address
from atlasdb.tree import scoring
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Ids, Vectors

SHORT = 256
"""A record below this many values is extended by the next commit."""
RECORD_VALUES = 4096


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
        count = matrices.value_count(dimension, key, record)
        start, offsets = address(record), matrices.value_offsets(count)
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
    """The records that begin above the id `last`."""
    return records_from(txn, tables.values, fmt.id_key(last + 1))


def identity(txn: Txn, tables: Tables, number: int) -> bytes:
    """The identity of a value; nothing where it isn't there. Unchecked."""
    with txn.cursor(tables.values) as cursor:
        if not (cursor.prev() if cursor.set_range(fmt.id_key(number + 1)) else cursor.last()):
            return b""
        return matrices.value_identity(cursor.value(), number - int.from_bytes(cursor.key(), "big"))


def append(txn: Txn, tables: Tables, first: int, identities: Sequence[bytes], vectors: Vectors) -> None:
    """Add values with the ids from `first` on, which is one more than the last."""
    joined = b"".join(identities)
    with txn.cursor(tables.values) as cursor:
        if cursor.last() and (short := _short(cursor.item(), vectors.dimension)) is not None:
            first, before, old = short
            joined = before + joined
            data, scales = np.concatenate([old.data, vectors.data]), np.concatenate([old.scales, vectors.scales])
            vectors = Vectors(data, scales)
            cursor.delete()
        for start in range(0, len(vectors), RECORD_VALUES):
            part = vectors.take(slice(start, start + RECORD_VALUES))
            named = joined[start * fmt.IDENTITY_BYTES : (start + len(part)) * fmt.IDENTITY_BYTES]
            key = fmt.id_key(first + start)
            cursor.put(key, matrices.seal_values(key, first + start, named, part), append=True)


def _short(record: tuple[memoryview, memoryview], dimension: int) -> tuple[int, bytes, Vectors] | None:
    """The first id, the identities and the vectors of a record that is to be extended: of a sound and short one."""
    key, body = bytes(record[0]), record[1]
    if len(body) >= matrices.value_offsets(SHORT).vectors + SHORT * dimension:
        return None
    try:
        return int.from_bytes(key, "big"), *matrices.open_values(dimension, key, body)
    except DataLoss:
        return None
