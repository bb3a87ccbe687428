"""Which slots are as they were written: their checksums and their entries' seals compared where they lie."""

import ctypes
from typing import Any

import numpy as np
from numba import carray, njit

from atlasdb import crc
from atlasdb.tree.image import Forest
from atlasdb.tree.kernels import pointer
from atlasdb.tree.scoring import CHECKS, IDS, KEYS, POSITION_BITS, SCALES, SEALS, SUBJECTS, VALUE_IDS, span, u32
from atlasdb.tree.slots import Positions


class Unsound(Exception):
    """Slots that a fetch met are damaged: their names in the forest, int64 (n,), n >= 1. Its caller goes on without."""

    def __init__(self, slots: Positions, entry: int) -> None:
        super().__init__(f"the slot of entry {entry} fails its checksum; `atlasdb verify` lists all damage")
        self.slots = slots


@njit(inline="always")
def _copied(address: Any, count: Any, out: Any) -> None:
    out[:] = carray(pointer(address), (count,), np.uint8)


@njit(nogil=True, cache=True)
def _wrong(slots: Any, at: Any, size: Any, tables: Any) -> Any:
    found = np.zeros(len(slots), np.bool_)
    of_slot, of_entry = np.empty(12 + size, np.uint8), np.empty(20, np.uint8)
    for i in range(len(slots)):
        record, position = slots[i] >> POSITION_BITS, slots[i] & ((np.int64(1) << POSITION_BITS) - 1)
        _copied(at[record, SUBJECTS] + 8 * position, 8, of_slot[0:8])
        _copied(at[record, SCALES] + 4 * position, 4, of_slot[8:12])
        _copied(at[record, KEYS] + position * size, size, of_slot[12:])
        check = np.uint32(~crc.step(tables, np.uint32(0xFFFFFFFF), of_slot))
        found[i] = check != u32(at[record, CHECKS], position)
        _copied(at[record, CHECKS] + 4 * position, 4, of_entry[16:20])
        start, stop = span(at, record, position)
        found[i] |= start == stop
        for entry in range(start, stop):
            _copied(at[record, IDS] + 8 * entry, 8, of_entry[0:8])
            _copied(at[record, VALUE_IDS] + 8 * entry, 8, of_entry[8:16])
            seal = np.uint32(~crc.step(tables, np.uint32(0xFFFFFFFF), of_entry))
            found[i] |= seal != u32(at[record, SEALS], entry)
    return found


def unsound(forest: Forest, slots: Positions) -> Positions:
    """Those of a forest's slots int64 (n,) that are damaged."""
    wrong: Positions = slots[_wrong(slots, forest.slots.at, forest.dimension, crc.TABLES)]
    return wrong


def first_entry(forest: Forest, slot: int) -> int:
    """What a slot says is the id of its first entry."""
    record, position = slot >> POSITION_BITS, slot & ((1 << POSITION_BITS) - 1)
    start, _ = span(forest.slots.at, record, position)
    return int.from_bytes(_bytes(forest.slots.at[record, IDS] + 8 * start, 8), "little")


def _bytes(address: Any, count: int) -> bytes:
    return ctypes.string_at(int(address), count)
