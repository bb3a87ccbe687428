"""How a descent's block compares with the exact one, worked out a few slots at a time; design (4)."""

from typing import NamedTuple

import numpy as np

from atlasdb.tree.rank import Pool, Rows, Softmax
from atlasdb_contract.types import Floats, Vectors

EASE = np.float32(1e-5)
"""Scores of float32 may differ by this part and be equal."""


class Judged(NamedTuple):
    """Of the exact block: the share of its mass that a block has, and the share of its entries; an entry whose score is
    that of the exact block's last counts as one of them."""

    mass: float
    recall: float


class Exact:
    """The exact answer for rows (R, D) and k. `add` all slots, then `judged`."""

    def __init__(self, rows: Vectors, k: int) -> None:
        self._k = k
        self._rows = Rows(rows)
        self._softmax = Softmax(len(rows))
        self._pool = Pool(self._rows, k, self._softmax)

    def add(self, keys: Vectors, weights: Floats) -> None:
        """Slots by their keys int8 (n, D), and how many entries each has that are there."""
        self._pool.add(weights.astype(np.int64), keys, weights, learn=True)

    def judged(self, keys: Vectors) -> Judged | None:
        """A block by the keys of its entries; None where nothing is there, or scores shifted so far that a slot let go
        early might belong to the exact block."""
        counts, scores = self._pool.leading()
        if not len(counts) or not len(keys) or not self._pool.certain():
            return None
        order = np.argsort(-scores)
        counts, scores = counts[order], scores[order]
        taken = np.diff(np.minimum(np.cumsum(counts), self._k), prepend=0)
        last = scores[np.flatnonzero(taken)[-1]]
        block = self._softmax.mass(self._rows.logits(keys))
        mass = block.sum(dtype=np.float64) / (scores * taken).sum(dtype=np.float64)
        found = int((block >= last * (1 - EASE)).sum())
        return Judged(min(1.0, float(mass)), min(1.0, found / int(taken.sum())))
