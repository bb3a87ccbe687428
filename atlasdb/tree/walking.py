"""The compiled walk over INTER nodes: where it enters, what it meets, which slots promise enough; design (4).

What a walk reads of a node stands in one row (`atlasdb.tree.image.node_rows`): its code, 64 bytes more for its slots,
scales and residual codes, and its links. `words` are a code's. Numbers that come from the store are checked before they
lead to an address.
"""

from typing import Any

import numpy as np
from numba import carray, njit

from atlasdb.tree.kernels import (
    EMPTY,
    LINE,
    f32,
    first_time,
    i8,
    keep,
    number_of,
    packed,
    pointer,
    pop,
    prefetch,
    push,
    score_of,
    u16,
    u64,
)
from atlasdb.tree.simd import dot, weigh

ROWS, VECTORS = range(2)
"""The columns of INTER nodes."""
_ROWS_AHEAD = 12
"""A node's row is asked for so many rows before it is read, where rows are read in order."""
RESIDUALS = 44
"""Most slots of a node whose residual codes are kept: what is left of their 64 bytes."""


@njit(inline="always")
def row_bytes(words: Any, width: Any) -> Any:
    """Of a node's row, with `width` links: lines of 64 bytes."""
    return (8 * words + LINE + 4 * width + LINE - 1) // LINE * LINE


@njit(inline="always")
def _row(at: Any, shift: Any, node: Any, words: Any, width: Any) -> Any:
    """The address of a node's row."""
    return at[node >> shift, ROWS] + (node & ((np.int64(1) << shift) - 1)) * row_bytes(words, width)


@njit(inline="always")
def slots_of(row: Any, words: Any, total: Any) -> Any:
    """The slots of the node whose row is at `row`: the first, and how many; none where the tree's `total` slots can't
    have them."""
    first = np.int64(u64(row + 8 * words, 0))
    count = u16(row + 8 * words + 16)
    return (first, count) if 0 <= first <= total - count else (np.int64(0), np.int64(0))


@njit(inline="always")
def _vector_at(at: Any, shift: Any, node: Any, size: Any) -> Any:
    return at[node >> shift, VECTORS] + (node & ((np.int64(1) << shift) - 1)) * size


@njit(inline="always")
def compared(at: Any, shift: Any, node: Any, words: Any, width: Any, row: Any, scale: Any) -> Any:
    """A node's logit."""
    product = dot(i8(_vector_at(at, shift, node, len(row)), len(row)), row)
    return np.float32(product) * f32(_row(at, shift, node, words, width) + 8 * words + 8, 0) * scale


@njit(inline="always")
def estimated(here: Any, planes: Any, low: Any, step: Any, total: Any) -> Any:
    """The logit of the node whose row is at `here`, as its code tells it."""
    words = planes.shape[1]
    ones, weighted = weigh(carray(pointer(here), (words,), np.uint64), planes)
    product = np.float32(2) * (step * np.float32(weighted) + low * np.float32(ones)) - total
    return product * f32(here + 8 * words + 12, 0)


@njit(nogil=True, cache=True)
def nearest_roots(roots: Any, scales: Any, row: Any, scale: Any, best: Any) -> Any:
    """The len(best) best ROOTs of (C, D) into `best`; how many."""
    count = 0
    for root in range(len(roots)):
        item = packed(np.float32(dot(roots[root], row)) * scales[root] * scale, root)
        count, _ = keep(best, count, item)
    return count


@njit(inline="always")
def _ask_for_row(here: Any, words: Any) -> None:
    """What a walk reads of a node that it meets."""
    for line in range(0, 8 * words + LINE, LINE):
        prefetch(here + line)


