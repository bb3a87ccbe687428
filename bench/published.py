"""HiKVP as published (AtlasKV, arXiv:2510.17934), from the paper's mathematics: a reference to measure against.

The M keys are LEAF; M^(2/3) means of keys are INTER and M^(1/3) means are ROOT. At each level every row takes a softmax
over the candidates, a candidate's score is the sum of its probabilities over rows, and the best are kept: 128 ROOT, 64
INTER, 16 LEAF by default; the children of the kept ones are the next candidates. Here the levels come of k-means from
above: ROOT of all keys (a sample of them), then under each ROOT its share of INTER, which is what lets 10^7 keys be
clustered at all; keys are int8 and lie contiguously by INTER node.
"""

import numkong
import numpy as np
import numpy.typing as npt
from methods import Fetch, Found, Here
from world import World

from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats, Vectors

SAMPLE = 128
"""Keys a ROOT is made of; INTER nodes are made of all their keys."""
ROUNDS = 10


def k_means(vectors: Floats, clusters: int, seed: int) -> Floats:
    """Lloyd's algorithm: the means (clusters, D) of vectors (N, D); a mean that owns nothing begins at a vector
    anew."""
    rng = np.random.default_rng(seed)
    centres = vectors[rng.choice(len(vectors), min(clusters, len(vectors)), replace=False)]
    for _ in range(ROUNDS):
        owner = nearest(vectors, centres)
        order = np.argsort(owner, kind="stable")
        counts = np.bincount(owner, minlength=len(centres))
        there = np.flatnonzero(counts)
        centres = vectors[rng.integers(0, len(vectors), len(centres))]
        centres[there] = np.add.reduceat(vectors[order], (np.cumsum(counts) - counts)[there]) / counts[there, None]
    return centres


def nearest(vectors: Floats, centres: Floats) -> npt.NDArray[np.int64]:
    """The centre at the least distance from each vector: (N,)."""
    bars = 0.5 * np.square(centres).sum(axis=1)
    owner = np.empty(len(vectors), np.int64)
    for start in range(0, len(vectors), 8192):
        owner[start : start + 8192] = (vectors[start : start + 8192] @ centres.T - bars).argmax(axis=1)
    return owner


def masses(logits: Floats) -> Floats:
    """Softmax over the n candidates of (n, R), summed over rows: (n,)."""
    powers = np.exp(logits - logits.max(axis=0))
    shares: Floats = powers @ (1 / powers.sum(axis=0))
    return shares


def best(scores: Floats, count: int) -> npt.NDArray[np.int64]:
    """Positions of the `count` largest."""
    return np.arange(len(scores)) if count >= len(scores) else np.argpartition(-scores, count - 1)[:count]


class Published(Here):
    """A setting is the beam at INTER; that at ROOT is twice as wide."""

    name = "HiKVP, published"
    note = "beams 2b/b/k"
    settings = (16, 32, 64, 128)

    def __init__(self, world: World, threads: int) -> None:  # noqa: ARG002 - as the protocol
        size = len(world)
        roots = max(1, round(size ** (1 / 3)))
        rng = np.random.default_rng(0)
        sample = np.sort(rng.permutation(size)[: SAMPLE * roots])
        self.roots = k_means(world.kept(sample).keys.floats(), roots, 0)
        owner = np.concatenate([nearest(keys.floats(), self.roots) for _, keys in world.chunks()])
        order = np.argsort(owner, kind="stable")
        bounds = np.searchsorted(owner[order], np.arange(len(self.roots) + 1))
        parts, leaves, sizes = [], [], []
        for root in range(len(self.roots)):
            own = order[bounds[root] : bounds[root + 1]]
            vectors = world.kept(own).keys.floats()
            share = min(len(own), max(1, round(size ** (2 / 3) * len(own) / size)))
            centres = k_means(vectors, share, root) if len(own) else np.zeros((0, world.keys.dimension), np.float32)
            mine = nearest(vectors, centres) if len(own) else np.zeros(0, np.int64)
            parts.append(centres)
            leaves.append(own[np.argsort(mine, kind="stable")])
            sizes.append(np.bincount(mine, minlength=len(centres)))
        self.inter = np.concatenate(parts)
        self.children = np.concatenate([[0], np.cumsum([len(part) for part in parts])])
        self.order = np.concatenate(leaves)
        self.starts = np.concatenate([[0], np.cumsum(np.concatenate(sizes))])
        data = np.empty((size, world.keys.dimension), np.int8)
        for start in range(0, size, 1 << 16):
            data[start : start + (1 << 16)] = world.keys.data[self.order[start : start + (1 << 16)]]
        self.keys = Vectors(data, world.keys.scales[self.order])

    @staticmethod
    def needs(entries: int, dimension: int) -> int:
        return round(entries * (dimension + 32) + 4 * dimension * entries ** (2 / 3))

    def fetch(self, fetch: Fetch, k: int, setting: int) -> tuple[Found, int]:
        kept = best(masses(self.roots @ fetch.rows.T), 2 * setting)
        nodes = spans(self.children, kept)
        near = nodes[best(masses(self.inter[nodes] @ fetch.rows.T), setting)]
        slots = spans(self.starts, near)
        if not len(slots):
            return slots, len(self.roots) + len(nodes)
        rows = quantise(fetch.rows)
        packed = numkong.dots_pack(np.ascontiguousarray(rows.data))
        parts = (self.keys.data[self.starts[node] : self.starts[node + 1]] for node in near)
        products = np.concatenate([np.asarray(numkong.dots_packed(p, packed)) for p in parts if len(p)])
        scores = masses(products * rows.scales * self.keys.scales[slots, None])
        block = best(scores, k)
        return self.order[slots[block]], len(self.roots) + len(nodes) + len(slots)


def spans(starts: npt.NDArray[np.int64], which: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """All positions of starts[i] .. starts[i + 1] for each i, in that order."""
    sizes = starts[which + 1] - starts[which]
    return np.arange(sizes.sum()) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(starts[which], sizes)
