"""Spherical k-means, flat and in two levels.

Centroids are unit vectors and nearness is the dot product, because that is how a descent compares a row with a node: a
mean of scattered vectors is short and would lose every comparison to the mean of a tight few.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb_contract.types import Floats

Positions = npt.NDArray[np.int64]

Tick = Callable[[int], None]
"""Told how many vectors a step has dealt with; may raise to stop it."""
CHUNK = 8192
"""Vectors in one matrix product."""
REACH = 8192
"""Centroids that a vector is compared with, about: those of the nearest groups. Fewer cost recall: names have no tidy
clusters, and with 600 of 4,200 the guides' links lost four points of recall@16."""


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


def fit(vectors: Floats, clusters: int, seed: int = 0, iterations: int = 8, tick: Tick = ignore) -> Floats:
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


@dataclass(frozen=True, slots=True)
class Grouped:
    """Many centroids in about the root of as many groups, so that a vector need only be compared with those near by."""

    tops: Floats
    """(groups, D)"""
    centroids: Floats
    """(N, D), ordered by group."""
    starts: npt.NDArray[np.int64]
    """(groups + 1,): group g has the centroids starts[g] .. starts[g + 1]."""

    def near(self, group: int) -> npt.NDArray[np.int64]:
        """The centroids of the group and of those nearest to it."""
        reach = max(2, round(REACH / len(self.centroids) * len(self.tops)))
        if reach >= len(self.tops):
            return np.arange(len(self.centroids))
        likeness = self.tops @ self.tops[group]
        likeness[group] = np.inf
        groups = np.sort(np.argpartition(-likeness, reach - 1)[:reach])
        return np.concatenate([np.arange(self.starts[g], self.starts[g + 1]) for g in groups])


Load = Callable[[npt.NDArray[np.int64]], Floats]
"""The unit vectors at some positions: float32 (n, D). So that all of them are never floats at once."""


def fit_grouped(load: Load, count: int, clusters: int, seed: int, refine: int, tick: Tick = ignore) -> Grouped:
    """About `clusters` unit centroids of `count` vectors, in two levels, then `refine` steps across the groups."""
    rng = np.random.default_rng(seed)
    groups = max(1, round(clusters**0.5))
    sample = np.sort(rng.choice(count, min(count, 256 * groups), replace=False))
    tops = fit(load(sample), groups, seed, tick=tick)
    members = group_members(load, count, tops, tick)
    parts = []
    for group, own in enumerate(members):
        share = round(clusters * len(own) / count)
        vectors = load(own[: 64 * max(share, 1)])
        parts.append(fit(vectors, max(share, 1), seed + group) if len(own) else tops[group : group + 1])
        tick(len(own))
    grouped = Grouped(tops, np.concatenate(parts), np.cumsum([0, *map(len, parts)]))
    for _ in range(refine):
        total = np.zeros_like(grouped.centroids)
        for group, own in enumerate(members):
            near = grouped.near(group)
            for chunk in chunks(own):
                vectors = load(chunk)
                total[near] += sums(vectors, nearest(vectors, grouped.centroids[near]), len(near))
                tick(len(chunk))
        kept = np.linalg.norm(total, axis=1) > 0
        moved = np.where(kept[:, None], unit(total), grouped.centroids)
        grouped = Grouped(tops, moved, grouped.starts)
    return grouped


def group_members(load: Load, count: int, tops: Floats, tick: Tick = ignore) -> list[npt.NDArray[np.int64]]:
    """The positions nearest to each top, rising."""
    owner = np.empty(count, np.int64)
    for chunk in chunks(np.arange(count)):
        owner[chunk] = nearest(load(chunk), tops)
        tick(len(chunk))
    order = np.argsort(owner, kind="stable")
    return np.split(order, np.cumsum(np.bincount(owner, minlength=len(tops)))[:-1])


def chunks(positions: npt.NDArray[np.int64]) -> Iterator[npt.NDArray[np.int64]]:
    """At most CHUNK at a time."""
    for start in range(0, len(positions), CHUNK):
        yield positions[start : start + CHUNK]
