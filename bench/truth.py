"""What is right: the exact blocks of fetches, and how blocks that were found compare with them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numkong
import numpy as np
import numpy.typing as npt
from methods import Fetch, Found
from world import World

from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats

EASE = 1e-3
"""Scores may differ by this part: peers compare floats, the exact scan int8 rows."""


@dataclass(frozen=True)
class Truth:
    """The exact blocks. `ids` (N, K), best first, with `scores` (N, K); `peaks`, one array (R,) for each fetch, the
    log-sum-exp of each row over all entries."""

    ids: npt.NDArray[np.int64]
    scores: Floats
    peaks: list[Floats]

    @staticmethod
    def of(world: World, asked: Sequence[Fetch], most: int) -> "Truth":
        """Two passes over all keys: the log-sum-exps, then the scores."""
        rows = quantise(np.concatenate([fetch.rows for fetch in asked]))
        bounds = np.cumsum([0, *(len(fetch.rows) for fetch in asked)])
        packed = numkong.dots_pack(np.ascontiguousarray(rows.data))
        most = min(most, len(world))

        def logits() -> Iterator[tuple[int, Floats]]:
            for start, keys in world.chunks(1 << 13):
                found = np.asarray(numkong.dots_packed(keys.data, packed)).astype(np.float32)
                found *= keys.scales[:, None]
                found *= rows.scales
                yield start, found

        totals = np.full(len(rows), -np.inf)
        for _, found in logits():
            peak = found.max(axis=0)
            totals = np.logaddexp(totals, peak + np.log(np.exp(found - peak).sum(axis=0, dtype=np.float64)))
        ids = np.zeros((len(asked), 0), np.int64)
        scores = np.zeros((len(asked), 0), np.float32)
        for start, found in logits():
            found -= totals.astype(np.float32)
            shares = np.add.reduceat(np.exp(found, out=found), bounds[:-1], axis=1).T
            own = np.argpartition(-shares, min(most, shares.shape[1]) - 1, axis=1)[:, :most]
            ids = np.concatenate([ids, start + own], axis=1)
            scores = np.concatenate([scores, np.take_along_axis(shares, own, axis=1)], axis=1)
            order = np.argsort(-scores, axis=1, kind="stable")[:, :most]
            ids, scores = np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
        peaks = [totals[a:b].astype(np.float32) for a, b in pairwise(bounds)]
        return Truth(ids, scores, peaks)

    def judge(self, world: World, asked: Sequence[Fetch], blocks: Sequence[Found], k: int) -> dict[str, float]:
        """Means over the fetches."""
        sums = np.zeros(4)
        for number, (fetch, block) in enumerate(zip(asked, blocks, strict=True)):
            rows = quantise(fetch.rows).floats()
            keys = world.keys.data[block].astype(np.float32) * world.keys.scales[block, None]
            scores = np.exp(keys @ rows.T - self.peaks[number]).sum(axis=1)
            exact = self.scores[number, :k]
            gold = world.gold[number]
            sums += (
                (scores >= exact[-1] * (1 - EASE)).sum() / len(exact),
                scores.sum() / exact.sum(),
                (world.texts[block] == gold).any(),
                (world.texts[self.ids[number, :k]] == gold).any(),
            )
        means = (sums / len(asked)).tolist()
        return dict(zip(("recall", "mass", "gold", "gold_exact"), means, strict=True))