@njit(nogil=True, cache=True)
def enter(
    nearest: Any, root_starts: Any, nodes: Any, shift: Any, at: Any, width: Any, planes: Any, low: Any, step: Any,
    total: Any, most: Any, gates: Any,
) -> Any:  # fmt: skip
    """The len(gates) best nodes by their codes of those of the ROOTs `nearest`, of which at most `most` are looked at,
    into `gates`; how many, and how many were looked at."""
    words = planes.shape[1]
    count = looked = 0
    for root in nearest:
        first = max(root_starts[root], 0)
        stop = min(root_starts[root + 1], nodes, first + most - looked)
        for node in range(first, stop):
            if node + _ROWS_AHEAD < stop:
                _ask_for_row(_row(at, shift, node + _ROWS_AHEAD, words, width), words)
            worst = -packed(estimated(_row(at, shift, node, words, width), planes, low, step, total), node)
            if count < len(gates):
                count = push(gates, count, worst)
            elif worst < gates[0]:
                push(gates, pop(gates, count), worst)
        looked += max(0, stop - first)
    for i in range(count):
        gates[i] = -gates[i]
    return count, looked


WIDER = np.float32(2)
"""By so many standard errors of its node's code a slot may fall short of the cut and is still offered."""
NEXT = 3
"""So many of the nodes on top of the heap are asked for ahead."""
MET, COMPARED, OPENED = range(3)
"""What became of a node that a walk met: its code told enough, it was compared, its links were followed."""


@njit(nogil=True, cache=True)
def walk(
    gates: Any, nodes: Any, shift: Any, at: Any, width: Any, slots: Any, row: Any, scale: Any, planes: Any, low: Any,
    step: Any, total: Any, error: Any, shares: Any, depth: Any, least: Any, most: Any, cut: Any, enough: Any, seen: Any,
    met: Any, scores: Any, fates: Any, heap: Any, offered: Any,
) -> Any:  # fmt: skip
    """Best-first over the graph of `nodes` nodes with `width` links each, from `gates` (items) on, for one row int8
    (D,).

    A node that is met gets the score that its code tells; when it comes to be the best of those not opened, it is
    compared, and opened if it still is. The walk ends where the best one left is `depth` logits below the best compared
    one (but `least` nodes are opened in any case), or when `most` are open. `planes`, `low`, `step`, `total` and
    `error` are the row's as in `codes.Asked`, `shares` float32 (R,) what each residual adds to a node's logit.

    `met` int64, `scores` float32 and `fates` uint8 get the nodes, no more than they hold; `seen` and `heap` int64 are
    scratch, at least twice and as long. `offered` int64 (n, 3) gets slots of the tree's `slots`, the places of their
    nodes in `met`, and their residuals: all up to `enough`, beyond that those that are expected at most `cut` below
    the best, or may be, by WIDER. Returns how many nodes were met, compared, opened, how many slots are offered, and
    the best score.
    """
    seen[:] = EMPTY
    words, size = planes.shape[1], len(row)
    count = waiting = opened = looked = first = offers = 0
    room = len(met)
    top = bar = peak = np.float32(-np.inf)
    for gate in gates:
        node = number_of(gate)
        if count < room and first_time(seen, node):
            met[count], scores[count], fates[count] = node, score_of(gate), MET
            count += 1
    while True:
        for place in range(first, count):
            here = _row(at, shift, met[place], words, width)
            if opened:
                scores[place] = estimated(here, planes, low, step, total)
            if opened < least or scores[place] >= top - depth:
                waiting = push(heap, waiting, packed(scores[place], place))
            start, stop = slots_of(here, words, slots)
            needed = bar
            if offers >= enough:
                needed = max(bar, peak - cut - WIDER * error * f32(here + 8 * words + 12, 0))
            for i in range(stop):  # here, not in a function: that took a tenth longer
                residual = _residual(here, words, i, len(shares))
                value = scores[place] + shares[residual]
                if value >= needed:
                    if offers == len(offered):
                        offers, bar = _cleared(offered, scores, shares)
                    offered[offers, 0], offered[offers, 1], offered[offers, 2] = start + i, place, residual
                    offers += 1
                    peak = max(peak, value)
        first = count
        place, waiting, looked, top = _next_best(
            shift, at, width, words, row, scale, depth, opened < least, opened < most, met, scores, fates, heap,
            waiting, looked, top,
        )  # fmt: skip
        if place < 0:
            return count, looked, opened, offers, top
        fates[place] = OPENED
        opened += 1
        links = carray(pointer(_row(at, shift, met[place], words, width) + 8 * words + LINE), (width,), np.int32)
        count = _meet(links, nodes, shift, at, width, words, seen, met, fates, count)
        for i in range(min(waiting, NEXT)):
            _ask_for(at, shift, met[number_of(heap[i])], size)


