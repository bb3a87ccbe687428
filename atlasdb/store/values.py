"""The table of values: distinct value vectors with their identities, in records of many, read where they lie."""

import ctypes

import numpy as np

from atlasdb import crc, matrices
from atlasdb import format as fmt
from atlasdb.store.directory import SHORT, Directory, Layout
from atlasdb.store.opened import Tables, Txn
from atlasdb.tree import scoring
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Ids, Vectors

RECORD_VALUES = 4096
COLUMNS = 4
"""Identities, scales, checks, vectors."""


def layout(dimension: int) -> Layout:
    """Of the records of a collection."""
    return Layout(lambda key, record: matrices.value_count(dimension, key, record), matrices.value_offsets)


def read(where: Directory, dimension: int, ids: Ids) -> Vectors:
    """The values of these ids, in order: int8 (len(ids), D), copied and checked. DataLoss where one is missing."""
    records, positions = where.find(ids)
    data = np.empty((len(ids), dimension), np.int8)
    scales, wrong = scoring.gather_values(ids, records, positions, where.at, data, crc.TABLES)
    if wrong >= 0:
        raise DataLoss(f"the value {ids[wrong]} is missing or fails its checksum; `atlasdb verify` lists all damage")
    return Vectors(data, scales)


def same(where: Directory, ids: Ids, identities: Ids) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
    """Which of the values `ids` (n,) are there and have these identities, u64 (n, 2). Unchecked: an identity that is
    damaged is nobody's, and its value is stored once more."""
    records, positions = where.find(ids)
    found: np.ndarray[tuple[int], np.dtype[np.bool_]] = scoring.same_identity(records, positions, where.at, identities)
    return found


def identities(where: Directory, ids: Ids) -> Ids:
    """The identities of values u64 (n, 2), unchecked. DataLoss where one is missing."""
    records, positions = where.find(ids)
    if (records < 0).any():
        raise DataLoss(f"the value {ids[np.argmin(records)]} is missing; `atlasdb verify` lists all damage")
    at = where.at[records, 0] + 16 * positions
    return np.array([np.frombuffer(ctypes.string_at(address, 16), "<u8") for address in at.tolist()]).reshape(-1, 2)


def append(txn: Txn, tables: Tables, first: int, identities: Ids, vectors: Vectors) -> None:
    """Add values with the ids from `first` on, which is one more than the last; identities u64 (n, 2)."""
    with txn.cursor(tables.values) as cursor:
        if cursor.last() and (short := _short(bytes(cursor.key()), cursor.value(), vectors.dimension)) is not None:
            first, before, old = short
            identities = np.concatenate([before, identities])
            data, scales = np.concatenate([old.data, vectors.data]), np.concatenate([old.scales, vectors.scales])
            vectors = Vectors(data, scales)
            cursor.delete()
        for start in range(0, len(vectors), RECORD_VALUES):
            here = slice(start, start + RECORD_VALUES)
            key = fmt.id_key(first + start)
            cursor.put(key, matrices.seal_values(key, first + start, identities[here], vectors.take(here)), append=True)


def _short(key: bytes, body: memoryview, dimension: int) -> tuple[int, Ids, Vectors] | None:
    """The first id, the identities and the vectors of a record that is to be extended: of a sound and short one."""
    if len(body) >= matrices.values_size(dimension, SHORT):
        return None
    try:
        identities, vectors = matrices.open_values(dimension, key, body)
    except DataLoss:
        return None
    return int.from_bytes(key, "big"), identities.copy(), Vectors(vectors.data.copy(), vectors.scales.copy())
