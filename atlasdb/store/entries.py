"""The table of entries: what each is about, in records of many, read where they lie; their keys are in postings.

An entry that is deleted stays in its record, and is told by its tombstone.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import carray, njit

from atlasdb import crc, matrices
from atlasdb import format as fmt
from atlasdb.format import Flag, StoredEntry
from atlasdb.matrices import EntryRows
from atlasdb.store.directory import SHORT, Directory, Layout
from atlasdb.store.identity import Facts
from atlasdb.store.opened import Tables, Txn
from atlasdb.tree.kernels import pointer, u64
from atlasdb.tree.scoring import u32
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import EntryId, ValueId
from atlasdb_contract.types import Ids

RECORD_ENTRIES = 4096
RECORD_TEXTS = 1 << 20
"""Bytes of texts in a record, at most, unless it is of one entry."""
LONGEST = 1 << 26
"""Bytes of an entry's texts that no message can bring."""
LAYOUT = Layout(matrices.spanned_entries, matrices.entry_offsets)
COLUMNS = 6
_VALUE_IDS, _ITEMS, _ENDS, _CHECKS, _FLAGS, _TEXTS = range(COLUMNS)
_NO, _YES, _DAMAGED = range(3)


@njit(inline="always")
def _span(at: Any, record: Any, position: Any) -> Any:
    """Where an entry's texts begin and end in memory."""
    start = np.int64(u32(at[record, _ENDS], position - 1)) if position else np.int64(0)
    return at[record, _TEXTS] + start, at[record, _TEXTS] + max(start, np.int64(u32(at[record, _ENDS], position)))


@njit(inline="always")
def _sound(ids: Any, i: Any, at: Any, record: Any, position: Any, head: Any, tables: Any) -> Any:
    number = ids[i : i + 1]
    head[0:8] = number.view(np.uint8)
    head[8:16] = carray(pointer(at[record, _VALUE_IDS] + 8 * position), (8,), np.uint8)
    head[16:32] = carray(pointer(at[record, _ITEMS] + 16 * position), (16,), np.uint8)
    head[32:33] = carray(pointer(at[record, _FLAGS] + position), (1,), np.uint8)
    start, stop = _span(at, record, position)
    register = crc.step(tables, np.uint32(0xFFFFFFFF), head)
    text = carray(pointer(start), (stop - start,), np.uint8)
    return np.uint32(~crc.step(tables, register, text)) == u32(at[record, _CHECKS], position)


@njit(nogil=True, cache=True)
def _sizes(records: Any, positions: Any, at: Any) -> Any:
    found = np.empty(len(records), np.int64)
    for i in range(len(records)):
        start, stop = _span(at, records[i], positions[i])
        found[i] = stop - start
    return found


@njit(nogil=True, cache=True)
def _copy(ids: Any, records: Any, positions: Any, at: Any, ends: Any, tables: Any) -> Any:
    """Texts end to end, flags, value ids, items; the place of the first row whose checksum is wrong, -1: none."""
    texts = np.empty(ends[-1] if len(ends) else 0, np.uint8)
    flags, value_ids = np.empty(len(ids), np.uint8), np.empty(len(ids), np.uint64)
    items = np.empty((len(ids), 2), np.uint64)
    head = np.empty(crc.ENTRY_HEAD, np.uint8)
    wrong, begin = -1, 0
    for i in range(len(ids)):
        record, position = records[i], positions[i]
        start, stop = _span(at, record, position)
        texts[begin : ends[i]] = carray(pointer(start), (stop - start,), np.uint8)
        flags[i] = carray(pointer(at[record, _FLAGS] + position), (1,), np.uint8)[0]
        value_ids[i] = u64(at[record, _VALUE_IDS], position)
        items[i, 0], items[i, 1] = u64(at[record, _ITEMS], 2 * position), u64(at[record, _ITEMS], 2 * position + 1)
        if wrong < 0 and not _sound(ids, i, at, record, position, head, tables):
            wrong = i
        begin = ends[i]
    return texts, flags, value_ids, items, wrong


