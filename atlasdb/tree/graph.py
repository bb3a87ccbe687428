"""The graph over INTER nodes: each is linked to a few that lie near it in different directions.

A walk goes from its gates to the nearest node that is linked, and on from there; `descend` walks with a row, this file
with the nodes themselves. Nodes come into the graph in batches: each of a batch walks the graph of those before it, and
of the nearest that it meets takes those that none of the taken ones is nearer to (relative neighbourhoods: Subramanya
et al., 2019, "DiskANN"); then the taken ones link back. A batch first reads the graph, then writes it, and each node's
links are written by one job: the graph is the same whatever the number of threads (Manohar et al., 2024, "ParlayANN").

    gates      the first batch: compared with each other
    the rest   in a random order; a batch is at most as large as the graph before it, and at most SHARE of all
    again      every node walks the whole graph from its own links, and chooses anew

Near is what has a large cosine: rows ask for a direction, and with lengths in it the same links found less of the
softmax. Products of int8 vectors are exact, then float32.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from atlasdb.tree.image import I32s
from atlasdb.tree.kernels import first_time, keep, packed, prefetch
from atlasdb.tree.kmeans import Tick
from atlasdb.tree.simd import dot
from atlasdb.tree.slots import Positions
from atlasdb_contract.types import Floats, Int8s, Vectors

DEGREE = 32
"""L: most links of a node. The last place is kept for `join`."""
POOL = 48
"""Nearest nodes that a walk keeps, to choose links of."""
POOL_AGAIN = 80
"""The same when nodes choose anew."""
SLACK = 1.1
"""A candidate is passed over if it is nearer to a taken one, SLACK times the squared distance, than to the node."""
SHARE = 0.04
"""Nodes in a batch, at most, in parts of all."""
JOB = 256
"""Nodes that a thread deals with at a time."""
NOWHERE = np.full((1, 1), -1, np.int32)
"""No gate: a walk goes from the node's own links."""
SEEN = 1 << 14
"""Places for the nodes that one walk has met. It stops when three quarters are taken."""


@njit(inline="always")
def _node(item: Any) -> Any:
    return (item & np.int64(0xFFFFFFFF)) >> np.int64(1)


@njit(nogil=True, cache=True)
def _walk(data: Any, inverse: Any, links: Any, node: Any, gates: Any, pool: Any, seen: Any, fresh: Any) -> Any:
    """The nodes nearest to `node` that a walk from `gates` meets: into `pool`, nearest first; how many.

    `data` int8 (B, D), `inverse` (B,) one by their lengths.
    """
    seen[:] = -1
    vector = data[node]
    width = data.shape[1]
    base = data.ctypes.data
    count = met = place = 0
    for gate in gates:
        if gate >= 0 and first_time(seen, gate):
            met += 1
            count, _ = keep(pool, count, packed(inverse[gate] * np.float32(dot(data[gate], vector)), gate))
    full = len(seen) - (len(seen) >> 2)
    while place < count and met < full:
        if pool[place] & 1:
            place += 1
            continue
        opened = _node(pool[place])
        pool[place] |= 1
        new = 0
        for other in links[opened]:
            if other < 0:
                break
            if first_time(seen, other):
                fresh[new] = other
                new += 1
                for line in range(0, width, 64):
                    prefetch(base + np.int64(other) * width + line)
        met += new
        lowest = place + 1
        for other in fresh[:new]:
            item = packed(inverse[other] * np.float32(dot(data[other], vector)), other)
            if count < len(pool) or item > pool[count - 1]:
                count, here = keep(pool, count, item)
                lowest = min(lowest, here)
        place = lowest
    return count


@njit(inline="always")
def _distance(data: Any, inverse: Any, a: Any, b: Any) -> Any:
    """Half the squared distance of two directions."""
    return np.float32(1) - np.float32(dot(data[a], data[b])) * inverse[a] * inverse[b]


