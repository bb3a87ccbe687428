"""Plan a whole tree from the keys of all entries; design (4).

    entries by head  ->  guides (one a head)  ->  ROOTs over guides  ->  links guide - ROOTs  ->  INTER nodes

INTER nodes are cut from the guides in the order of their nearest ROOTs, so that those that stand together on disk are
near each other. Memory beyond the keys: a guide's D bytes and some 40 bytes an entry; vectors are floats by the chunk.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from atlasdb.tree import kmeans, listing, whiten
from atlasdb.tree.image import Nodes, TreePlan, U32s
from atlasdb.tree.kmeans import Positions
from atlasdb.tree.whiten import Metric
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats, Progress, Vectors

ROOT_POWER = 0.75
"""There are guides^ROOT_POWER ROOTs, so that a ROOT lists guides^(1/4) guides of its own: 16 of 67,000."""
POSTING_ENTRIES = 16
"""Entries in a posting, about: at D = 384 some 7 KiB."""
GUIDE_ENTRIES = 32
"""A head of more than twice as many entries gets several guides."""
REFINE = 2


def plan(
    keys: Vectors, heads: npt.NDArray[np.integer], seed: int = 0, progress: Callable[[Progress], None] | None = None
) -> TreePlan:
    """Keys int8 (M, D), `heads` (M,) the number of each entry's head; M from 0 up.

    `progress` is called every few thousand vectors; what it raises stops the build. The same input and seed give the
    same plan.
    """
    if not len(keys):
        return _empty(keys.dimension)
    order, starts = by_head(keys, heads)
    metric = whiten.measure(keys, order, starts, seed)
    guides = _centroids(keys, order, starts, metric, _ticks(progress, "guides", len(keys)))

    def load(positions: Positions) -> Floats:
        return kmeans.unit(guides.take(positions).floats())

    count = len(guides)
    tick = _ticks(progress, "clusters", count * (5 + REFINE))
    roots = kmeans.fit_grouped(load, count, round(count**ROOT_POWER), seed, REFINE, tick)
    links = listing.links(load, count, roots, tick)
    seen = Vectors(guides.data, guides.scales)
    for chunk in kmeans.chunks(np.arange(count)):
        piece = quantise(metric.dual(guides.take(chunk).floats()))
        seen.data[chunk], seen.scales[chunk] = piece.data, piece.scales
    return _assemble(metric, seen, quantise(metric.dual(roots.centroids)), links, order, starts)


def _ticks(progress: Callable[[Progress], None] | None, stage: str, total: int) -> kmeans.Tick:
    done = 0

    def tick(more: int) -> None:
        nonlocal done
        done = min(done + more, total)
        if progress is not None:
            progress(Progress(stage, done, total))

    return tick


def by_head(keys: Vectors, heads: npt.NDArray[np.integer]) -> tuple[Positions, Positions]:
    """Entries in the order of their heads, and where each guide's begin: guide g has order[starts[g]:starts[g + 1]].

    A large head is cut into pieces along the direction in which its keys differ most.
    """
    order = np.argsort(heads, kind="stable")
    bounds = np.flatnonzero(np.diff(heads[order])) + 1
    starts = np.concatenate([[0], bounds, [len(order)]])
    cuts = []
    for head in np.flatnonzero(np.diff(starts) > 2 * GUIDE_ENTRIES):
        start, stop = int(starts[head]), int(starts[head + 1])
        order[start:stop] = _along(keys, order[start:stop])
        size = max(GUIDE_ENTRIES, round((stop - start) ** 0.5))
        pieces = round((stop - start) / size)
        cuts.append(np.linspace(start, stop, pieces, endpoint=False)[1:].astype(np.int64))
    return order, np.sort(np.concatenate([starts, *cuts]))


def _along(keys: Vectors, members: Positions) -> Positions:
    """One head's entries, ordered by their keys' first principal direction; equal keys stay together."""
    sample = keys.take(members[:: max(1, len(members) // 512)]).floats()
    direction = np.linalg.svd(sample - sample.mean(axis=0), full_matrices=False)[2][0]
    along = np.concatenate([keys.take(chunk).floats() @ direction for chunk in kmeans.chunks(members)])
    return members[np.argsort(along, kind="stable")]


def _centroids(keys: Vectors, order: Positions, starts: Positions, metric: Metric, tick: kmeans.Tick) -> Vectors:
    """The guides: means of their entries' keys in the metric, as int8 (G, D)."""
    count = len(starts) - 1
    data = np.empty((count, keys.dimension), np.int8)
    scales = np.empty(count, np.float32)
    step = np.searchsorted(starts, np.arange(0, len(order), kmeans.CHUNK), side="left")
    for first, last in zip(step, [*step[1:], count], strict=True):
        if first < last:
            vectors = keys.take(order[starts[first] : starts[last]]).floats()
            sizes = np.diff(starts[first : last + 1])
            means: Floats = np.add.reduceat(vectors, starts[first:last] - starts[first])
            means /= sizes[:, None]
            piece = quantise(metric.apply(means))
            data[first:last], scales[first:last] = piece.data, piece.scales
            tick(len(vectors))
    return Vectors(data, scales)


