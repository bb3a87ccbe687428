"""Residual codes: a byte for each slot that says about how its key differs from the mean of its node's keys.

The keys of one head differ by their relations, and all heads differ by the same ones: a few hundred typical differences
(the codebook of IVFADC, Jegou et al. 2011, whose cells are our nodes) tell a slot's logit well enough to leave most
slots of the nodes that a walk met unread.
"""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import numpy.typing as npt

from atlasdb.tree import kmeans, means
from atlasdb.tree.kmeans import Tick
from atlasdb.tree.slots import Positions
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats, Vectors

RESIDUALS = 256
SAMPLE = 64
"""Slots for each residual that they are found on."""
NODES = 4096
"""Nodes dealt with at a time."""

Codes = npt.NDArray[np.uint8]


def fitted(
    keys: Vectors, order: Positions, starts: Positions, seed: int, threads: int, tick: Tick
) -> tuple[Vectors, Codes]:
    """The typical differences int8 (R, D), R at least 1, and the nearest one's number for each slot: uint8 (K,).

    The slots are `keys` in `order` (K,); node b has order[starts[b]:starts[b + 1]]. `tick` is told of slots.
    """
    rng = np.random.default_rng(seed)
    nodes = np.sort(rng.permutation(len(starts) - 1)[: SAMPLE * RESIDUALS])
    nodes = nodes[np.cumsum(np.diff(starts)[nodes]) <= max(SAMPLE * RESIDUALS, np.diff(starts)[nodes[0]])]
    sample = np.concatenate([_of_nodes(keys, order, starts, node, node + 1) for node in nodes.tolist()])
    book = quantise(lloyd(sample, min(RESIDUALS, max(1, len(sample) // SAMPLE)), rng))
    codes = np.empty(len(order), np.uint8)
    floats = book.floats()

    def work(first: int) -> int:
        stop = min(first + NODES, len(starts) - 1)
        codes[starts[first] : starts[stop]] = nearest(_of_nodes(keys, order, starts, first, stop), floats)
        return int(starts[stop] - starts[first])

    with ThreadPoolExecutor(threads) as pool:
        for done in pool.map(work, range(0, len(starts) - 1, NODES)):
            tick(done)
    return book, codes


def _of_nodes(keys: Vectors, order: Positions, starts: Positions, first: int, stop: int) -> Floats:
    """The keys of the slots of some nodes, less their node's mean: float32 (n, D)."""
    middle = means.averages(keys, order, starts[first : stop + 1])
    vectors = keys.take(order[starts[first] : starts[stop]]).floats()
    vectors -= np.repeat(middle, np.diff(starts[first : stop + 1]), axis=0)
    return vectors


def nearest(vectors: Floats, book: Floats) -> Codes:
    """The nearest of a book (R, D), R at most 256, for each vector (n, D)."""
    half = np.einsum("rd,rd->r", book, book) / 2
    found = np.empty(len(vectors), np.uint8)
    for start in range(0, len(vectors), kmeans.CHUNK):
        part = slice(start, start + kmeans.CHUNK)
        found[part] = (vectors[part] @ book.T - half).argmax(axis=1)
    return found


def lloyd(vectors: Floats, clusters: int, rng: np.random.Generator) -> Floats:
    """Means of `clusters` groups of near vectors (n, D): float32 (clusters, D). A mean that loses all stays."""
    book = vectors[rng.choice(len(vectors), clusters, replace=False)]
    for _ in range(kmeans.ITERATIONS):
        owner = nearest(vectors, book).astype(np.int64)
        sizes = np.bincount(owner, minlength=clusters)
        book = np.where(sizes[:, None] > 0, kmeans.sums(vectors, owner, clusters) / np.maximum(sizes, 1)[:, None], book)
    return book.astype(np.float32)
