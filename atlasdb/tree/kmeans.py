"""Spherical k-means, and what else puts near vectors together.

Centroids are unit vectors and nearness is the dot product, because that is how a descent compares a row with a node: a
mean of scattered vectors is short and would lose every comparison to the mean of a tight few.
"""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt

from atlasdb.tree.slots import Positions
from atlasdb_contract.types import Floats

Tick = Callable[[int], None]
"""Told how many vectors a step has dealt with; may raise to stop it."""
ITERATIONS = 8
CHUNK = 8192
"""Vectors in one matrix product."""


def ignore(done: int) -> None:
    """A Tick that nobody listens to."""


def unit(vectors: Floats) -> Floats:
    """Scaled to length 1; a zero vector stays zero. float32 (N, D)."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: Floats = vectors / np.maximum(lengths, np.float32(1e-12))
    return scaled


def nearest(vectors: Floats, centroids: Floats) -> npt.NDArray[np.int64]:
    """The centroid with the largest dot product, for each of N vectors: (N,)."""
    found = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), CHUNK):
        np.argmax(vectors[start : start + CHUNK] @ centroids.T, axis=1, out=found[start : start + CHUNK])
    return found


def sums(vectors: Floats, owner: npt.NDArray[np.int64], owners: int) -> Floats:
    """Sum of the vectors of each owner: float32 (owners, D)."""
    total = np.zeros((owners, vectors.shape[1]), np.float32)
    if len(vectors):
        order = np.argsort(owner, kind="stable")
        ordered = owner[order]
        first = np.flatnonzero(np.diff(ordered, prepend=-1))
        total[ordered[first]] = np.add.reduceat(vectors[order], first, axis=0)
    return total


def fit(vectors: Floats, clusters: int, seed: int = 0, iterations: int = ITERATIONS, tick: Tick = ignore) -> Floats:
    """Unit centroids of unit `vectors` (N, D): float32 (min(clusters, N), D).

    A cluster that loses all its vectors begins again at one of those that fit their centroid worst.
    """
    rng = np.random.default_rng(seed)
    clusters = min(clusters, len(vectors))
    centroids = vectors[np.sort(rng.choice(len(vectors), clusters, replace=False))]
    if clusters == len(vectors):
        return centroids
    for _ in range(iterations):
        owner = nearest(vectors, centroids)
        empty = np.flatnonzero(np.bincount(owner, minlength=clusters) == 0)
        if len(empty):
            fits = np.einsum("nd,nd->n", vectors, centroids[owner])
            owner[np.argpartition(fits, len(empty) - 1)[: len(empty)]] = empty
        moved = sums(vectors, owner, clusters)
        kept = np.linalg.norm(moved, axis=1) > 0
        centroids = np.where(kept[:, None], unit(moved), centroids)
        tick(len(vectors))
    return centroids


def principal(vectors: Floats, steps: int = 8) -> Floats:
    """About the direction in which N >= 1 vectors differ most: float32 (D,), by power iteration."""
    centred = vectors - vectors.mean(axis=0)
    direction = centred[np.argmax(np.einsum("nd,nd->n", centred, centred))]
    for _ in range(steps):
        length = np.linalg.norm(direction)
        if length <= 1e-12:
            break
        direction = centred.T @ (centred @ (direction / length))
    found: Floats = direction / max(float(np.linalg.norm(direction)), 1e-12)
    return found


def lined_up(vectors: Floats) -> Positions:
    """An order of N vectors in which near ones mostly stand side by side: halved along `principal` again and again."""
    order = np.arange(len(vectors))
    ranges = [(0, len(vectors))]
    while ranges:
        start, stop = ranges.pop()
        if stop - start > 2:
            own = order[start:stop]
            order[start:stop] = own[np.argsort(vectors[own] @ principal(vectors[own]), kind="stable")]
            middle = (start + stop) // 2
            ranges += [(start, middle), (middle, stop)]
    return order


def groups(owner: Positions, owners: int) -> list[Positions]:
    """The positions that belong to each owner, rising."""
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.cumsum(np.bincount(owner, minlength=owners))[:-1])


def chunks(positions: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """At most CHUNK at a time."""
    for start in range(0, len(positions), CHUNK):
        yield positions[start : start + CHUNK]