@njit(nogil=True, cache=True)
def _choose(data: Any, inverse: Any, node: Any, items: Any, slack: Any, most: Any, chosen: Any) -> Any:
    """Of `items`, nearest first, those that no chosen one is nearer to: into `chosen` (L,), then -1."""
    chosen[:] = -1
    taken = 0
    for item in items:
        other = _node(item)
        if other == node:
            continue
        limit = _distance(data, inverse, node, other)
        free = True
        for j in range(taken):
            if slack * _distance(data, inverse, chosen[j], other) < limit:
                free = False
                break
        if free:
            chosen[taken] = other
            taken += 1
            if taken == most:
                break


@njit(nogil=True, cache=True)
def link(
    data: Any, inverse: Any, links: Any, nodes: Any, gates: Any, own: Any, slack: Any, kept: Any, places: Any, out: Any
) -> Any:
    """Choose links for each of `nodes` (n,): into `out` (n, L). Reads the graph only.

    A node walks from gates[own[i]] and from its links so far, which are candidates too.
    """
    width = links.shape[1]
    pool = np.empty(kept + width, np.int64)
    seen = np.empty(places, np.int32)
    fresh = np.empty(width, np.int32)
    enter = np.empty(gates.shape[1] + width, np.int32)
    for i in range(len(nodes)):
        node = nodes[i]
        enter[: gates.shape[1]] = gates[own[i]]
        enter[gates.shape[1] :] = links[node]
        count = _walk(data, inverse, links, node, enter, pool[:kept], seen, fresh)
        found = count
        for other in links[node]:
            if other < 0:
                break
            item = packed(inverse[other] * np.float32(dot(data[other], data[node])), other)
            if item < pool[found - 1] & ~np.int64(1):
                pool[count] = item
                count += 1
        pool[found:count] = np.sort(pool[found:count])[::-1]
        _choose(data, inverse, node, pool[:count], slack, width - 1, out[i])


@njit(nogil=True, cache=True)
def link_back(
    data: Any, inverse: Any, links: Any, targets: Any, starts: Any, sources: Any, slack: Any, most: Any
) -> None:
    """Give targets[i] links to sources[starts[i]:starts[i + 1]], one after the other.

    Where there is no room, a source that no link is nearer to takes the place of a link: of the farthest that it is
    nearer to, or else of the farthest.
    """
    distances = np.empty(most, np.float32)
    for i in range(len(targets)):
        node = targets[i]
        count = known = 0
        while count < most and links[node, count] >= 0:
            count += 1
        for source in sources[starts[i] : starts[i + 1]]:
            if np.any(links[node] == source):
                continue
            if count < most:
                links[node, count] = source
                count += 1
                continue
            while known < count:
                distances[known] = _distance(data, inverse, node, links[node, known])
                known += 1
            own = _distance(data, inverse, node, source)
            place = _displaced(data, inverse, links[node, :most], distances, source, own, slack)
            if place >= 0:
                links[node, place] = source
                distances[place] = own


@njit(nogil=True, cache=True)
def _displaced(data: Any, inverse: Any, links: Any, distances: Any, source: Any, own: Any, slack: Any) -> Any:
    """Whose place a source takes that is as far from the node as `own`; -1: nobody's."""
    farthest, shadowed = own, np.float32(-1)
    place = behind = -1
    for j in range(len(links)):
        between = slack * _distance(data, inverse, source, links[j])
        if distances[j] <= own:
            if between < own:
                return -1
        elif between < distances[j] and distances[j] > shadowed:
            shadowed, behind = distances[j], j
        if distances[j] > farthest:
            farthest, place = distances[j], j
    return behind if behind >= 0 else place


@njit(nogil=True, cache=True)
def _reach(links: Any, first: Any, found: Any, stack: Any) -> None:
    """Mark in `found` (B,) what is reached from the node `first`; `stack` int32 (B,) is scratch."""
    found[first] = True
    stack[0] = first
    height = 1
    while height:
        height -= 1
        for other in links[stack[height]]:
            if other < 0:
                break
            if not found[other]:
                found[other] = True
                stack[height] = other
                height += 1


@njit(nogil=True, cache=True)
def _reach_all(links: Any, gates: Any, found: Any) -> None:
    stack = np.empty(len(links), np.int32)
    for gate in gates:
        if gate >= 0 and not found[gate]:
            _reach(links, gate, found, stack)


