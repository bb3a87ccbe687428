"""LMDB's errors as ours."""

import errno
from collections.abc import Iterator
from contextlib import contextmanager

import lmdb

from atlasdb.store.opened import COLLECTIONS_LIMIT, READERS_LIMIT
from atlasdb_contract.errors import AtlasError, DataLoss, FailedPrecondition, Internal, ResourceExhausted

MAP_FULL = "the store's map is full; delete something, or start the server with a larger --map-bytes"
DISK_FULL = "the disk is full or refuses writes ({}): make room on it, or delete something; reads go on"
NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EIO})
"""LMDB reports a write that was cut short by a full disk as EIO."""


@contextmanager
def mapped_errors() -> Iterator[None]:
    """LMDB's errors become ours. py-lmdb's deletes raise theirs under a SystemError."""
    try:
        yield
    except lmdb.Error as error:
        raise typed(error) from error
    except SystemError as error:
        if not isinstance(error.__cause__, lmdb.Error):
            raise
        raise typed(error.__cause__) from error


def typed(error: lmdb.Error) -> AtlasError:
    """The error of ours that an LMDB error is."""
    match error:
        case lmdb.MapFullError():
            return ResourceExhausted(MAP_FULL)
        case lmdb.DiskError() | lmdb.MemoryError():
            return ResourceExhausted(DISK_FULL.format(error))
        case lmdb.DbsFullError():
            return ResourceExhausted(f"a store holds at most {COLLECTIONS_LIMIT} collections; drop one first")
        case lmdb.ReadersFullError():
            return ResourceExhausted(f"more than {READERS_LIMIT} reads at the same moment; try again")
        case lmdb.CorruptedError() | lmdb.PageNotFoundError() | lmdb.PanicError():
            return DataLoss(f"the LMDB file is damaged: {error}; restore it from a copy")
        case lmdb.BadTxnError():  # what came before it has been passed over, as damage is
            return DataLoss(f"a write met damage of the LMDB file and was undone: {error}; `atlasdb verify` names it")
        case lmdb.BadDbiError():
            return DataLoss(f"a table is not what it was when it was opened: {error}; `atlasdb verify` names damage")
        case lmdb.InvalidError() if "mdb_txn" in str(error):  # it was one when it was opened
            return DataLoss(f"the LMDB file is damaged: {error}; restore it from a copy")
        case lmdb.InvalidError() | lmdb.VersionMismatchError():
            return FailedPrecondition(f"not an LMDB file that this atlasdb can read: {error}")
        case _:
            if error.code in NO_ROOM:
                return ResourceExhausted(DISK_FULL.format(error))
            return Internal(f"LMDB: {error}")
