"""The records of a table, where they lie."""

from collections.abc import Iterator
from typing import TypeAlias

from atlasdb.store.opened import Db, Txn

Record: TypeAlias = tuple[bytes, memoryview]
"""A key, and a record where it lies; unchecked."""


def table_bytes(txn: Txn, db: Db) -> int:
    """Bytes of a table's pages, in this transaction."""
    stat = txn.stat(db)
    return int(stat["psize"] * (stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"]))


def records_from(txn: Txn, db: Db, first: bytes, prefix: bytes = b"") -> Iterator[Record]:
    """The records of a table from the key `first` on, in order, as long as their keys begin with `prefix`."""
    with txn.cursor(db) as cursor:
        more = cursor.set_range(first)
        while more and (key := bytes(cursor.key())).startswith(prefix):
            yield key, cursor.value()
            more = cursor.next()
