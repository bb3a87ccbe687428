"""Means of keys, which INTER nodes are made of."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numba import njit

from atlasdb.tree.kmeans import Tick
from atlasdb.tree.slots import Positions
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats, Int8s, Vectors

CHUNK = 4096
"""Nodes dealt with at a time."""

See = Callable[[Floats], Floats]
"""How vectors (N, D) are seen: one of a Metric's ways."""


@njit(nogil=True, cache=True)
def _average(data: Any, scales: Any, order: Any, starts: Any, out: Any) -> None:
    for i in range(len(out)):
        out[i, :] = 0
        for entry in order[starts[i] : starts[i + 1]]:
            weight = scales[entry] / np.float32(starts[i + 1] - starts[i])
            for j in range(data.shape[1]):
                out[i, j] += weight * np.float32(data[entry, j])


def averages(keys: Vectors, order: Positions, starts: Positions) -> Floats:
    """The means of the keys order[starts[b]:starts[b + 1]], none of them empty: float32 (B, D)."""
    out = np.empty((len(starts) - 1, keys.dimension), np.float32)
    _average(keys.data, keys.scales, order, starts, out)
    return out


def of_ranges(keys: Vectors, order: Positions, starts: Positions, see: See, threads: int, tick: Tick) -> Vectors:
    """The same as seen: int8 (B, D). `tick` is told of keys."""
    count = len(starts) - 1

    def some(start: int, stop: int) -> Vectors:
        return quantise(see(averages(keys, order, starts[start : stop + 1])))

    data, scales = np.empty((count, keys.dimension), np.int8), np.empty(count, np.float32)
    for start, stop in _in_parts(count, some, data, scales, threads):
        tick(int(starts[stop] - starts[start]))
    return Vectors(data, scales)


def seen(vectors: Vectors, see: See, threads: int) -> Vectors:
    """Vectors as seen: int8 (N, D)."""

    def some(start: int, stop: int) -> Vectors:
        return quantise(see(vectors.take(slice(start, stop)).floats()))

    data, scales = np.empty_like(vectors.data), np.empty_like(vectors.scales)
    for _ in _in_parts(len(vectors), some, data, scales, threads):
        pass
    return Vectors(data, scales)


def _in_parts(
    count: int, some: Callable[[int, int], Vectors], data: Int8s, scales: Floats, threads: int
) -> Iterator[tuple[int, int]]:
    """Fill `data` and `scales` with `count` vectors, some(start, stop) at a time; yields each start and stop."""

    def work(start: int) -> tuple[int, int]:
        stop = min(start + CHUNK, count)
        piece = some(start, stop)
        data[start:stop], scales[start:stop] = piece.data, piece.scales
        return start, stop

    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(work, range(0, count, CHUNK))
