"""The compiled loops over slots and values: compare keys where they lie with all rows, choose the best, copy out."""

from typing import Any

import numpy as np
from numba import carray, njit

from atlasdb import crc
from atlasdb.tree.kernels import f32, i8, pointer, prefetch, u64
from atlasdb.tree.simd import dot

STARTS, SUBJECTS, SCALES, CHECKS, IDS, VALUE_IDS, SEALS, KEYS, ENTRIES = range(9)
POSITION_BITS = 40
"""A slot is named by record << POSITION_BITS | its position there."""
SLOT_BYTES = 8
"""Bytes that are read of a slot beside its key."""
_LINE = 64
_AHEAD = 6
"""A slot is asked for so many slots before it is compared."""


@njit(inline="always")
def u32(address: Any, position: Any) -> Any:
    """One number of a uint32 column."""
    return carray(pointer(address + 4 * position), (1,), np.uint32)[0]


@njit(inline="always")
def _dead(dead: Any, number: Any) -> Any:
    word = number >> np.uint64(6)
    return word < len(dead) and (dead[word] >> (number & np.uint64(63))) & np.uint64(1) != 0


@njit(inline="always")
def _place(slot: Any) -> Any:
    return slot >> POSITION_BITS, slot & ((np.int64(1) << POSITION_BITS) - 1)


@njit(inline="always", cache=True)
def span(at: Any, record: Any, position: Any) -> Any:
    """The entries of one slot: from, to. A span that can't be is empty: a file may be damaged while it is read."""
    start, stop = np.int64(u32(at[record, STARTS], position)), np.int64(u32(at[record, STARTS], position + 1))
    return (start, stop) if start < stop <= at[record, ENTRIES] else (np.int64(0), np.int64(0))


@njit(inline="always")
def _alive(at: Any, record: Any, position: Any, dead: Any) -> Any:
    """How many entries of one slot are there."""
    start, stop = span(at, record, position)
    count = stop - start
    if len(dead):
        for i in range(start, stop):
            count -= _dead(dead, u64(at[record, IDS], i))
    return count


@njit(inline="always")
def _logits(at: Any, record: Any, position: Any, rows: Any, scales: Any, out: Any) -> None:
    """The logits of one slot with each row, into `out` (R,)."""
    size = rows.shape[1]
    key = i8(at[record, KEYS] + position * size, size)
    scale = f32(at[record, SCALES], position)
    for r in range(len(rows)):
        out[r] = np.float32(dot(key, rows[r])) * scale * scales[r]


@njit(inline="always")
def _ask_for(at: Any, record: Any, position: Any, size: Any) -> None:
    start = at[record, KEYS] + position * size
    for line in range(0, size, _LINE):
        prefetch(start + line)
    prefetch(at[record, SCALES] + 4 * position)
    prefetch(at[record, STARTS] + 4 * position)


@njit(nogil=True, cache=True)
def score_slots(
    wanted: Any, base: Any, shift: Any, at: Any, rows: Any, scales: Any, dead: Any, slots: Any, weights: Any,
    logits: Any, count: Any,
) -> Any:  # fmt: skip
    """Compare the slots `wanted` (n,) of the tree whose records begin at `base` with rows int8 (R, D).

    Appends to `slots` int64 (cap,), `weights` float32 (cap,), how many entries the slot has, and `logits` float32
    (cap, R) from `count` on, slots without entries left out; the new count.
    """
    mask = (np.int64(1) << shift) - 1
    for i in range(len(wanted)):
        if i + _AHEAD < len(wanted):
            later = wanted[i + _AHEAD]
            _ask_for(at, base + (later >> shift), later & mask, rows.shape[1])
        record, position = base + (wanted[i] >> shift), wanted[i] & mask
        alive = _alive(at, record, position, dead)
        if alive:
            _logits(at, record, position, rows, scales, logits[count])
            slots[count] = (record << POSITION_BITS) | position
            weights[count] = alive
            count += 1
    return count


@njit(nogil=True, cache=True)
def score_records(
    first: Any, skip: Any, counts: Any, at: Any, rows: Any, scales: Any, dead: Any, slots: Any, weights: Any,
    logits: Any, count: Any, sure: Any, peaks: Any, window: Any,
) -> Any:  # fmt: skip
    """The same for all slots of the records from `first` on, the first `skip` of it left out.

    Beyond `sure` candidates a slot is taken only if a row's logit is within `window` of that row's `peaks` (R,), which
    rise. Returns (count, record, position): where to go on when `slots` is full; the number of records when done.
    """
    for record in range(first, len(counts)):
        for position in range(skip, counts[record]):
            if count == len(slots):
                return count, record, position
            alive = _alive(at, record, position, dead)
            if not alive:
                continue
            _logits(at, record, position, rows, scales, logits[count])
            near = count < sure
            for r in range(len(rows)):
                near |= logits[count, r] >= peaks[r] - window
                peaks[r] = max(peaks[r], logits[count, r])
            if near:
                slots[count] = (record << POSITION_BITS) | position
                weights[count] = alive
                count += 1
        skip = 0
    return count, len(counts), 0


