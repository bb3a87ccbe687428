"""Records of the main table that a store, or a collection, hangs on: kept twice, and read where one is sound."""

from typing import Any

from atlasdb import format as fmt
from atlasdb.store.opened import Txn
from atlasdb_contract.errors import DataLoss


def put(txn: Txn, key: bytes, content: Any) -> None:
    """Write or overwrite a map."""
    for each in (key, fmt.COPY_PREFIX + key):
        txn.put(each, fmt.seal_map(each, content))


def delete(txn: Txn, key: bytes) -> None:
    """Both."""
    for each in (key, fmt.COPY_PREFIX + key):
        txn.delete(each)


def sound(txn: Txn, key: bytes) -> tuple[bytes, bytes] | None:
    """Key and record of one that is sound; None: there is none. DataLoss where what there is, is damaged."""
    wrong: DataLoss | None = None
    for each in (key, fmt.COPY_PREFIX + key):
        lent = txn.get(each)
        if lent is not None:
            record = bytes(lent)
            try:
                fmt.check("main", each, record)
            except DataLoss as error:
                wrong = wrong or error
            else:
                return each, record
    if wrong is not None:
        raise wrong
    return None


def keys(txn: Txn, prefix: bytes) -> list[bytes]:
    """The keys that begin with `prefix`, found by either of their records, sorted."""
    found: set[bytes] = set()
    for start in (prefix, fmt.COPY_PREFIX + prefix):
        with txn.cursor() as cursor:
            more = cursor.set_range(start)
            while more and (key := bytes(cursor.key())).startswith(start):
                found.add(prefix + key[len(start) :])
                more = cursor.next()
    return sorted(found)
