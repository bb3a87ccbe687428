"""The compiled loops over slots and values: compare keys where they lie with all rows, choose the best, copy out."""

from typing import Any

import numpy as np
from numba import carray, njit

from atlasdb import crc
from atlasdb.tree.kernels import STARTS, dot, f32, i8, pointer, u64

IDS, VALUE_IDS, SCALES, CHECKS, KEYS = range(5)
POSITION_BITS = 40
"""A slot is named by record << POSITION_BITS | its position there."""


@njit(inline="always")
def _dead(dead: Any, number: Any) -> Any:
    if not len(dead):
        return False
    at = np.searchsorted(dead, number)
    return at < len(dead) and dead[at] == number


@njit(nogil=True, cache=True)
def ranges(nodes: Any, shift: Any, at: Any, total: Any) -> Any:
    """The slots of nodes, int64 (n, 2): from, to. A range that the tree's `total` slots can't have is empty."""
    found = np.zeros((len(nodes), 2), np.int64)
    for i in range(len(nodes)):
        record, position = nodes[i] >> shift, nodes[i] & ((np.int64(1) << shift) - 1)
        start, stop = np.int64(u64(at[record, STARTS], position)), np.int64(u64(at[record, STARTS], position + 1))
        if 0 <= start <= stop <= total:
            found[i, 0], found[i, 1] = start, stop
    return found


@njit(inline="always")
def _logits(at: Any, record: Any, position: Any, rows: Any, scales: Any, out: Any) -> None:
    """The logits of one slot with each row, into `out` (R,)."""
    size = rows.shape[1]
    key = i8(at[record, KEYS] + position * size, size)
    scale = f32(at[record, SCALES], position)
    for r in range(len(rows)):
        out[r] = np.float32(dot(key, rows[r])) * scale * scales[r]


@njit(nogil=True, cache=True)
def score_ranges(
    wanted: Any, base: Any, shift: Any, at: Any, rows: Any, scales: Any, dead: Any, slots: Any, logits: Any, count: Any
) -> Any:  # fmt: skip
    """Compare the slots of `wanted` (n, 2) of the tree whose records begin at `base` with rows int8 (R, D).

    Appends to `slots` int64 (cap,) and `logits` float32 (cap, R) from `count` on, the dead left out; the new count.
    """
    mask = (np.int64(1) << shift) - 1
    for i in range(len(wanted)):
        for slot in range(wanted[i, 0], wanted[i, 1]):
            record, position = base + (slot >> shift), slot & mask
            if _dead(dead, u64(at[record, IDS], position)):
                continue
            _logits(at, record, position, rows, scales, logits[count])
            slots[count] = (record << POSITION_BITS) | position
            count += 1
    return count


@njit(nogil=True, cache=True)
def score_records(
    first: Any, skip: Any, counts: Any, at: Any, rows: Any, scales: Any, dead: Any, slots: Any, logits: Any, count: Any,
    sure: Any, peaks: Any, window: Any,
) -> Any:  # fmt: skip
    """The same for all slots of the records from `first` on, the first `skip` of it left out.

    Beyond `sure` candidates a slot is taken only if a row's logit is within `window` of that row's `peaks` (R,), which
    rise. Returns (count, record, position): where to go on when `slots` is full; the number of records when done.
    """
    for record in range(first, len(counts)):
        for position in range(skip, counts[record]):
            if count == len(slots):
                return count, record, position
            if _dead(dead, u64(at[record, IDS], position)):
                continue
            _logits(at, record, position, rows, scales, logits[count])
            near = count < sure
            for r in range(len(rows)):
                near |= logits[count, r] >= peaks[r] - window
                peaks[r] = max(peaks[r], logits[count, r])
            if near:
                slots[count] = (record << POSITION_BITS) | position
                count += 1
        skip = 0
    return count, len(counts), 0


@njit(nogil=True, cache=True)
def masses(logits: Any, window: Any) -> Any:
    """Softmax over the candidates of (n, R), summed over rows: float32 (n,). What is `window` below a peak counts 0."""
    count, rows = logits.shape
    peaks = np.full(rows, -np.inf, np.float32)
    for i in range(count):
        for r in range(rows):
            peaks[r] = max(peaks[r], logits[i, r])
    totals = np.zeros(rows, np.float64)
    for i in range(count):
        for r in range(rows):
            over = logits[i, r] - peaks[r]
            if over >= -window:
                power = np.exp(over)
                totals[r] += power
                logits[i, r] = power
            else:
                logits[i, r] = 0
    found = np.zeros(count, np.float32)
    for i in range(count):
        for r in range(rows):
            found[i] += np.float32(logits[i, r] / totals[r])
    return found


