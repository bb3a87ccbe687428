"""The compiled loops of a fetch (numba): they read vectors where they lie and hold no lock of Python's.

Memory is named by address (`atlasdb.tree.image.Columns`): column c of record r begins at at[r, c]. Products of int8
vectors are exact in int32, then float32. Numbers that come from the store are checked before they lead to an address.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

EMPTY = -1
"""In the table of what was seen."""
LINE = 64
"""Bytes that memory comes in."""


def _pointer_of(_: Any, __: Any) -> Any:
    """The pointer of an address."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], ir.PointerType())

    return types.voidptr(types.int64), generate


def _prefetch_of(_: Any, __: Any) -> Any:
    """Ask for the cache line of an address."""

    def generate(target: Any, builder: Any, _: Any, arguments: Any) -> Any:
        word = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(), word, word, word])
        function = builder.module.globals.get("llvm.prefetch.p0") or ir.Function(
            builder.module, kind, "llvm.prefetch.p0"
        )
        pointer = builder.inttoptr(arguments[0], ir.PointerType())
        builder.call(function, [pointer, word(0), word(3), word(1)])
        return target.get_dummy_value()

    return types.void(types.int64), generate


pointer: Any = intrinsic(_pointer_of)
prefetch: Any = intrinsic(_prefetch_of)


@njit(inline="always")
def i8(address: Any, count: Any) -> Any:
    """An int8 array where it lies."""
    return carray(pointer(address), (count,), np.int8)


@njit(inline="always")
def f32(address: Any, position: Any) -> Any:
    """One number of a float32 column."""
    return carray(pointer(address + 4 * position), (1,), np.float32)[0]


@njit(inline="always")
def u64(address: Any, position: Any) -> Any:
    """One number of a uint64 column."""
    return carray(pointer(address + 8 * position), (1,), np.uint64)[0]


@njit(inline="always")
def u16(address: Any) -> Any:
    """The uint16 at an address."""
    return np.int64(carray(pointer(address), (1,), np.uint16)[0])


# ---- rows ---------------------------------------------------------------------------------------------------------


@njit(inline="always")
def _alike(vectors: Any, group: Any, centre: Any, like: Any, least: Any) -> Any:
    """Which of the vectors of `group` have a cosine of at least `least` with `centre`, into `like`; how many."""
    found = 0
    length = np.float32(0)
    for i in range(len(centre)):
        length += centre[i] * centre[i]
    for r in group:
        product, own = np.float32(0), np.float32(0)
        for i in range(len(centre)):
            product += vectors[r, i] * centre[i]
            own += vectors[r, i] * vectors[r, i]
        like[r] = product >= least * np.sqrt(length * own)
        found += like[r]
    return found


@njit(inline="always")
def _mean(vectors: Any, group: Any) -> Any:
    total = np.zeros(vectors.shape[1], np.float32)
    for r in group:
        for i in range(len(total)):
            total[i] += vectors[r, i]
    return total / np.float32(len(group))


@njit(nogil=True, cache=True)
def representatives(data: Any, scales: Any, least: Any) -> Any:
    """Groups of alike rows, of int8 (R, D): their means as int8 (G, D) with scales (G,).

    All rows are one group if each has a cosine of at least `least` with their mean. Else the first row and those that
    are so like it are one, then the first of the others, and so on.
    """
    rows, size = data.shape
    vectors = np.empty((rows, size), np.float32)
    for r in range(rows):
        for i in range(size):
            vectors[r, i] = data[r, i] * scales[r]
    means, mean_scales = np.empty((rows, size), np.int8), np.empty(rows, np.float32)
    like = np.zeros(rows, np.bool_)
    left = np.arange(rows)
    together = _alike(vectors, left, _mean(vectors, left), like, least) == rows
    groups = 0
    while len(left):
        if not together:
            _alike(vectors, left, vectors[left[0]], like, least)
            like[left[0]] = True
        mean = _mean(vectors, left[like[left]])
        left = left[~like[left]]
        largest = np.max(np.abs(mean))
        scale = largest / np.float32(127) if largest > 0 else np.float32(1)
        for i in range(size):
            means[groups, i] = np.int8(np.rint(mean[i] / scale))
        mean_scales[groups] = scale
        groups += 1
    return means[:groups], mean_scales[:groups]


# ---- lists and heaps ----------------------------------------------------------------------------------------------
# Items of lists and heaps are int64: a score as an ordered int, a number, and one bit more.


@njit(inline="always")
def packed(score: Any, number: Any) -> Any:
    """An item: it sorts as its score does."""
    bits = np.int64(np.float32(score).view(np.int32))
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return (bits << np.int64(32)) | (np.int64(number) << np.int64(1))


@njit(inline="always")
def score_of(item: Any) -> Any:
    """An item's score."""
    bits = item >> np.int64(32)
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return np.int32(bits).view(np.float32)


@njit(inline="always")
def number_of(item: Any) -> Any:
    """An item's number."""
    return (item & np.int64(0xFFFFFFFF)) >> np.int64(1)


@njit(inline="always")
def keep(best: Any, count: Any, item: Any) -> Any:
    """Insert into the list, best first; the new count, and where the item stands (the list's length: not taken)."""
    room = len(best)
    if count == room:
        if item <= best[count - 1]:
            return count, room
        last = count - 1
    else:
        last = count
        count += 1
    low, high = 0, last
    while low < high:
        middle = (low + high) >> 1
        if best[middle] < item:
            high = middle
        else:
            low = middle + 1
    for i in range(last, low, -1):
        best[i] = best[i - 1]
    best[low] = item
    return count, low


@njit(inline="always")
def push(heap: Any, size: Any, item: Any) -> Any:
    """Put an item on a heap, best on top; the new size."""
    here = size
    while here > 0:
        above = (here - 1) >> 1
        if heap[above] >= item:
            break
        heap[here] = heap[above]
        here = above
    heap[here] = item
    return size + 1


@njit(inline="always")
def pop(heap: Any, size: Any) -> Any:
    """Take the top from a heap that holds something; the new size."""
    size -= 1
    item = heap[size]
    here = 0
    while True:
        below = 2 * here + 1
        if below >= size:
            break
        if below + 1 < size and heap[below + 1] > heap[below]:
            below += 1
        if heap[below] <= item:
            break
        heap[here] = heap[below]
        here = below
    heap[here] = item
    return size


@njit(inline="always")
def first_time(seen: Any, node: Any) -> Any:
    """Whether a node was not seen before; it is now. `seen`: int32, a power of two long, open addressing."""
    mask = np.uint32(len(seen) - 1)
    at = (np.uint32(node) * np.uint32(2654435761) >> np.uint32(7)) & mask
    while seen[at] != EMPTY:
        if seen[at] == node:
            return False
        at = (at + np.uint32(1)) & mask
    seen[at] = node
    return True