@njit(inline="always")
def _next_best(
    shift: Any, at: Any, width: Any, words: Any, row: Any, scale: Any, depth: Any, sure: Any, more: Any, met: Any,
    scores: Any, fates: Any, heap: Any, waiting: Any, looked: Any, top: Any,
) -> Any:  # fmt: skip
    """The place of the node to open next, compared and taken from the heap, -1 where there is none; how many wait, how
    many were compared, and the best score. `sure`: it is opened however low it is; `more`: one may be opened."""
    while waiting and more and (sure or score_of(heap[0]) >= top - depth):
        place = number_of(heap[0])
        waiting = pop(heap, waiting)
        if fates[place] == MET:
            scores[place] = compared(at, shift, met[place], words, width, row, scale)
            fates[place] = COMPARED
            looked += 1
            top = max(top, scores[place])
            if waiting and packed(scores[place], place) < heap[0]:
                waiting = push(heap, waiting, packed(scores[place], place))
                continue
        if sure or scores[place] >= top - depth:
            return place, waiting, looked, top
    return np.int64(-1), waiting, looked, top


@njit(inline="always")
def _meet(
    links: Any, nodes: Any, shift: Any, at: Any, width: Any, words: Any, seen: Any, met: Any, fates: Any, count: Any
) -> Any:
    """Meet the nodes linked that were not met before, as long as there is room; how many were met now."""
    for link in links:
        if link < 0 or link >= nodes or count == len(met):
            break
        if first_time(seen, link):
            _ask_for_row(_row(at, shift, np.int64(link), words, width), words)
            met[count], fates[count] = link, MET
            count += 1
    return count


@njit(inline="always")
def _residual(here: Any, words: Any, place: Any, count: Any) -> Any:
    """The residual of a node's slot; of those that have none, the last of `count`, which is the best of all."""
    if place >= RESIDUALS:
        return count - 1
    return min(np.int64(carray(pointer(here + 8 * words + 20), (RESIDUALS,), np.uint8)[place]), count - 1)


BINS = 256
"""Of the histogram of expected logits, PER_LOGIT of them to a logit; the last one is for all below."""
PER_LOGIT = 8


@njit(inline="always")
def _histogram(offered: Any, scores: Any, shares: Any, bins: Any) -> Any:
    """How many of the slots `offered` (n, 3) are expected how far below the best; the best expected logit."""
    best = np.float32(-np.inf)
    for i in range(len(offered)):
        best = max(best, scores[offered[i, 1]] + shares[offered[i, 2]])
    bins[:] = 0
    for i in range(len(offered)):
        below = (best - scores[offered[i, 1]] - shares[offered[i, 2]]) * np.float32(PER_LOGIT)
        bins[min(np.int64(below), BINS - 1)] += 1
    return best


@njit(nogil=True, cache=True)
def _cleared(offered: Any, scores: Any, shares: Any) -> Any:
    """Keep the better half of the slots offered, or the first half where they are equal: how many are left, and the
    expected logit below which others need not be offered."""
    bins = np.empty(BINS, np.int64)
    best = _histogram(offered, scores, shares, bins)
    last = taken = 0
    while taken + bins[last] <= len(offered) // 2:
        taken += bins[last]
        last += 1
    bar = best - np.float32(last) / np.float32(PER_LOGIT)
    kept = 0
    for i in range(len(offered)):
        if kept < len(offered) // 2 and (taken == 0 or scores[offered[i, 1]] + shares[offered[i, 2]] >= bar):
            offered[kept] = offered[i]
            kept += 1
    return kept, bar


