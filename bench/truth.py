"""What is right: the exact blocks of fetches, and how blocks that were found compare with them."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numkong
import numpy as np
import numpy.typing as npt
from methods import Fetch, Found
from numba import njit
from world import World

from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats

EASE = 1e-3
"""Scores may differ by this part: peers compare floats, the exact scan int8 rows."""


CHUNK = 1 << 11
"""Keys compared at once."""
NOTHING = np.float32(30)
"""A logit so far below the largest adds nothing to a sum: 1e-6 of it, if ten million do."""


@njit(nogil=True, cache=True)
def _add(products: Any, scales: Any, row_scales: Any, peaks: Any, sums: Any) -> None:
    """More logits, of keys by rows, into each row's largest so far, and its sum of exps beside that."""
    for i in range(len(products)):
        for r in range(len(row_scales)):
            logit = np.float32(products[i, r]) * scales[i] * row_scales[r]
            if logit > peaks[r]:
                sums[r] = sums[r] * np.exp(peaks[r] - logit) + 1
                peaks[r] = logit
            elif logit > peaks[r] - NOTHING:
                sums[r] += np.exp(logit - peaks[r])


@njit(nogil=True, cache=True)
def _rank(
    products: Any, scales: Any, row_scales: Any, totals: Any, bounds: Any, start: Any, ids: Any, scores: Any
) -> None:
    """More keys, numbered from `start`, into each fetch's best (N, K), which are heaps: the worst stands first."""
    for i in range(len(products)):
        for fetch in range(len(bounds) - 1):
            first, stop = bounds[fetch], bounds[fetch + 1]
            most = np.float32(-np.inf)
            for r in range(first, stop):
                most = max(most, np.float32(products[i, r]) * scales[i] * row_scales[r] - totals[r])
            if (stop - first) * np.exp(most) <= scores[fetch, 0]:
                continue
            best, names = scores[fetch], ids[fetch]
            score = np.float32(0)
            for r in range(first, stop):
                score += np.exp(np.float32(products[i, r]) * scales[i] * row_scales[r] - totals[r])
            if score <= best[0]:
                continue
            place = 0
            while True:
                child = 2 * place + 1
                if child + 1 < len(best) and best[child + 1] < best[child]:
                    child += 1
                if child >= len(best) or best[child] >= score:
                    break
                best[place], names[place] = best[child], names[child]
                place = child
            best[place], names[place] = score, start + i


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
        peaks, sums = np.full(len(rows), -np.inf, np.float32), np.zeros(len(rows))
        for _, keys in world.chunks(CHUNK):
            _add(np.asarray(numkong.dots_packed(keys.data, packed)), keys.scales, rows.scales, peaks, sums)
        totals = (peaks + np.log(sums)).astype(np.float32)
        ids, scores = np.full((len(asked), most), -1), np.zeros((len(asked), most), np.float32)
        for start, keys in world.chunks(CHUNK):
            products = np.asarray(numkong.dots_packed(keys.data, packed))
            _rank(products, keys.scales, rows.scales, totals, bounds, start, ids, scores)
        order = np.lexsort((ids, -scores))
        ids, scores = np.take_along_axis(ids, order, axis=1), np.take_along_axis(scores, order, axis=1)
        return Truth(ids, scores, [totals[a:b] for a, b in pairwise(bounds)])

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
