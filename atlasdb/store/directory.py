"""Where the rows of a table lie whose records have a run of ids each: entries and values.

The key of a record is its first row's id; ids are given in order and no row is ever taken away. A commit's new rows
make records of their own, but a short last record is rewritten longer.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from atlasdb import format as fmt
from atlasdb.store.opened import Db, Txn
from atlasdb.store.records import Record, records_from
from atlasdb.store.trees import ITS_OWN_PAGES, address
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Ids

SHORT = 256
"""A record below this many rows is extended by the next commit."""

log = logging.getLogger("atlasdb.store")

Positions = npt.NDArray[np.int64]


class Layout(NamedTuple):
    """How to read a record: `rows` says how many it has (DataLoss where it is cut short), `offsets` where the columns
    of so many begin."""

    rows: Callable[[bytes, memoryview], int]
    offsets: Callable[[int], Sequence[int]]


@dataclass(frozen=True, slots=True)
class Directory:
    """`firsts` u64 (c,) the first id of each record, `counts` int64 (c,) its rows, `at` int64 (c, columns) where its
    columns begin in memory. The first `stay` records never move. A record that is damaged so that nothing can be read
    in it is left out: its rows are missing."""

    firsts: Ids
    counts: Positions
    at: Positions
    stay: int

    @staticmethod
    def none(columns: int) -> "Directory":
        """Of no rows."""
        return Directory(np.zeros(0, np.uint64), np.zeros(0, np.int64), np.zeros((0, columns), np.int64), 0)

    def find(self, ids: Ids) -> tuple[Positions, Positions]:
        """The record and the position in it of each id, both int64 (n,); -1 where there is no such row."""
        records = np.searchsorted(self.firsts, ids, side="right").astype(np.int64) - 1
        known = records >= 0
        positions = np.where(known, ids - self.firsts[records] if len(self.firsts) else ids, np.uint64(0))
        inside = known & (positions < (self.counts[records] if len(self.counts) else 0))
        return np.where(inside, records, -1), np.where(inside, positions, 0).astype(np.int64)


def extended(txn: Txn, db: Db, layout: Layout, known: Directory) -> Directory:
    """Of all rows that this transaction has; `known` is an earlier one."""
    firsts, counts, at = known.firsts[: known.stay].tolist(), known.counts[: known.stay].tolist(), []
    stay = known.stay
    for key, record in after(txn, db, firsts[-1] if firsts else 0):
        try:
            count, start = layout.rows(key, record), address(record)
        except DataLoss as error:
            log.error("%s", error)
            continue
        firsts.append(int.from_bytes(key, "big"))
        counts.append(count)
        at.append([start + offset for offset in layout.offsets(count)])
        stay += count >= SHORT and len(record) >= ITS_OWN_PAGES and stay == len(firsts) - 1
    places = np.concatenate([known.at[: known.stay], np.array(at, np.int64).reshape(-1, known.at.shape[1])])
    return Directory(np.array(firsts, np.uint64), np.array(counts, np.int64), places, stay)


def after(txn: Txn, db: Db, last: int) -> Iterator[Record]:
    """The records that begin above the id `last`."""
    return records_from(txn, db, fmt.id_key(last + 1))