@njit(nogil=True, cache=True)
def promising(offered: Any, scores: Any, shares: Any, cut: Any, fewest: Any, many: Any) -> Any:
    """Which of the slots `offered` (n, 3) by a walk are to be compared, bool (n,): those expected at most `cut` below
    the best, but `fewest` at least and `many` at most, about. Also how many, of how many nodes, and the expected logit
    that they are above."""
    bins = np.empty(BINS, np.int64)
    best = _histogram(offered, scores, shares, bins)
    last = taken = 0
    while last < BINS and taken < many and (last < cut * PER_LOGIT or taken < fewest):
        taken += bins[last]
        last += 1
    bar = best - np.float32(last) / np.float32(PER_LOGIT) if last < BINS else np.float32(-np.inf)
    chosen = np.zeros(len(offered), np.bool_)
    count = nodes = 0
    before = np.int64(-1)
    for i in range(len(offered)):
        if scores[offered[i, 1]] + shares[offered[i, 2]] > bar:
            chosen[i] = True
            count += 1
            nodes += offered[i, 1] != before
            before = offered[i, 1]
    return chosen, count, nodes, bar


@njit(inline="always")
def _ask_for(at: Any, shift: Any, node: Any, size: Any) -> None:
    """A node's vector, which is compared next."""
    start = _vector_at(at, shift, node, size)
    for line in range(0, size, LINE):
        prefetch(start + line)


@njit(nogil=True, cache=True)
def shares_of(residuals: Any, scales: Any, row: Any, scale: Any) -> Any:
    """What each residual int8 (R, D) adds to a node's logit, and last the most of all: float32 (R + 1,)."""
    shares = np.empty(len(residuals) + 1, np.float32)
    shares[-1] = -np.inf
    for i in range(len(residuals)):
        shares[i] = np.float32(dot(residuals[i], row)) * scales[i] * scale
        shares[-1] = max(shares[-1], shares[i])
    return shares


@njit(nogil=True, cache=True)
def sought(
    roots: Any, root_scales: Any, root_starts: Any, residuals: Any, residual_scales: Any, nodes: Any, shift: Any,
    at: Any, width: Any, slots: Any, row: Any, scale: Any, planes: Any, low: Any, step: Any, total: Any, error: Any,
    beam: Any, scanned: Any, entered: Any, depth: Any, least: Any, most: Any, cut: Any, fewest: Any, many: Any,
    seen: Any, met: Any, scores: Any, fates: Any, heap: Any, offered: Any,
) -> Any:  # fmt: skip
    """All of one row's way through one tree: the slots to be compared, int64, and int64 (3,): nodes looked at by their
    codes, nodes compared, and nodes whose slots those are."""
    nearest = np.empty(min(beam, len(roots)), np.int64)
    count = nearest_roots(roots, root_scales, row, scale, nearest)
    gates = np.empty(entered, np.int64)
    count, looked = enter(
        numbers(nearest[:count]), root_starts, nodes, shift, at, width, planes, low, step, total, scanned, gates
    )
    shares = shares_of(residuals, residual_scales, row, scale)
    count, products, _, offers, _ = walk(
        gates[:count], nodes, shift, at, width, slots, row, scale, planes, low, step, total, error, shares, depth,
        least, most, cut, 4 * fewest, seen, met, scores, fates, heap, offered,
    )  # fmt: skip
    chosen, taken, parents, _ = promising(offered[:offers], scores, shares, cut, fewest, many)
    found = np.empty(taken, np.int64)
    size = 0
    for i in range(offers):
        if chosen[i]:
            found[size] = offered[i, 0]
            size += 1
    return found, np.array([looked + count, products, parents])


@njit(nogil=True, cache=True)
def numbers(items: Any) -> Any:
    """The numbers of items: int64 (n,)."""
    found = np.empty(len(items), np.int64)
    for i in range(len(items)):
        found[i] = number_of(items[i])
    return found


@njit(nogil=True, cache=True)
def judged(
    nodes: Any, shift: Any, at: Any, width: Any, row: Any, scale: Any, planes: Any, low: Any, step: Any, total: Any
) -> Any:
    """What a walk can know of nodes int64 (n,): their logits, and what their codes say, float32 (n,)."""
    logits, estimates = np.empty(len(nodes), np.float32), np.empty(len(nodes), np.float32)
    words = planes.shape[1]
    for i in range(len(nodes)):
        logits[i] = compared(at, shift, nodes[i], words, width, row, scale)
        estimates[i] = estimated(_row(at, shift, nodes[i], words, width), planes, low, step, total)
    return logits, estimates
