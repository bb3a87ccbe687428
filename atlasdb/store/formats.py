"""Which format a store folder has, told without opening it for use."""

import os
from pathlib import Path

import lmdb

from atlasdb import format as fmt
from atlasdb.store.environment import FILE
from atlasdb.store.errors import mapped_errors
from atlasdb.store.folder import folder_lock
from atlasdb_contract.errors import FailedPrecondition


def check(path: Path) -> None:
    """FailedPrecondition where the folder holds no store, one in use, or one of a format that is not this version's;
    says which. DataLoss where what says so is damaged."""
    file = path / FILE
    if not file.exists():
        raise FailedPrecondition(f"there is no store in {path}; give --data the folder of one")
    with folder_lock(path), mapped_errors(), lmdb.open(os.fspath(file), subdir=False, readonly=True, lock=False) as env:
        with env.begin() as txn:
            record, copy = (txn.get(prefix + fmt.FORMAT_KEY) for prefix in (b"", fmt.COPY_PREFIX))
        fmt.check_format(str(path), record, copy)