def _assemble(
    metric: Metric, guides: Vectors, roots: Vectors, links: U32s, order: Positions, starts: Positions
) -> TreePlan:
    """Number the guides by ROOT and INTER node, and count."""
    rank = np.lexsort(links.T[::-1])
    sizes = np.diff(starts)
    node = cut(links[rank, 0], sizes[rank])
    parents = np.append(links[rank, 0][np.flatnonzero(np.diff(node, prepend=-1))], np.uint32(len(roots) - 1))
    counts = np.append(np.bincount(node, weights=sizes[rank]), 0).astype(np.uint32)
    guide_node = np.empty(len(rank), np.uint32)
    guide_node[rank] = node
    node_of = np.empty(len(order), np.uint32)
    node_of[order] = np.repeat(guide_node, sizes)
    below = np.bincount(parents, weights=counts, minlength=len(roots)).astype(np.uint32)
    ordered = Nodes(guides.take(rank), sizes[rank].astype(np.uint32), node.astype(np.uint32), links[rank])
    inter = Nodes(_means(ordered, metric.mean), counts, parents, np.zeros((len(counts), 0), np.uint32))
    return TreePlan(
        Nodes(roots, below, np.zeros(len(roots), np.uint32), np.zeros((len(roots), 0), np.uint32)),
        inter,
        ordered,
        node_of,
    )


def cut(roots: U32s, sizes: Positions) -> Positions:
    """The INTER node of each guide, rising from 0, for guides in the order of their `roots` (G,) with `sizes` entries.

    A ROOT's guides are cut into even nodes of about POSTING_ENTRIES entries.
    """
    first = np.flatnonzero(np.diff(roots.astype(np.int64), prepend=-1))
    group = np.repeat(np.arange(len(first)), np.diff(first, append=len(roots)))
    before = np.cumsum(sizes) - sizes
    total = np.add.reduceat(sizes, first)
    pieces = np.maximum(1, np.rint(total / POSTING_ENTRIES)).astype(np.int64)
    piece = (before - before[first][group]) * pieces[group] // total[group]
    fresh = (np.diff(group, prepend=-1) != 0) | (np.diff(piece, prepend=-1) != 0)
    return np.cumsum(fresh) - 1


def _means(guides: Nodes, newcomers: Floats) -> Vectors:
    """INTER centroids: the mean of each node's guides, weighted by their entries, and last that of the newcomers."""
    parts = []
    nodes = int(guides.parents[-1]) + 1
    for start in range(0, nodes, kmeans.CHUNK):
        stop = min(start + kmeans.CHUNK, nodes)
        low, high = np.searchsorted(guides.parents, [start, stop])
        owner = guides.parents[low:high].astype(np.int64) - start
        weights = guides.counts[low:high].astype(np.float32)
        total = kmeans.sums(guides.vectors.take(slice(low, high)).floats() * weights[:, None], owner, stop - start)
        parts.append(quantise(total / np.bincount(owner, weights).astype(np.float32)[:, None]))
    parts.append(quantise(newcomers[None]))
    return Vectors(np.concatenate([part.data for part in parts]), np.concatenate([part.scales for part in parts]))


def _empty(dimension: int) -> TreePlan:
    """The plan of no entry: all that comes are newcomers."""
    bare = Nodes.zeros(1, dimension)
    return TreePlan(bare, bare, Nodes.zeros(0, dimension), np.zeros(0, np.uint32))
