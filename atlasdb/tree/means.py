"""The vectors of INTER nodes: means of keys, in the metric and as a row is compared with them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np

from atlasdb.tree.kmeans import Positions, Tick, chunks
from atlasdb.tree.whiten import Metric
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Vectors

CHUNK = 4096
"""Nodes dealt with at a time."""

_compiled: Any = numba.njit(nogil=True, cache=True, boundscheck=False)


@_compiled
def _sum(data: Any, scales: Any, order: Any, starts: Any, out: Any) -> None:
    """out[i] (D,) is the mean of the vectors order[starts[i]:starts[i + 1]]."""
    for i in range(len(out)):
        out[i, :] = 0
        for at in range(starts[i], starts[i + 1]):
            entry = order[at]
            weight = scales[entry] / np.float32(starts[i + 1] - starts[i])
            for j in range(data.shape[1]):
                out[i, j] += weight * np.float32(data[entry, j])


def of_ranges(keys: Vectors, order: Positions, starts: Positions, metric: Metric, threads: int, tick: Tick) -> Vectors:
    """The means of the keys order[starts[b]:starts[b + 1]] in the metric, as int8 (B, D)."""
    count = len(starts) - 1
    data, scales = np.empty((count, keys.dimension), np.int8), np.empty(count, np.float32)

    def work(start: int) -> int:
        stop = min(start + CHUNK, count)
        sums = np.empty((stop - start, keys.dimension), np.float32)
        _sum(keys.data, keys.scales, order, starts[start : stop + 1], sums)
        piece = quantise(metric.apply(sums))
        data[start:stop], scales[start:stop] = piece.data, piece.scales
        return int(starts[stop] - starts[start])

    with ThreadPoolExecutor(threads) as pool:
        for done in pool.map(work, range(0, count, CHUNK)):
            tick(done)
    return Vectors(data, scales)


def duals(nodes: Vectors, metric: Metric) -> Vectors:
    """What a row is compared with: int8 (B, D)."""
    data, scales = np.empty_like(nodes.data), np.empty_like(nodes.scales)
    for chunk in chunks(np.arange(len(nodes))):
        piece = quantise(metric.dual(nodes.take(chunk).floats()))
        data[chunk], scales[chunk] = piece.data, piece.scales
    return Vectors(data, scales)
