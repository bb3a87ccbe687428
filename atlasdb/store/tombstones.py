"""Tombstones: ids of deleted entries whose slots in postings are still there, until the next build."""

import numpy as np

from atlasdb import format as fmt
from atlasdb.store.environment import Tables, Txn
from atlasdb_contract.types import Ids


def read(txn: Txn, tables: Tables) -> Ids:
    """All: u64 (n,), sorted."""
    found: list[bytes] = []
    with txn.cursor(tables.tombstones) as cursor:
        for key, record in cursor:
            fmt.check("tombstones", key, record)
            found.append(bytes(key))
    return fmt.ids_of(found) if found else np.zeros(0, np.uint64)


def add(txn: Txn, tables: Tables, ids: Ids) -> None:
    """More of them."""
    with txn.cursor(tables.tombstones) as cursor:
        cursor.putmulti([(key, fmt.seal(key, b"")) for key in fmt.id_keys(ids)])


def remove(txn: Txn, tables: Tables, ids: Ids) -> None:
    """Their slots are gone."""
    for key in fmt.id_keys(ids):
        txn.delete(key, db=tables.tombstones)
