"""The graph over INTER nodes: each is linked to a few that lie near it in different directions.

A walk goes from its gates to the nearest node that is linked, and on from there; `descend` walks with a row, this file
with the nodes themselves. Nodes come into the graph in batches: each of a batch walks the graph of those before it, and
of the nearest that it meets takes those that none of the taken ones is nearer to (relative neighbourhoods: Subramanya
et al., 2019, "DiskANN"); then the taken ones link back. A batch first reads the graph, then writes it, and each node's
links are written by one job: the graph is the same whatever the number of threads (Manohar et al., 2024, "ParlayANN").

    gates      the first batch: compared with each other
    the rest   in a random order; a batch is at most as large as the graph before it, and at most SHARE of all
    again      every node walks the whole graph and chooses anew

Distances are squared ones between int8 vectors: exact products, then float32.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from atlasdb_contract.types import Floats, Int8s, Vectors

I32s = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]
Tick = Callable[[int], None]
"""Told how many vectors a step has dealt with; may raise to stop it."""

DEGREE = 32
"""L: most links of a node. The last place is kept for `joined`."""
POOL = 96
"""Nearest nodes that a walk keeps, to choose links of."""
SLACK = 1.1
"""A candidate is passed over if SLACK times its squared distance to a taken one is below that to the node."""
AGAIN = 1
"""How often every node chooses anew at the end."""
SHARE = 0.04
"""Nodes in a batch, at most, in parts of all."""
JOB = 256
"""Nodes that a thread deals with at a time."""
SEEN = 1 << 14
"""Places for the nodes that one walk has met. It stops when three quarters are taken."""

_compiled: Any = numba.njit(nogil=True, cache=True, boundscheck=False)


@_compiled
def _dot(a, b):
    total = np.int32(0)
    for i in range(a.shape[0]):
        total = np.int32(total + np.int32(np.int32(a[i]) * np.int32(b[i])))
    return total


@intrinsic
def _prefetch(context: Any, address: Any) -> Any:
    """Have the line of memory at `address` brought near."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        number = ir.IntType(32)
        pointer = builder.inttoptr(arguments[0], ir.PointerType())
        kind = ir.FunctionType(ir.VoidType(), [ir.PointerType(), number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, ir.Constant(number, 0), ir.Constant(number, 3), ir.Constant(number, 1)])
        return context.get_dummy_value()

    return types.void(types.intp), generate


@_compiled
def _key(value, node):
    """Sorts by value, then by number; one bit is free."""
    bits = np.int64(np.float32(value).view(np.int32))
    if bits < 0:
        bits ^= np.int64(0x7FFFFFFF)
    return (bits << np.int64(32)) | np.int64(node << 1)


@_compiled
def _put(pool, count, key):
    """Into the falling `pool`, if it is large enough: the new count, and the key's place or the old count."""
    if count == len(pool):
        if key <= pool[count - 1]:
            return count, count
        place = count - 1
    else:
        place = count
        count += 1
    low, high = 0, place
    while low < high:
        middle = (low + high) >> 1
        if pool[middle] < key:
            high = middle
        else:
            low = middle + 1
    while place > low:
        pool[place] = pool[place - 1]
        place -= 1
    pool[low] = key
    return count, low


@_compiled
def _meet(seen, node):
    """Is the node new? Then it is written down."""
    mask = np.uint32(len(seen) - 1)
    place = ((np.uint32(node) * np.uint32(2654435761)) >> np.uint32(7)) & mask
    while seen[place] != -1 and seen[place] != node:
        place = (place + np.uint32(1)) & mask
    if seen[place] == node:
        return False
    seen[place] = node
    return True


@_compiled
def _walk(data, scale, norm, links, node, gates, pool, seen, fresh):
    """The nodes nearest to `node` that a walk from `gates` meets: keys in `pool`, nearest first; how many."""
    seen[:] = -1
    vector = data[node]
    width = data.shape[1]
    base = data.ctypes.data
    double = np.float32(2) * scale[node]
    count = 0
    met = 0
    for gate in gates:
        if gate >= 0 and _meet(seen, gate):
            met += 1
            value = double * scale[gate] * np.float32(_dot(data[gate], vector)) - norm[gate]
            count, _ = _put(pool, count, _key(value, gate))
    at = 0
    full = len(seen) - (len(seen) >> 2)
    while at < count and met < full:
        if pool[at] & 1:
            at += 1
            continue
        open_node = np.int64(pool[at] & 0xFFFFFFFF) >> 1
        pool[at] |= 1
        lowest = at + 1
        new = 0
        for j in range(links.shape[1]):
            other = links[open_node, j]
            if other < 0:
                break
            if _meet(seen, other):
                fresh[new] = other
                new += 1
                address = base + np.int64(other) * width
                for line in range(0, width, 64):
                    _prefetch(address + line)
        met += new
        for j in range(new):
            other = fresh[j]
            value = double * scale[other] * np.float32(_dot(data[other], vector)) - norm[other]
            count, place = _put(pool, count, _key(value, other))
            lowest = min(lowest, place)
        at = lowest
    return count


