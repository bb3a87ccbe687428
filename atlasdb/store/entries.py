"""The tables of entries and values."""

from collections.abc import Iterator, Sequence

from atlasdb import format as fmt
from atlasdb.store.environment import Db, Txn
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Ids, Vectors


def records(txn: Txn, db: Db, ids: Ids) -> list[tuple[memoryview, memoryview]]:
    """(key, record) of those ids that are there, in the order of `ids`; unchecked, where they lie."""
    with txn.cursor(db) as cursor:
        return cursor.getmulti(fmt.id_keys(ids))


def after(txn: Txn, db: Db, last: int, limit: int) -> Iterator[tuple[memoryview, memoryview]]:
    """Up to `limit` (key, record) with ids above `last`, in id order; unchecked, where they lie."""
    with txn.cursor(db) as cursor:
        more = cursor.set_range(fmt.id_key(last + 1))
        while more and limit > 0:
            yield cursor.item()
            limit -= 1
            more = cursor.next()


def append(txn: Txn, db: Db, new: Sequence[tuple[bytes, bytes]]) -> None:
    """Records with ids above all that the table holds: LMDB then fills its pages."""
    with txn.cursor(db) as cursor:
        cursor.putmulti(new, append=True)


def values(txn: Txn, db: Db, dimension: int, ids: Ids) -> Vectors:
    """The values of these ids, in order: int8 (len(ids), D), copied. DataLoss where one is missing."""
    found = records(txn, db, ids)
    if len(found) != len(ids):
        missing = set(ids.tolist()) - set(fmt.ids_of([key for key, _ in found]).tolist())
        raise DataLoss(f"the table values has no record for id {min(missing)}; `atlasdb verify` lists all damage")
    return fmt.open_values(dimension, found)
