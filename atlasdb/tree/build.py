"""Plan a whole tree from the keys of all entries; design (4).

    equal keys of a head: one slot  ->  INTER nodes (one a head)  ->  ROOTs  ->  numbers  ->  links  ->  residuals

A node is made of the mean of its slots' keys in the metric of `whiten`: ROOTs and links are found there. The plan holds
the duals, with which a row is compared. Memory beyond the keys: 2 D + 4 L bytes a node and some 100 bytes an entry.
"""

from collections.abc import Callable

import numpy as np

from atlasdb import siphash
from atlasdb.tree import graph, kmeans, means, residuals, whiten
from atlasdb.tree.image import I32s, TreePlan
from atlasdb.tree.kmeans import Tick
from atlasdb.tree.slots import Positions, Slots, ragged
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats, Ids, Progress, Vectors

Report = Callable[[Progress], None]

ROOTS = 1.0
"""There are so many times the square root of the number of nodes."""
SAMPLE = 48
"""Nodes for each ROOT that the ROOTs are found on."""
GATES = 4
"""Nodes of each ROOT where the walks of the graph's making enter."""
NODE_SLOTS = 32
"""A head of more than twice as many slots gets several nodes."""


def plan(given: Slots, seed: int = 0, progress: Report | None = None, threads: int = 2) -> TreePlan:
    """A tree of slots, from none up, in any order; those of one subject with equal keys become one.

    `progress` is called every few thousand vectors; what it raises stops the build. The same input and seed give the
    same plan, whatever the number of threads.
    """
    keys = given.keys
    if not len(given):
        return _empty(keys.dimension)
    members, bounds = distinct(given)
    group, starts = by_head(given, members, bounds)
    order = members[bounds[group]]
    metric = whiten.measure(keys, order, starts, seed)
    nodes = means.of_ranges(keys, order, starts, metric.apply, threads, _ticks(progress, "nodes", len(order)))
    roots, own, likeness = rooted(nodes, seed, progress)
    rank = np.lexsort((positions_within(nodes, own, len(roots)), own))
    nodes, own = nodes.take(rank), own[rank]
    gates = gates_of(own, likeness[rank], len(roots))
    links = graph.linked(nodes, gates, own, seed, threads, _ticks(progress, "graph", 2 * len(nodes)))
    within, starts = ragged(starts, rank)
    inter = means.seen(nodes, metric.dual, threads)
    order = order[within]
    told = residuals.fitted(keys, order, starts, seed, threads, _ticks(progress, "residuals", len(order)))
    entries = _entries(given, members, bounds, group[within])
    root_starts = np.searchsorted(own, np.arange(len(roots) + 1))
    return TreePlan(quantise(metric.dual(roots)), root_starts, inter, links, starts, order, *entries, *told)


def _ticks(progress: Report | None, stage: str, total: int) -> Tick:
    done = 0

    def tick(more: int) -> None:
        nonlocal done
        done = min(done + more, total)
        if progress is not None:
            progress(Progress(stage, done, total))

    return tick


def distinct(given: Slots) -> tuple[Positions, Positions]:
    """The slots by subject, those with equal keys together: int64 (S,), and where each such group begins (K + 1,).

    Groups of a subject are in the order of their first entries, and so are the slots of a group.
    """
    prints = siphash.of_rows(given.keys.data.view(np.uint8), _NO_SALT)
    prints[:, 0] ^= given.keys.scales.view(np.uint32)
    first = given.ids[given.starts[:-1]]
    order = np.lexsort((first, prints[:, 1], prints[:, 0], given.subjects))
    parts = (given.subjects[order], prints[order, 0], prints[order, 1])
    new = np.ones(len(order), np.bool_)
    new[1:] = np.logical_or.reduce([part[1:] != part[:-1] for part in parts])
    bounds = np.append(np.flatnonzero(new), len(order))
    leading = order[bounds[:-1]]
    within, bounds = ragged(bounds, np.lexsort((first[leading], given.subjects[leading])))
    return order[within], bounds


_NO_SALT = (0, 0)
"""Who makes two keys of equal prints by design spoils their own entries alone: a print joins only keys of one head."""


def by_head(given: Slots, members: Positions, bounds: Positions) -> tuple[Positions, Positions]:
    """Groups of `distinct` in the order of their heads, (K,), and where each node's begin: node g has the groups
    starts[g] .. starts[g + 1].

    A large head is cut into pieces along the direction in which its keys differ most.
    """
    leading = members[bounds[:-1]]
    heads = given.subjects[leading]
    group = np.arange(len(heads))
    starts = np.concatenate([[0], np.flatnonzero(heads[1:] != heads[:-1]) + 1, [len(heads)]])
    cuts = []
    for head in np.flatnonzero(np.diff(starts) > 2 * NODE_SLOTS):
        start, stop = int(starts[head]), int(starts[head + 1])
        group[start:stop] = group[start:stop][_along(given.keys, leading[start:stop])]
        size = max(NODE_SLOTS, round((stop - start) ** 0.5))
        pieces = round((stop - start) / size)
        cuts.append(np.linspace(start, stop, pieces, endpoint=False)[1:].astype(np.int64))
    return group, np.sort(np.concatenate([starts, *cuts]))


def _along(keys: Vectors, members: Positions) -> Positions:
    """How one head's keys are ordered by their first principal direction."""
    direction = kmeans.principal(keys.take(members[:: max(1, len(members) // 256)]).floats())
    along = np.concatenate([keys.take(chunk).floats() @ direction for chunk in kmeans.chunks(members)])
    return np.argsort(along, kind="stable")


def _entries(given: Slots, members: Positions, bounds: Positions, group: Positions) -> tuple[Positions, Ids, Ids]:
    """The entries of groups (K,): where those of each begin, (K + 1,), ids and value ids, (M,)."""
    within, parts = ragged(bounds, group)
    at, starts = ragged(given.starts, members[within])
    starts, ids = starts[parts], given.ids[at]
    falls = ids[1:] < ids[:-1]
    falls[starts[1:-1] - 1] = False
    if falls.any():
        order = np.lexsort((ids, np.repeat(np.arange(len(group)), np.diff(starts))))
        ids, at = ids[order], at[order]
    return starts, ids, given.value_ids[at]


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


def _empty(dimension: int) -> TreePlan:
    """The plan of no entry."""
    nothing = Vectors(np.zeros((0, dimension), np.int8), np.zeros(0, np.float32))
    none = np.zeros(0, np.int64)
    links = np.zeros((0, graph.DEGREE), np.int32)
    begin, no_ids = np.zeros(1, np.int64), np.zeros(0, np.uint64)
    return TreePlan(nothing, begin, nothing, links, begin, none, begin, no_ids, no_ids, nothing, none.astype(np.uint8))