@njit(nogil=True, cache=True)
def _join(links: Any, gate: Any, found: Any) -> None:
    """Link to each node that is not `found` from one that is: from one of its links, or else from the one before."""
    stack = np.empty(len(links), np.int32)
    last = gate
    for node in range(len(links)):
        if found[node]:
            continue
        near = last
        for other in links[node]:
            if other < 0:
                break
            if found[other] and links[other, -1] < 0:
                near = other
                break
        links[near, np.argmax(links[near] < 0)] = node
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

    data: Int8s
    inverse: Floats
    """One by each vector's length; of zeros 0."""
    links: I32s
    pool: ThreadPoolExecutor
    tick: Tick

    def take_in(self, nodes: I32s, gates: I32s, own: Positions, kept: int = POOL) -> None:
        """Link `nodes` to what they find from gates[own[i]], and that to them."""
        degree = self.links.shape[1]
        places = max(SEEN, 4 << int(gates.shape[1]).bit_length())
        chosen = np.empty((len(nodes), degree), np.int32)
        slack = np.float32(SLACK)

        def forth(start: int) -> int:
            part = slice(start, start + JOB)
            shared = (self.data, self.inverse, self.links)
            link(*shared, nodes[part], gates, own[part], slack, kept, places, chosen[part])
            return len(nodes[part])

        for done in self.pool.map(forth, range(0, len(nodes), JOB)):
            self.tick(done)
        self.links[nodes] = chosen
        targets, starts, sources = turned(nodes, chosen)

        def back(start: int) -> None:
            stop = min(start + JOB, len(targets))
            shared = (self.data, self.inverse, self.links)
            link_back(*shared, targets[start:stop], starts[start : stop + 1], sources, slack, degree - 1)

        for _ in self.pool.map(back, range(0, len(targets), JOB)):
            pass


def turned(nodes: I32s, chosen: I32s) -> tuple[I32s, Positions, I32s]:
    """Links of `nodes` (n,), `chosen` (n, L), by where they lead: targets[i] is linked from
    sources[starts[i]:starts[i + 1]].
    """
    row, place = np.nonzero(chosen >= 0)
    found = chosen[row, place]
    order = np.argsort(found, kind="stable")
    targets, starts = np.unique(found[order], return_index=True)
    return targets, np.append(starts, len(order)), nodes[row[order]]


def batches(order: I32s, before: int) -> Iterator[I32s]:
    """The nodes of `order` in batches, for a graph that has `before` nodes. Near numbers stand together in a batch."""
    most = max(JOB, round(SHARE * (len(order) + before)))
    start = 0
    while start < len(order):
        stop = start + min(most, before + start)
        yield np.sort(order[start:stop])
        start = stop


def linked(vectors: Vectors, gates: I32s, own: Positions, seed: int, threads: int, tick: Tick) -> I32s:
    """The graph over `vectors` (B, D), of which near ones have near numbers: links int32 (B, L).

    `gates` (C, E), -1 pads: where the walk of node b enters is gates[own[b]]. `tick` is told each node twice.
    """
    count = len(vectors)
    lengths = np.sqrt(np.einsum("nd,nd->n", vectors.data, vectors.data, dtype=np.int64)).astype(np.float32)
    inverse = np.where(lengths > 0, 1 / np.maximum(lengths, 1), 0).astype(np.float32)
    links = np.full((count, DEGREE), -1, np.int32)
    rng = np.random.default_rng(seed)
    with ThreadPoolExecutor(threads) as pool:
        growth = Growth(vectors.data, inverse, links, pool, tick)
        first = np.unique(gates[gates >= 0]).astype(np.int32)
        growth.take_in(first, first[None], np.zeros(len(first), np.int64))
        waiting = np.ones(count, np.bool_)
        waiting[first] = False
        order = rng.permutation(np.flatnonzero(waiting)).astype(np.int32)
        for batch in batches(order, len(first)):
            growth.take_in(batch, gates, own[batch])
        for batch in batches(np.arange(count, dtype=np.int32), count):
            growth.take_in(batch, NOWHERE, np.zeros(len(batch), np.int64), POOL_AGAIN)
    join(links, gates[:1, :1])
    return links
