"""The compiled loops of a fetch (numba): they read vectors where they lie and hold no lock of Python's.

Memory is named by address (`atlasdb.tree.image.Columns`): column c of record r begins at at[r, c]. Products of int8
vectors are exact in int32, then float32. Numbers that come from the store are checked before they lead to an address.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.extending import intrinsic

STARTS, NODE_SCALES, CODE_SCALES, LINKS, CODES, VECTORS = range(6)
_EMPTY = -1
_LINE = 64


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


def _popcount_of(_: Any, __: Any) -> Any:
    """How many bits of a word are set."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


pointer: Any = intrinsic(_pointer_of)
popcount: Any = intrinsic(_popcount_of)
prefetch: Any = intrinsic(_prefetch_of)


@njit(inline="always")
def dot(vector: Any, row: Any) -> Any:
    """The exact product of two int8 vectors: int32."""
    total = np.int32(0)
    for i in range(len(row)):
        total = np.int32(total + np.int32(np.int32(vector[i]) * np.int32(row[i])))
    return total


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


# ---- the walk -----------------------------------------------------------------------------------------------------
# The best nodes so far are int64 numbers, best first: the score as an ordered int, the node, and whether it was opened.


@njit(inline="always")
def packed(score: Any, node: Any) -> Any:
    """An item of the list: it sorts as its score does."""
    bits = np.int64(np.float32(score).view(np.int32))
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return (bits << np.int64(32)) | (np.int64(node) << np.int64(1))


@njit(inline="always")
def keep(best: Any, count: Any, item: Any) -> Any:
    """Insert into the sorted list; the new count, and where the item stands (the list's length: not taken)."""
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
def first_time(seen: Any, node: Any) -> Any:
    """Whether a node was not seen before; it is now. `seen`: int32, a power of two long, open addressing."""
    mask = np.uint32(len(seen) - 1)
    at = (np.uint32(node) * np.uint32(2654435761) >> np.uint32(7)) & mask
    while seen[at] != _EMPTY:
        if seen[at] == node:
            return False
        at = (at + np.uint32(1)) & mask
    seen[at] = node
    return True


@njit(inline="always")
def _score(at: Any, shift: Any, node: Any, row: Any, scale: Any) -> Any:
    record, position = node >> shift, node & ((np.int64(1) << shift) - 1)
    size = len(row)
    product = dot(i8(at[record, VECTORS] + position * size, size), row)
    return np.float32(product) * f32(at[record, NODE_SCALES], position) * scale


@njit(nogil=True, cache=True, inline="always")
def at_most(at: Any, shift: Any, node: Any, planes: Any, low: Any, step: Any, total: Any, margin: Any) -> Any:
    """A node's logit as its code tells it, and `margin` more in parts of its code's scale."""
    record, position = node >> shift, node & ((np.int64(1) << shift) - 1)
    words = planes.shape[1]
    code = carray(pointer(at[record, CODES] + 8 * words * position), (words,), np.uint64)
    ones = weighted = np.uint64(0)
    for i in range(words):
        word = code[i]
        ones += popcount(word)
        weighted += (
            popcount(word & planes[0, i])
            + (popcount(word & planes[1, i]) << np.uint64(1))
            + (popcount(word & planes[2, i]) << np.uint64(2))
            + (popcount(word & planes[3, i]) << np.uint64(3))
        )
    product = np.float32(2) * (step * np.float32(weighted) + low * np.float32(ones)) - total
    return (product + margin) * f32(at[record, CODE_SCALES], position)


