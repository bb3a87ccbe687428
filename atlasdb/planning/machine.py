"""This machine's speed, by small trials: vectors picked at random, products, looks into an index, pages of a file."""

import mmap
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from numba import njit

from atlasdb.planning.fetching import LINE, Picks
from atlasdb.planning.loading import BATCH
from atlasdb.store.environment import Environment
from atlasdb.store.index import LEAF_PAIRS, RUN_PAIRS, SWEEP_PAIRS, Index, Space
from atlasdb.tree import kmeans
from atlasdb.tree.kernels import prefetch
from atlasdb.tree.simd import dot
from atlasdb_contract.ids import CollectionId

PICKED = 1 << 25
"""Bytes that are compared in one turn, at most in"""
PICKS = 1 << 17
"""vectors."""
AHEAD = 8
"""Vectors that are asked for ahead of the one that is compared, as a walk asks for those of a node's links."""
SIZES = (1 << 20, 1 << 24, 1 << 28, 1 << 30)
"""Bytes that vectors are picked from, beginning with what any processor has in a cache; at most a quarter of the free
memory."""
CENTROIDS, NUMBERS = 2048, 1 << 21
"""Of the products that are tried: so many centroids, and vectors of so many numbers together."""
RUNS = 2 * SWEEP_PAIRS // RUN_PAIRS
"""Runs of the index that is tried."""
FEW, SEARCHES = 64, 9
PAGE_READS = 256
PAGE_SECONDS = 0.5
MAP_BYTES = 1 << 30


@njit(nogil=True, cache=True)
def _compare(data: Any, picked: Any, row: Any, ahead: Any) -> Any:
    total = np.int64(0)
    size = data.shape[1]
    base = data.ctypes.data
    for i in range(len(picked)):
        if i + ahead < len(picked):
            for line in range(0, size, 64):
                prefetch(base + picked[i + ahead] * size + line)
        total += dot(data[picked[i]], row)
    return total


def quickest(work: Callable[[], object], times: int = 3) -> float:
    """Seconds of the quickest of some runs."""
    best = float("inf")
    for _ in range(times):
        begun = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - begun)
    return best


def picks(dimension: int) -> Picks:
    """What it costs to compare vectors picked from little and from much memory."""
    most = psutil.virtual_memory().available // 4
    sizes = tuple(size for size in SIZES if size <= max(most, SIZES[0]))
    with mmap.mmap(-1, sizes[-1]) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)  # a store's file has small pages, too
        whole = np.frombuffer(memory, np.int8)
        whole[:] = 1
        found = Picks(sizes, *(tuple(_pick_ns(whole[:size], width) for size in sizes) for width in (LINE, dimension)))
        del whole
    return found


def _pick_ns(memory: npt.NDArray[np.int8], width: int) -> float:
    data = memory[: len(memory) // width * width].reshape(-1, width)
    picked = np.random.default_rng(0).integers(0, len(data), min(PICKS, PICKED // width))
    row = np.ones(width, np.int8)
    return 1e9 * quickest(lambda: _compare(data, picked, row, AHEAD)) / len(picked)


def process_bytes() -> int:
    """Memory of this process, without pages of files."""
    info = psutil.Process().memory_info()
    return int(info.rss - info.shared)


def products(dimension: int) -> float:
    """Multiplications a second of the matrix products that ROOTs are found by."""
    draw = np.random.default_rng(0)
    rows = max(1, NUMBERS // dimension)
    vectors, centroids = (draw.standard_normal((n, dimension), np.float32) for n in (rows, CENTROIDS))
    return float(rows * CENTROIDS * dimension) / quickest(lambda: kmeans.nearest(vectors, centroids), 2)


def index_speed(folder: Path) -> tuple[float, float, float]:
    """Seconds of a look into one record of the index, of one hash looked for in it, of a pair that a sweep rewrites."""
    draw = np.random.default_rng(0)
    environment = Environment(folder, MAP_BYTES)
    try:
        with environment.writing() as txn:
            environment.open_tables(txn, CollectionId(1))
            one = Index(
                txn, environment.tables(CollectionId(1)), Space.TRIPLES, lambda ids: np.ones(len(ids), np.bool_)
            )
            ids = np.arange(RUN_PAIRS, dtype=np.uint64)
            for _ in range(RUNS):
                one.append(np.sort(draw.integers(0, 1 << 63, RUN_PAIRS, np.uint64)), ids)
            in_runs = _search_seconds(one, BATCH)
            begun = time.perf_counter()
            one.step()  # all of its runs, into leaves
            swept = time.perf_counter() - begun
            in_leaves = _search_seconds(one, BATCH)
            look = _search_seconds(one, FEW) / (RUNS * RUN_PAIRS / LEAF_PAIRS)
            return look, max(0.0, in_runs - in_leaves) / ((RUNS - 1) * BATCH), swept / (RUNS * RUN_PAIRS)
    finally:
        environment.close()


def _search_seconds(one: Index, count: int) -> float:
    """Of looking for so many hashes, others each time: as a rule."""
    draw = np.random.default_rng(count)
    spent = []
    for _ in range(SEARCHES):
        wanted = draw.integers(0, 1 << 63, count, np.uint64)
        spent.append(quickest(lambda wanted=wanted: one.find(wanted), 1))  # type: ignore[misc]
    return float(np.median(spent))


def page_microseconds(file: Path) -> float:
    """Of reading one page of a file from the disk, past the system's cache where the file system allows that."""
    size = mmap.PAGESIZE
    count = file.stat().st_size // size
    places = np.random.default_rng(0).integers(0, max(1, count), PAGE_READS) * size
    buffer = mmap.mmap(-1, size)
    descriptor = _uncached(file)
    try:
        done, begun = 0, time.perf_counter()
        while done < PAGE_READS and time.perf_counter() < begun + PAGE_SECONDS:
            os.preadv(descriptor, [buffer], int(places[done]))
            done += 1
        return 1e6 * (time.perf_counter() - begun) / done
    finally:
        os.close(descriptor)
        buffer.close()


def _uncached(file: Path) -> int:
    """The file, open for reads that go to the disk."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_DIRECT)
        os.preadv(descriptor, [mmap.mmap(-1, mmap.PAGESIZE)], 0)
        return descriptor
    except OSError:
        descriptor = os.open(file, os.O_RDONLY)
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_RANDOM)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        return descriptor