@njit(nogil=True, cache=True)
def _compare(
    ids: Any, records: Any, positions: Any, at: Any, text: Any, starts: Any, stops: Any, inverse: Any, tables: Any
) -> Any:
    """For each candidate whether it is the forward entry of the fact text[starts[i]:stops[i]]: _NO, _YES, _DAMAGED."""
    found = np.zeros(len(ids), np.uint8)
    head = np.empty(crc.ENTRY_HEAD, np.uint8)
    for i in range(len(ids)):
        record, position = records[i], positions[i]
        if record < 0:
            continue
        start, stop = _span(at, record, position)
        size = stops[i] - starts[i]
        stored = carray(pointer(start), (stop - start,), np.uint8)
        flags = carray(pointer(at[record, _FLAGS] + position), (1,), np.uint8)[0]
        same = len(stored) >= size and flags & inverse == 0
        if same:
            for j in range(size):
                if stored[j] != text[starts[i] + j]:
                    same = False
                    break
        if same:
            found[i] = 1
        elif not _sound(ids, i, at, record, position, head, tables):
            found[i] = 2
    return found


def read(where: Directory, ids: Ids) -> EntryRows:
    """The rows of ids that are all there, in order, copied and checked. DataLoss where one is missing."""
    records, positions = where.find(ids)
    if (records < 0).any():
        raise DataLoss(f"the entry {ids[np.argmin(records)]} is missing; `atlasdb verify` lists all damage")
    sizes = _sizes(records, positions, where.at)
    if (wild := sizes > LONGEST).any():  # damaged since the directory was made
        raise DataLoss(f"the entry {ids[np.argmax(wild)]} fails its checksum; `atlasdb verify` lists all damage")
    ends = np.cumsum(sizes)
    texts, flags, value_ids, items, wrong = _copy(ids, records, positions, where.at, ends, crc.TABLES)
    if wrong >= 0:
        raise DataLoss(f"the entry {ids[wrong]} fails its checksum; `atlasdb verify` lists all damage")
    return EntryRows(flags, value_ids, items, texts, ends)


def stored(ids: Ids, rows: EntryRows) -> Iterator[StoredEntry]:
    """The entries of `rows`, opened."""
    texts, begin = rows.texts.tobytes(), 0
    for number, flags, value_id, end in zip(
        ids.tolist(), rows.flags.tolist(), rows.value_ids.tolist(), rows.ends.tolist(), strict=True
    ):
        yield StoredEntry(EntryId(number), flags, ValueId(value_id), fmt.open_text(texts[begin:end]))
        begin = end


def same(where: Directory, ids: Ids, facts: Facts, positions: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
    """Which of the entries `ids` (n,) are the forward ones of the facts at `positions`. DataLoss where a candidate
    fails its checksum."""
    records, places = where.find(ids)
    if (records < 0).any():
        raise DataLoss(f"the entry {ids[np.argmin(records)]} is missing; `atlasdb verify` lists all damage")
    starts, stops = facts.starts[positions], facts.stops[positions]
    inverse = np.uint8(Flag.INVERSE)
    found = _compare(ids, records, places, where.at, facts.texts, starts, stops, inverse, crc.TABLES)
    if (found == _DAMAGED).any():
        raise DataLoss(f"the entry {ids[np.argmax(found)]} fails its checksum; `atlasdb verify` lists all damage")
    return np.asarray(found == _YES)


def append(txn: Txn, tables: Tables, first: int, rows: EntryRows) -> None:
    """Add entries with the ids from `first` on, which is one more than the last."""
    with txn.cursor(tables.entries) as cursor:
        if cursor.last() and (short := _short(bytes(cursor.key()), cursor.value())) is not None:
            first, before = short
            rows = EntryRows.joined([before, rows])
            cursor.delete()
        for start, stop in _cuts(rows):
            key = fmt.id_key(first + start)
            cursor.put(key, matrices.seal_entries(key, first + start, rows.part(start, stop)), append=True)


def _cuts(rows: EntryRows) -> Iterator[tuple[int, int]]:
    """The rows of each record: from, to."""
    start = 0
    while start < len(rows):
        before = int(rows.ends[start - 1]) if start else 0
        fitting = int(np.searchsorted(rows.ends, before + RECORD_TEXTS, side="right"))
        stop = min(len(rows), start + RECORD_ENTRIES, max(start + 1, fitting))
        yield start, stop
        start = stop


def _short(key: bytes, record: memoryview) -> tuple[int, EntryRows] | None:
    """The first id and the rows of a record that is to be extended, copied: of a sound and short one."""
    try:
        if matrices.entry_count(key, record) >= SHORT or len(record) >= RECORD_TEXTS:
            return None
        rows = matrices.open_entries(key, record)
    except DataLoss:
        return None
    copied = EntryRows(rows.flags.copy(), rows.value_ids.copy(), rows.items.copy(), rows.texts.copy(), rows.ends.copy())
    return int.from_bytes(key, "big"), copied
