"""Plan a whole tree from the keys of all entries; design (4).

    entries by head  ->  INTER nodes (one a head)  ->  ROOTs over nodes  ->  numbers  ->  links  ->  entries in order

A node is made of the mean of its keys in the metric of `whiten`: ROOTs and links are found there. The plan holds the
duals, with which a row is compared. Memory beyond the keys: 2 D + 4 L bytes a node and some 40 bytes an entry.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from atlasdb.tree import graph, kmeans, means, whiten
from atlasdb.tree.image import I32s, Positions, TreePlan
from atlasdb.tree.kmeans import Tick
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats, Progress, Vectors

Report = Callable[[Progress], None]

ROOTS = 1.0
"""There are so many times the square root of the number of nodes."""
SAMPLE = 48
"""Nodes for each ROOT that the ROOTs are found on."""
GATES = 4
"""E: nodes of each ROOT where a walk enters."""
NODE_ENTRIES = 32
"""A head of more than twice as many entries gets several nodes."""


def plan(
    keys: Vectors,
    heads: npt.NDArray[np.integer],
    seed: int = 0,
    progress: Report | None = None,
    threads: int = 2,
) -> TreePlan:
    """Keys int8 (M, D), `heads` (M,) the number of each entry's head; M from 0 up.

    `progress` is called every few thousand vectors; what it raises stops the build. The same input and seed give the
    same plan, whatever the number of threads.
    """
    if not len(keys):
        return _empty(keys.dimension)
    order, starts = by_head(keys, heads)
    metric = whiten.measure(keys, order, starts, seed)
    nodes = means.of_ranges(keys, order, starts, metric.apply, threads, _ticks(progress, "nodes", len(keys)))
    roots, own, likeness = rooted(nodes, seed, progress)
    rank = np.lexsort((positions_within(nodes, own, len(roots)), own))
    nodes, own = nodes.take(rank), own[rank]
    gates = gates_of(own, likeness[rank], len(roots))
    links = graph.linked(nodes, gates, own, seed, threads, _ticks(progress, "graph", 2 * len(nodes)))
    order, starts = _renumbered(order, starts, rank)
    return TreePlan(quantise(metric.dual(roots)), gates, means.seen(nodes, metric.dual, threads), links, starts, order)


def _ticks(progress: Report | None, stage: str, total: int) -> Tick:
    done = 0

    def tick(more: int) -> None:
        nonlocal done
        done = min(done + more, total)
        if progress is not None:
            progress(Progress(stage, done, total))

    return tick


def by_head(keys: Vectors, heads: npt.NDArray[np.integer]) -> tuple[Positions, Positions]:
    """Entries in the order of their heads, and where each node's begin: node g has order[starts[g]:starts[g + 1]].

    A large head is cut into pieces along the direction in which its keys differ most.
    """
    order = np.argsort(heads, kind="stable")
    bounds = np.flatnonzero(np.diff(heads[order])) + 1
    starts = np.concatenate([[0], bounds, [len(order)]])
    cuts = []
    for head in np.flatnonzero(np.diff(starts) > 2 * NODE_ENTRIES):
        start, stop = int(starts[head]), int(starts[head + 1])
        order[start:stop] = _along(keys, order[start:stop])
        size = max(NODE_ENTRIES, round((stop - start) ** 0.5))
        pieces = round((stop - start) / size)
        cuts.append(np.linspace(start, stop, pieces, endpoint=False)[1:].astype(np.int64))
    return order, np.sort(np.concatenate([starts, *cuts]))


def _along(keys: Vectors, members: Positions) -> Positions:
    """One head's entries, ordered by their keys' first principal direction; equal keys stay together."""
    direction = kmeans.principal(keys.take(members[:: max(1, len(members) // 256)]).floats())
    along = np.concatenate([keys.take(chunk).floats() @ direction for chunk in kmeans.chunks(members)])
    return members[np.argsort(along, kind="stable")]


def rooted(nodes: Vectors, seed: int, progress: Report | None) -> tuple[Floats, Positions, Floats]:
    """ROOTs over the nodes: unit centroids (C, D), near ones side by side; each node's own (B,), and its likeness."""
    rng = np.random.default_rng(seed)
    count = len(nodes)
    wanted = max(1, round(ROOTS * count**0.5))
    sample = np.sort(rng.choice(count, min(count, SAMPLE * wanted), replace=False))
    tick = _ticks(progress, "ROOTs", kmeans.ITERATIONS * len(sample) + count)
    roots = kmeans.fit(kmeans.unit(nodes.take(sample).floats()), wanted, seed, tick=tick)
    own, likeness = np.empty(count, np.int64), np.empty(count, np.float32)
    for chunk in kmeans.chunks(np.arange(count)):
        dots = kmeans.unit(nodes.take(chunk).floats()) @ roots.T
        own[chunk] = dots.argmax(axis=1)
        likeness[chunk] = dots[np.arange(len(chunk)), own[chunk]]
        tick(len(chunk))
    inhabited = np.flatnonzero(np.bincount(own, minlength=len(roots)))
    inhabited = inhabited[kmeans.lined_up(roots[inhabited])]
    number = np.zeros(len(roots), np.int64)
    number[inhabited] = np.arange(len(inhabited))
    return roots[inhabited], number[own], likeness


def positions_within(nodes: Vectors, own: Positions, roots: int) -> Floats:
    """Where each node stands among those of its ROOT, along the direction in which they differ most: (B,)."""
    place = np.empty(len(nodes), np.float32)
    for members in kmeans.groups(own, roots):
        vectors = nodes.take(members).floats()
        place[members] = vectors @ kmeans.principal(vectors)
    return place


def gates_of(own: Positions, likeness: Floats, roots: int) -> I32s:
    """The nodes most like each ROOT among its own: int32 (C, E)."""
    gates = np.full((roots, GATES), -1, np.int32)
    order = np.lexsort((-likeness, own))
    turn = np.arange(len(own)) - np.searchsorted(own[order], own[order])
    first = turn < GATES
    gates[own[order[first]], turn[first]] = order[first]
    return gates


def _renumbered(order: Positions, starts: Positions, rank: Positions) -> tuple[Positions, Positions]:
    """Entries and where each node's begin, for nodes in the order of `rank` (B,)."""
    sizes = np.diff(starts)[rank]
    moved = np.concatenate([[0], np.cumsum(sizes)])
    return order[np.repeat(starts[rank] - moved[:-1], sizes) + np.arange(len(order))], moved


def _empty(dimension: int) -> TreePlan:
    """The plan of no entry."""
    nothing = Vectors(np.zeros((0, dimension), np.int8), np.zeros(0, np.float32))
    none = np.zeros(0, np.int64)
    links = np.zeros((0, graph.DEGREE), np.int32)
    return TreePlan(nothing, np.zeros((0, GATES), np.int32), nothing, links, np.zeros(1, np.int64), none)