@njit(nogil=True, cache=True)
def alive_in(record: Any, count: Any, at: Any, dead: Any) -> Any:
    """How many entries each slot of a record has: float32 (count,)."""
    found = np.empty(count, np.float32)
    for position in range(count):
        found[position] = _alive(at, record, position, dead)
    return found


@njit(nogil=True, cache=True)
def masses(logits: Any, weights: Any, window: Any) -> Any:
    """Softmax over the entries of slots (n, R), summed over rows: float32 (n,), of one entry of each slot. What is
    `window` below a peak counts 0. The logits are overwritten."""
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
                totals[r] += np.float64(power) * weights[i]
                logits[i, r] = power
            else:
                logits[i, r] = 0
    found = np.zeros(count, np.float32)
    for i in range(count):
        for r in range(rows):
            found[i] += np.float32(logits[i, r] / totals[r])
    return found


@njit(inline="always")
def _first_id(slot: Any, at: Any) -> Any:
    record, position = _place(slot)
    return u64(at[record, IDS], span(at, record, position)[0])


@njit(nogil=True, cache=True)
def choose(scores: Any, slots: Any, at: Any, k: Any) -> Any:
    """Positions of the k best scores, best first; equals in the order of their first ids."""
    kept = np.empty(min(k, len(scores)), np.int64)
    ids = np.empty(len(kept), np.uint64)
    count = 0
    for i in range(len(scores)):
        if count == len(kept) and scores[i] < scores[kept[count - 1]]:
            continue
        number = _first_id(slots[i], at)
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
def expand(scores: Any, slots: Any, at: Any, dead: Any, k: Any) -> Any:
    """The entries of slots, best first: the place of each one's slot, and its position in that slot's record, int64
    (n,); as many of each slot as may be among the best k, in the order of their ids."""
    places, positions = np.empty(2 * k, np.int64), np.empty(2 * k, np.int64)
    count, enough = 0, np.float32(-1)
    for i in range(len(slots)):
        if count >= k and scores[i] < enough:
            break
        record, position = _place(slots[i])
        start, stop = span(at, record, position)
        taken = 0
        for entry in range(start, stop):
            if taken == k:
                break
            if len(dead) and _dead(dead, u64(at[record, IDS], entry)):
                continue
            if count == len(places):
                places = np.concatenate((places, np.empty_like(places)))
                positions = np.concatenate((positions, np.empty_like(positions)))
            places[count], positions[count] = i, entry
            count += 1
            taken += 1
            if count == k:
                enough = scores[i]
    return places[:count], positions[:count]


@njit(nogil=True, cache=True)
def ids_at(slots: Any, positions: Any, at: Any) -> Any:
    """The ids of entries, of which `slots` are the slots: u64 (n,)."""
    found = np.empty(len(slots), np.uint64)
    for i in range(len(slots)):
        found[i] = u64(at[slots[i] >> POSITION_BITS, IDS], positions[i])
    return found


@njit(inline="always")
def _copy(address: Any, count: Any, out: Any) -> None:
    out[:] = carray(pointer(address), (count,), np.uint8)


@njit(nogil=True, cache=True)
def gather(slots: Any, positions: Any, at: Any, keys: Any, tables: Any) -> Any:
    """Copy entries out, of which `slots` are the slots: ids, value ids u64 (n,), scales float32 (n,); keys into int8
    (n, D). Last, the place of the first one whose slot or seal fails its CRC32C; -1: none."""
    count, size = keys.shape
    ids, value_ids, scales = np.empty(count, np.uint64), np.empty(count, np.uint64), np.empty(count, np.float32)
    of_slot, of_entry = np.empty(12 + size, np.uint8), np.empty(20, np.uint8)
    wrong = -1
    for i in range(count):
        record, position = _place(slots[i])
        scales[i] = f32(at[record, SCALES], position)
        keys[i] = i8(at[record, KEYS] + position * size, size)
        if i == 0 or slots[i] != slots[i - 1]:
            _copy(at[record, SUBJECTS] + 8 * position, 8, of_slot[0:8])
            _copy(at[record, SCALES] + 4 * position, 4, of_slot[8:12])
            _copy(at[record, KEYS] + position * size, size, of_slot[12:])
            check = np.uint32(~crc.step(tables, np.uint32(0xFFFFFFFF), of_slot))
            if wrong < 0 and check != u32(at[record, CHECKS], position):
                wrong = i
        entry = positions[i]
        ids[i], value_ids[i] = u64(at[record, IDS], entry), u64(at[record, VALUE_IDS], entry)
        _copy(at[record, IDS] + 8 * entry, 8, of_entry[0:8])
        _copy(at[record, VALUE_IDS] + 8 * entry, 8, of_entry[8:16])
        _copy(at[record, CHECKS] + 4 * position, 4, of_entry[16:20])
        seal = np.uint32(~crc.step(tables, np.uint32(0xFFFFFFFF), of_entry))
        if wrong < 0 and seal != u32(at[record, SEALS], entry):
            wrong = i
    return ids, value_ids, scales, wrong