@_compiled
def _distance(data, scale, norm, a, b):
    return norm[a] + norm[b] - np.float32(2) * np.float32(_dot(data[a], data[b])) * scale[a] * scale[b]


@_compiled
def _choose(data, scale, norm, node, candidates, count, most, slack, chosen):
    """Of `candidates` (nearest first) those that no chosen one is nearer to: into `chosen`; how many."""
    taken = 0
    for i in range(count):
        other = candidates[i]
        if other == node:
            continue
        limit = _distance(data, scale, norm, node, other)
        free = True
        for j in range(taken):
            if chosen[j] == other or slack * _distance(data, scale, norm, chosen[j], other) < limit:
                free = False
                break
        if free:
            chosen[taken] = other
            taken += 1
            if taken == most:
                break
    return taken


@_compiled
def _link(data, scale, norm, links, nodes, gates, own, most, slack, kept, places, out):
    """Choose links for each of `nodes` (n,), walking from gates[own[i]]: into `out` (n, L). Reads the graph only.

    A node's links so far are candidates too.
    """
    pool = np.empty(kept + links.shape[1], np.int64)
    seen = np.empty(places, np.int32)
    fresh = np.empty(links.shape[1], np.int32)
    candidates = np.empty(len(pool), np.int64)
    for i in range(len(nodes)):
        node = nodes[i]
        count = _walk(data, scale, norm, links, node, gates[own[i]], pool[:kept], seen, fresh)
        for j in range(count):
            candidates[j] = np.int64(pool[j] & 0xFFFFFFFF) >> 1
        found = count
        for j in range(links.shape[1]):
            other = links[node, j]
            if other < 0:
                break
            known = False
            for m in range(found):
                known |= candidates[m] == other
            if not known:
                value = np.float32(2) * scale[node] * scale[other] * np.float32(_dot(data[other], data[node])) - norm[other]
                pool[count] = _key(value, other)
                count += 1
        if count > found:
            pool[:count] = np.sort(pool[:count])[::-1]
            for j in range(count):
                candidates[j] = np.int64(pool[j] & 0xFFFFFFFF) >> 1
        out[i, :] = -1
        _choose(data, scale, norm, node, candidates, count, most, slack, out[i])


@_compiled
def _link_back(data, scale, norm, links, targets, starts, sources, most, slack):
    """Give targets[i] links to sources[starts[i]:starts[i + 1]], one after the other.

    Where there is no room a source that no link is nearer to takes the place of the farthest link that it is nearer to,
    or else of the farthest.
    """
    distances = np.empty(most, np.float32)
    for i in range(len(targets)):
        node = targets[i]
        count = 0
        while count < most and links[node, count] >= 0:
            count += 1
        known = 0
        for at in range(starts[i], starts[i + 1]):
            source = sources[at]
            there = False
            for j in range(count):
                there |= links[node, j] == source
            if there:
                continue
            if count < most:
                links[node, count] = source
                count += 1
                continue
            while known < count:
                distances[known] = _distance(data, scale, norm, node, links[node, known])
                known += 1
            own = _distance(data, scale, norm, node, source)
            farthest = own
            place = -1
            seen_by = False
            for j in range(count):
                between = slack * _distance(data, scale, norm, source, links[node, j])
                if distances[j] <= own:
                    if between < own:
                        place = -1
                        break
                elif between < distances[j]:
                    if not seen_by or distances[j] > farthest:
                        farthest = distances[j]
                        place = j
                        seen_by = True
                elif not seen_by and distances[j] > farthest:
                    farthest = distances[j]
                    place = j
            if place >= 0:
                links[node, place] = source
                distances[place] = own


@_compiled
def _reach(links, first, found, stack):
    """Mark in `found` (B,) what is reached from the node `first`, which is not yet; `stack` int32 (B,) is scratch."""
    found[first] = True
    stack[0] = first
    height = 1
    while height:
        height -= 1
        node = stack[height]
        for j in range(links.shape[1]):
            other = links[node, j]
            if other < 0:
                break
            if not found[other]:
                found[other] = True
                stack[height] = other
                height += 1