@njit(nogil=True, cache=True)
def choose(scores: Any, slots: Any, at: Any, k: Any) -> Any:
    """Positions of the k best scores, best first; equals in the order of their ids."""
    kept = np.empty(min(k, len(scores)), np.int64)
    ids = np.empty(len(kept), np.uint64)
    count = 0
    for i in range(len(scores)):
        if count == len(kept) and scores[i] < scores[kept[count - 1]]:
            continue
        number = u64(at[slots[i] >> POSITION_BITS, IDS], slots[i] & ((np.int64(1) << POSITION_BITS) - 1))
        low, high = 0, count
        while low < high:
            middle = (low + high) >> 1
            other = kept[middle]
            if scores[other] < scores[i] or (scores[other] == scores[i] and ids[middle] > number):
                high = middle
            else:
                low = middle + 1
        if low == len(kept):
            continue
        last = min(count, len(kept) - 1)
        for j in range(last, low, -1):
            kept[j], ids[j] = kept[j - 1], ids[j - 1]
        kept[low], ids[low] = i, number
        count = min(count + 1, len(kept))
    return kept


@njit(nogil=True, cache=True)
def gather(slots: Any, at: Any, keys: Any, tables: Any) -> Any:
    """Copy slots out: ids, value ids u64 (k,), scales float32 (k,); keys into int8 (k, D). Last, the place of the first
    slot whose CRC32C is wrong; -1: none."""
    count, size = keys.shape
    ids, value_ids, scales = np.empty(count, np.uint64), np.empty(count, np.uint64), np.empty(count, np.float32)
    record_bytes = np.empty(20 + size, np.uint8)
    wrong = -1
    for i in range(count):
        record, position = slots[i] >> POSITION_BITS, slots[i] & ((np.int64(1) << POSITION_BITS) - 1)
        ids[i], value_ids[i] = u64(at[record, IDS], position), u64(at[record, VALUE_IDS], position)
        scales[i] = f32(at[record, SCALES], position)
        keys[i] = i8(at[record, KEYS] + position * size, size)
        record_bytes[0:8] = carray(pointer(at[record, IDS] + 8 * position), (8,), np.uint8)
        record_bytes[8:16] = carray(pointer(at[record, VALUE_IDS] + 8 * position), (8,), np.uint8)
        record_bytes[16:20] = carray(pointer(at[record, SCALES] + 4 * position), (4,), np.uint8)
        record_bytes[20:] = carray(pointer(at[record, KEYS] + position * size), (size,), np.uint8)
        check = carray(pointer(at[record, CHECKS] + 4 * position), (1,), np.uint32)[0]
        if wrong < 0 and np.uint32(~crc.step(tables, np.uint32(0xFFFFFFFF), record_bytes)) != check:
            wrong = i
    return ids, value_ids, scales, wrong


@njit(nogil=True, cache=True)
def gather_values(ids: Any, records: Any, firsts: Any, counts: Any, at: Any, data: Any, tables: Any) -> Any:
    """Copy values out: int8 into `data` (k, D), scales float32 (k,). Value ids[i] is in record records[i]; a record's
    scales, checks and vectors begin at at[r, 0..2]. Last, the first place where a value is missing or its CRC32C is
    wrong; -1: none."""
    count, size = data.shape
    scales = np.zeros(count, np.float32)
    bytes_of = np.empty(12 + size, np.uint8)
    number = np.empty(1, np.uint64)
    wrong = -1
    for i in range(count):
        record = records[i]
        position = np.int64(ids[i] - firsts[record]) if record >= 0 else np.int64(0)
        if record < 0 or position >= counts[record]:
            wrong = i if wrong < 0 else wrong
            continue
        scales[i] = f32(at[record, 0], position)
        data[i] = i8(at[record, 2] + position * size, size)
        number[0] = ids[i]
        bytes_of[0:8] = number.view(np.uint8)
        bytes_of[8:12] = carray(pointer(at[record, 0] + 4 * position), (4,), np.uint8)
        bytes_of[12:] = carray(pointer(at[record, 2] + position * size), (size,), np.uint8)
        check = carray(pointer(at[record, 1] + 4 * position), (1,), np.uint32)[0]
        if wrong < 0 and np.uint32(~crc.step(tables, np.uint32(0xFFFFFFFF), bytes_of)) != check:
            wrong = i
    return scales, wrong
