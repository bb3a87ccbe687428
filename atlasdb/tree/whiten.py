"""The metric of the tree: what tells heads apart weighs more than what tells the keys of one head apart.

The keys of one head differ by their relations, and all heads differ by the same ones. A row points at one head and one
relation; to find the head, what the relations add is noise. So a node holds A (c - mu), where c is the mean of its
keys, mu that of all keys, and A = (W + ridge)^(-1/8), W the scatter of keys around their head's mean. A row is compared
with it as it is: r . A (c - mu). Postings are compared plainly: the metric only guides. Clusters are made of
B (c - mu), with B = A^(1/2): there the same product is a plain one, (B r) . (B (c - mu)).
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb.tree import means
from atlasdb_contract.types import Floats, Vectors

SAMPLE = 100_000
"""Entries that the metric is measured on."""
RIDGE = 0.3
"""Added to the scatter, in parts of its mean over dimensions."""
POWER = 0.0625


@dataclass(frozen=True, slots=True)
class Metric:
    """`mean` float32 (D,), `whitener` B float32 (D, D), symmetric."""

    mean: Floats
    whitener: Floats

    def dual(self, vectors: Floats) -> Floats:
        """What a row's product is to be taken with: B y of each of N vectors y = B (x - mu). float32 (N, D)."""
        seen: Floats = vectors @ self.whitener
        return seen

    def apply(self, vectors: Floats) -> Floats:
        """B (x - mu) of each of N vectors: float32 (N, D)."""
        centred = np.subtract(vectors, self.mean, dtype=np.float32)
        seen: Floats = centred @ self.whitener
        return seen


def measure(keys: Vectors, order: npt.NDArray[np.int64], starts: npt.NDArray[np.int64], seed: int) -> Metric:
    """The metric of keys whose heads are the ranges order[starts[h]:starts[h + 1]], from a sample of whole heads.

    B is the identity where too few keys share a head for D dimensions.
    """
    sizes = np.diff(starts)
    heads = np.random.default_rng(seed).permutation(len(sizes))
    heads = np.sort(heads[: np.searchsorted(np.cumsum(sizes[heads]), SAMPLE) + 1])
    first = np.cumsum(sizes[heads]) - sizes[heads]
    within = np.arange(sizes[heads].sum()) - np.repeat(first, sizes[heads])
    sample = keys.take(order[np.repeat(starts[heads], sizes[heads]) + within][: 2 * SAMPLE])
    vectors = sample.floats()
    bounds = np.append(first[first < len(vectors)], len(vectors))
    mean: Floats = vectors.mean(axis=0, dtype=np.float32)
    identity = np.eye(keys.dimension, dtype=np.float32)
    freedom = len(vectors) - len(bounds) + 1
    if freedom < 4 * keys.dimension:
        return Metric(mean, identity)
    vectors -= np.repeat(means.averages(sample, np.arange(len(vectors)), bounds), np.diff(bounds), axis=0)
    scatter = (vectors.T @ vectors).astype(np.float64) / freedom
    level = np.trace(scatter) / keys.dimension
    if level <= 1e-12:
        return Metric(mean, identity)
    powers, axes = np.linalg.eigh(scatter / level + RIDGE * identity)
    return Metric(mean, ((axes * powers**-POWER) @ axes.T).astype(np.float32))