@_compiled
def _reach_all(links, gates, found):
    stack = np.empty(len(links), np.int32)
    for gate in gates:
        if gate >= 0 and not found[gate]:
            _reach(links, gate, found, stack)


@_compiled
def _room(links, node):
    """The first free place of a node's links, or L."""
    place = 0
    while place < links.shape[1] and links[node, place] >= 0:
        place += 1
    return place


@_compiled
def _join(links, gate, found):
    """Link to each node that is not `found` from one that is: from one of its links, or else from the one before."""
    stack = np.empty(len(links), np.int32)
    last = gate
    for node in range(len(links)):
        if found[node]:
            continue
        near = last
        for j in range(links.shape[1]):
            other = links[node, j]
            if other < 0:
                break
            if found[other] and _room(links, other) < links.shape[1]:
                near = other
                break
        links[near, _room(links, near)] = node
        _reach(links, node, found, stack)
        last = node


def reached(links: I32s, gates: I32s) -> npt.NDArray[np.bool_]:
    """Which nodes a walk can come to: (B,)."""
    found = np.zeros(len(links), np.bool_)
    _reach_all(links, gates.ravel(), found)
    return found


def join(links: I32s, gates: I32s) -> None:
    """Have all nodes reached, by links in the last places, one of which every node must have free."""
    _join(links, gates[0, 0], reached(links, gates))


@dataclass(frozen=True, slots=True)
class Growth:
    """A graph that grows: what its steps share."""

    vectors: Vectors
    norms: Floats
    links: I32s
    pool: ThreadPoolExecutor
    tick: Tick

    def take_in(self, nodes: I32s, gates: I32s, own: Positions) -> None:
        """Link `nodes` to what they find from gates[own[i]], and that to them."""
        data, scale = self.vectors.data, self.vectors.scales
        degree = self.links.shape[1]
        places = max(SEEN, 2 << int(gates.shape[1]).bit_length())
        out = np.empty((len(nodes), degree), np.int32)
        wide = (degree - 1, np.float32(SLACK))

        def link(start: int) -> int:
            part = slice(start, start + JOB)
            _link(data, scale, self.norms, self.links, nodes[part], gates, own[part], *wide, POOL, places, out[part])
            return len(nodes[part])

        for done in self.pool.map(link, range(0, len(nodes), JOB)):
            self.tick(done)
        self.links[nodes] = out
        row, place = np.nonzero(out >= 0)
        targets = out[row, place]
        order = np.argsort(targets, kind="stable")
        sources = nodes[row[order]]
        found, starts = np.unique(targets[order], return_index=True)
        starts = np.append(starts, len(sources))

        def back(start: int) -> None:
            stop = min(start + JOB, len(found))
            _link_back(
                data, scale, self.norms, self.links, found[start:stop], starts[start : stop + 1], sources, *wide
            )

        for _ in self.pool.map(back, range(0, len(found), JOB)):
            pass


def batches(order: I32s, before: int) -> Iterator[I32s]:
    """The nodes of `order` in batches, for a graph that has `before` nodes."""
    most = max(JOB, round(SHARE * (len(order) + before)))
    start = 0
    while start < len(order):
        stop = start + min(most, before + start)
        yield order[start:stop]
        start = stop


def linked(vectors: Vectors, gates: I32s, own: Positions, seed: int, threads: int, tick: Tick, again: int = AGAIN) -> I32s:
    """The graph over `vectors` (B, D): links int32 (B, L).

    `gates` (C, E), -1 pads: where the walk of node b enters is gates[own[b]].
    """
    count = len(vectors)
    norms = (np.einsum("nd,nd->n", vectors.data, vectors.data, dtype=np.int64) * vectors.scales**2).astype(np.float32)
    links = np.full((count, DEGREE), -1, np.int32)
    with ThreadPoolExecutor(threads) as pool:
        growth = Growth(vectors, norms, links, pool, tick)
        first = np.unique(gates[gates >= 0]).astype(np.int32)
        growth.take_in(first, first[None], np.zeros(len(first), np.int64))
        waiting = np.ones(count, np.bool_)
        waiting[first] = False
        order = np.random.default_rng(seed).permutation(np.flatnonzero(waiting)).astype(np.int32)
        for batch in batches(order, len(first)):
            growth.take_in(batch, gates, own[batch])
        for _ in range(again):
            for batch in batches(np.arange(count, dtype=np.int32), count):
                growth.take_in(batch, gates, own[batch])
    join(links, gates)
    return links