@njit(inline="always")
def _ask_for_rest(at: Any, slot: Any) -> None:
    """What a block needs of a slot beside its key."""
    record, position = _place(slot)
    entry = np.int64(u32(at[record, STARTS], position))
    prefetch(at[record, SUBJECTS] + 8 * position)
    prefetch(at[record, CHECKS] + 4 * position)
    prefetch(at[record, IDS] + 8 * entry)
    prefetch(at[record, VALUE_IDS] + 8 * entry)
    prefetch(at[record, SEALS] + 4 * entry)


@njit(nogil=True, cache=True)
def best_entries(slots: Any, scores: Any, at: Any, dead: Any, k: Any, size: Any, tables: Any) -> Any:
    """The best k entries of slots, best first, equals in the order of their ids, copied: ids,
    value ids u64 (n,), keys int8 (n, size), scales, scores float32 (n,), and what `gather` says is wrong."""
    chosen = choose(scores, slots, at, k)
    slots, scores = slots[chosen], scores[chosen]
    for slot in slots:
        _ask_for_rest(at, slot)
    places, positions = expand(scores, slots, at, dead, k)
    count = min(k, len(places))
    ids = ids_at(slots[places], positions, at)
    first = 0
    for i in range(1, len(places)):
        if scores[places[i]] != scores[places[i - 1]]:
            first = i
        for j in range(i, first, -1):
            if ids[j - 1] < ids[j]:
                break
            ids[j - 1], ids[j] = ids[j], ids[j - 1]
            places[j - 1], places[j] = places[j], places[j - 1]
            positions[j - 1], positions[j] = positions[j], positions[j - 1]
    places = places[:count]
    keys = np.empty((count, size), np.int8)
    ids, value_ids, scales, wrong = gather(slots[places], positions[:count], at, keys, tables)
    return ids, value_ids, keys, scales, scores[places], wrong


@njit(nogil=True, cache=True)
def same_identity(records: Any, positions: Any, at: Any, identities: Any) -> Any:
    """Whether value i, at positions[i] of record records[i] (-1: nowhere), has the identity u64 identities[i] (2,)."""
    found = np.zeros(len(records), np.bool_)
    for i in range(len(records)):
        if records[i] >= 0:
            start = at[records[i], 0] + 16 * positions[i]
            found[i] = u64(start, 0) == identities[i, 0] and u64(start, 1) == identities[i, 1]
    return found


@njit(inline="always")
def _ask_for_value(at: Any, record: Any, position: Any, size: Any) -> None:
    prefetch(at[record, 1] + 4 * position)
    prefetch(at[record, 2] + 4 * position)
    for line in range(0, size, _LINE):
        prefetch(at[record, 3] + position * size + line)


@njit(nogil=True, cache=True)
def gather_values(ids: Any, records: Any, positions: Any, at: Any, data: Any, tables: Any) -> Any:
    """Copy values out: int8 into `data` (k, D), scales float32 (k,). Value ids[i] is at positions[i] of record
    records[i] (-1: nowhere), whose identities, scales, checks and vectors begin at at[r, 0..3]. Last, the first place
    where a value is missing or its CRC32C is wrong; -1: none."""
    count, size = data.shape
    scales = np.zeros(count, np.float32)
    bytes_of = np.empty(12 + size, np.uint8)
    number = np.empty(1, np.uint64)
    wrong = -1
    for i in range(count):
        if records[i] >= 0:
            _ask_for_value(at, records[i], positions[i], size)
    for i in range(count):
        record, position = records[i], positions[i]
        if record < 0:
            wrong = i if wrong < 0 else wrong
            continue
        scales[i] = f32(at[record, 1], position)
        data[i] = i8(at[record, 3] + position * size, size)
        number[0] = ids[i]
        bytes_of[0:8] = number.view(np.uint8)
        _copy(at[record, 1] + 4 * position, 4, bytes_of[8:12])
        _copy(at[record, 3] + position * size, size, bytes_of[12:])
        check = np.uint32(~crc.step(tables, np.uint32(0xFFFFFFFF), bytes_of))
        if wrong < 0 and check != u32(at[record, 2], position):
            wrong = i
    return scales, wrong
