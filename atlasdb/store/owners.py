"""The way back from a value to the entries that have it: by all of the table of entries."""

from contextlib import suppress

import numpy as np

from atlasdb import matrices
from atlasdb.store.opened import Tables, Txn
from atlasdb.store.records import records_from
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Ids


def having(txn: Txn, tables: Tables, value_ids: Ids) -> Ids:
    """The entries that have one of these values, deleted ones too; records that are cut short are passed over."""
    found = [np.zeros(0, np.uint64)]
    for key, record in records_from(txn, tables.entries, b"") if len(value_ids) else ():
        with suppress(DataLoss):
            here = np.flatnonzero(np.isin(matrices.value_ids_of(key, record), value_ids)).astype(np.uint64)
            found.append(here + np.uint64(int.from_bytes(key, "big")))
    return np.concatenate(found)
