"""The table of entries."""

from collections.abc import Iterator, Sequence

from atlasdb import format as fmt
from atlasdb.store.environment import Db, Txn
from atlasdb_contract.types import Ids


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