@njit(nogil=True, cache=True)
def walk(
    nodes: Any, shift: Any, at: Any, width: Any, gates: Any, row: Any, scale: Any, planes: Any, low: Any, step: Any,
    total: Any, margin: Any, depth: Any, least: Any, seen: Any, best: Any,
) -> Any:  # fmt: skip
    """Best-first over the graph of `nodes` nodes with `width` links each, from `gates` int64 on, for one row int8 (D,).

    Nodes are opened from the best on, until none is left within `depth` logits of the best of all (but `least` are
    opened in any case) or among the len(best) best ones. A node whose code says that it will not be opened (`planes`,
    `low`, `step`, `total` are the row's as in `codes.Asked`; `margin` is added to s . q) is not compared.
    `best` gets the nodes; `seen` is scratch, of which no more than half is filled. Returns how many nodes `best` holds,
    and how many were looked at, by their code or their vector.
    """
    seen[:] = _EMPTY
    size = len(row)
    mask = (np.int64(1) << shift) - 1
    fresh = np.empty(width, np.int64)
    count = met = place = 0
    full = len(seen) // 2
    for node in gates:
        if met < full and 0 <= node < nodes and first_time(seen, node):
            met += 1
            count, _ = keep(best, count, packed(_score(at, shift, node, row, scale), node))
    while place < count:
        if best[place] & 1:
            place += 1
            continue
        bar = np.float32(-np.inf)
        if count > least:
            bar = _logit(best[0]) - depth
            if place >= least and _logit(best[place]) < bar:
                break
            bar = min(bar, _logit(best[least]))
        if count == len(best):
            bar = max(bar, _logit(best[count - 1]))
        node = (best[place] & np.int64(0xFFFFFFFF)) >> 1
        best[place] |= 1
        links = carray(pointer(at[node >> shift, LINKS] + 4 * width * (node & mask)), (width,), np.int32)
        found = 0
        for link in links:
            if link < 0 or link >= nodes:
                break
            if met + found < full and first_time(seen, link):
                fresh[found] = link
                found += 1
                prefetch(at[link >> shift, CODES] + (link & mask) * 8 * planes.shape[1])
                prefetch(at[link >> shift, CODE_SCALES] + (link & mask) * 4)
        met += found
        passed = 0
        for i in range(found):
            link = fresh[i]
            if at_most(at, shift, link, planes, low, step, total, margin) >= bar:
                fresh[passed] = link
                passed += 1
                start = at[link >> shift, VECTORS] + (link & mask) * size
                for line in range(0, size, _LINE):
                    prefetch(start + line)
        lowest = count
        for i in range(passed):
            score = _score(at, shift, fresh[i], row, scale)
            if score >= bar:
                count, here = keep(best, count, packed(score, fresh[i]))
                lowest = min(lowest, here)
        place = min(place, lowest)
    return count, met


@njit(inline="always")
def _logit(item: Any) -> Any:
    bits = item >> np.int64(32)
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return np.int32(bits).view(np.float32)


@njit(nogil=True, cache=True)
def opened(
    roots: Any, root_scales: Any, tree_gates: Any, beam: Any, nodes: Any, shift: Any, at: Any, width: Any, row: Any,
    scale: Any, planes: Any, low: Any, step: Any, total: Any, margin: Any, depth: Any, least: Any, seen: Any, room: Any,
) -> Any:  # fmt: skip
    """The nodes that a walk for one row opens, int64, at most `room`, and how many it looked at. It enters by the gates
    of the `beam` ROOTs that are best of `roots` int8 (C, D), whose gates are `tree_gates` int32 (C, E)."""
    nearest = np.empty(min(beam, len(roots)), np.int64)
    count = nearest_roots(roots, root_scales, row, scale, nearest)
    entered = np.empty(count * tree_gates.shape[1], np.int64)
    for i in range(count):
        root = (nearest[i] & np.int64(0xFFFFFFFF)) >> 1
        for j in range(tree_gates.shape[1]):
            entered[i * tree_gates.shape[1] + j] = tree_gates[root, j]
    best = np.empty(room, np.int64)
    kept, met = walk(
        nodes, shift, at, width, entered, row, scale, planes, low, step, total, margin, depth, least, seen, best
    )
    found, through = unpack(best[:kept])
    return found[through], met


@njit(nogil=True, cache=True)
def unpack(best: Any) -> Any:
    """Nodes int64, and whether they were opened, of the items of a walk."""
    nodes, opened = np.empty(len(best), np.int64), np.empty(len(best), np.bool_)
    for i in range(len(best)):
        nodes[i] = (best[i] & np.int64(0xFFFFFFFF)) >> 1
        opened[i] = (best[i] & 1) != 0
    return nodes, opened


@njit(nogil=True, cache=True)
def nearest_roots(roots: Any, scales: Any, row: Any, scale: Any, best: Any) -> Any:
    """The len(best) best ROOTs of (C, D) into `best`; how many."""
    count = 0
    for root in range(len(roots)):
        item = packed(np.float32(dot(roots[root], row)) * scales[root] * scale, root)
        count, _ = keep(best, count, item)
    return count


@njit(nogil=True, cache=True)
def judged(
    nodes: Any, shift: Any, at: Any, row: Any, scale: Any, planes: Any, low: Any, step: Any, total: Any, margin: Any
) -> Any:
    """What a walk can know of nodes int64 (n,): their logits, what their codes say, and that with the margin, all
    float32 (n,)."""
    logits, estimates, most = (
        np.empty(len(nodes), np.float32), np.empty(len(nodes), np.float32), np.empty(len(nodes), np.float32)
    )  # fmt: skip
    for i in range(len(nodes)):
        logits[i] = _score(at, shift, nodes[i], row, scale)
        estimates[i] = at_most(at, shift, nodes[i], planes, low, step, total, np.float32(0))
        most[i] = at_most(at, shift, nodes[i], planes, low, step, total, margin)
    return logits, estimates, most
