"""The peers of bench/peers.py: each builds its index of a world in this process, then answers one fetch at a time.

A fetch has R rows, near copies of each other, so that a peer searches with their mean (with the rows of all question
tokens: one mean of attention heads for each token). What it finds is compared again, exactly, with all rows on the
int8 keys, and the best k by the softmax of each row, summed over rows, are its block, as they are ours. Peers but the
published descent hold a key that several entries have once, as our slots do.
"""

import ctypes
import mmap
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, ClassVar, Protocol

import numkong
import numpy as np
import numpy.typing as npt
from world import World

from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats, Vectors

Found = npt.NDArray[np.int64]
SLICE = 1 << 14
"""Keys compared at once by the exact scan."""


@dataclass(frozen=True)
class Fetch:
    """`rows` float32 (R, D) decide; `probes` float32 (P, D) are what a peer searches with."""

    rows: Floats
    probes: Floats


def fetches(world: World, which: str) -> Iterator[Fetch]:
    """By the rows of the last question token, or of all tokens."""
    for number, rows in enumerate(world.rows):
        if which == "all":
            if world.everything is None or world.bounds is None:
                raise SystemExit("this world has no rows of all tokens: --rows last")
            tokens = world.everything[world.bounds[number] : world.bounds[number + 1]].astype(np.float32)
            yield Fetch(tokens.reshape(-1, tokens.shape[-1]), tokens.mean(axis=1))
        else:
            yield Fetch(rows, rows.mean(axis=0, keepdims=True))


@dataclass(frozen=True)
class Distinct:
    """The n distinct keys of a world, each once, for the peers that hold them so: a graph over copies of a key falls
    apart. Key i is that of the entry first[i], int64 (n,); its entries are members[starts[i] : starts[i + 1]]."""

    world: World
    first: Found
    starts: Found
    members: Found

    @staticmethod
    def of(world: World) -> "Distinct":
        """Entries of one text have the same key."""
        members = np.argsort(world.texts, kind="stable")
        ordered = world.texts[members]
        starts = np.concatenate([[0], np.flatnonzero(ordered[1:] != ordered[:-1]) + 1, [len(members)]])
        return Distinct(world, members[starts[:-1]], starts, members)

    def __len__(self) -> int:
        return len(self.first)

    def chunks(self, size: int = 1 << 16) -> Iterator[tuple[int, Vectors]]:
        """(start, keys), copied from the file piece by piece."""
        for start in range(0, len(self), size):
            yield start, self.world.keys.take(self.first[start : start + size])

    def sample(self, count: int) -> Floats:
        """Some of the keys, drawn."""
        drawn = np.sort(np.random.default_rng(0).permutation(len(self))[:count])
        return self.world.keys.take(self.first[drawn]).floats()

    def chosen(self, candidates: Found, rows: Floats, k: int) -> Found:
        """The best k entries of distinct candidate keys by all rows, best first."""
        if not len(candidates):
            return candidates
        starts = self.starts[candidates]
        sizes = self.starts[candidates + 1] - starts
        logits = self.world.keys.take(self.first[candidates]).floats() @ rows.T
        powers = np.exp(logits - logits.max(axis=0))
        scores = powers @ (1 / (sizes @ powers))
        best = np.argsort(-scores)[:k]
        counts = np.minimum(sizes[best], k)
        ends = np.cumsum(counts)
        return self.members[np.repeat(starts[best] - ends + counts, counts)[:k] + np.arange(min(k, ends[-1]))]


class Method(Protocol):
    """A peer. `needs` is its memory while it is built, in bytes, about; `settings` rise in cost."""

    name: ClassVar[str]
    note: ClassVar[str]
    settings: ClassVar[tuple[int, ...]]

    def __init__(self, world: World, threads: int) -> None: ...

    @staticmethod
    def needs(entries: int, dimension: int) -> int: ...

    def fetch(self, fetch: Fetch, k: int, setting: int) -> tuple[Found, int | None]:
        """Entries of the block, and how many vectors were compared where that is known."""

    @property
    def empty(self) -> int:
        """Bytes that were resident before there was an entry."""

    @property
    def seconds(self) -> float | None:
        """Of the build; None: all of the constructor's."""

    def processes(self) -> list[int]:
        """Whose memory counts."""


def wanted(k: int) -> int:
    """Candidates that a peer is asked for, before all rows choose."""
    return 2 * k


class Here:
    """A method in this process."""

    note: ClassVar[str] = ""
    empty = 0
    seconds: float | None = None

    def processes(self) -> list[int]:
        return [os.getpid()]


class Exact(Here):
    """All keys, one pass, with int8 rows as the store scans."""

    name = "exact scan"
    note = "numkong, int8"
    settings = (0,)

    def __init__(self, world: World, threads: int) -> None:  # noqa: ARG002 - as the protocol
        self.world = world

    @staticmethod
    def needs(entries: int, dimension: int) -> int:
        return entries * (dimension + 16)

    def fetch(self, fetch: Fetch, k: int, setting: int) -> tuple[Found, int]:  # noqa: ARG002 - as the protocol
        keys, rows = self.world.keys, quantise(fetch.rows)
        packed = numkong.dots_pack(np.ascontiguousarray(rows.data))
        logits = np.empty((len(rows), len(keys)), np.float32)
        for start in range(0, len(keys), SLICE):
            span = slice(start, start + SLICE)
            np.multiply(np.asarray(numkong.dots_packed(keys.data[span], packed)).T, keys.scales[span], logits[:, span])
        logits *= rows.scales[:, None]
        logits -= logits.max(axis=1, keepdims=True)
        powers = np.exp(logits, out=logits)
        scores = (1 / powers.sum(axis=1)) @ powers
        best = np.argpartition(-scores, min(k, len(scores)) - 1)[:k]
        return best[np.argsort(-scores[best])], len(keys)


class Faiss(Here):
    """What the faiss indexes share. Inner products of floats."""

    def __init__(self, world: World, threads: int) -> None:
        import faiss

        self.keys = Distinct.of(world)
        faiss.omp_set_num_threads(threads)
        self.index = self.made(faiss, world.keys.dimension)
        for _, keys in self.keys.chunks():
            self.index.add(keys.floats())
        faiss.omp_set_num_threads(1)

    def made(self, faiss: Any, dimension: int) -> Any:
        raise NotImplementedError

    def found(self, fetch: Fetch, count: int) -> Found:
        _, ids = self.index.search(fetch.probes, count)
        return np.unique(ids[ids >= 0]) if len(ids) > 1 else ids[0][ids[0] >= 0]


class IvfFlat(Faiss):
    """Lists of float keys, about four roots of M of them."""

    name = "faiss IVFFlat"
    settings = (4, 8, 16, 32, 64, 128, 256, 512)
    kind = "Flat"

    def made(self, faiss: Any, dimension: int) -> Any:
        lists = max(16, round(4 * len(self.keys) ** 0.5))
        index = faiss.index_factory(dimension, f"IVF{lists},{self.kind}", faiss.METRIC_INNER_PRODUCT)
        index.cp.niter, index.cp.min_points_per_centroid, index.cp.max_points_per_centroid = 10, 1, 64
        index.train(self.keys.sample(64 * lists))
        return index

    @staticmethod
    def needs(entries: int, dimension: int) -> int:
        return entries * (4 * dimension + 8)

    def fetch(self, fetch: Fetch, k: int, setting: int) -> tuple[Found, int]:
        import faiss

        self.index.nprobe = setting
        faiss.cvar.indexIVF_stats.reset()
        found = self.found(fetch, wanted(k))
        compared = faiss.cvar.indexIVF_stats.ndis + self.index.nlist * len(fetch.probes)
        return self.keys.chosen(found, fetch.rows, k), int(compared)


class IvfSq8(IvfFlat):
    """The same with 8 bits a number."""

    name = "faiss IVF-SQ8"
    kind = "SQ8"

    @staticmethod
    def needs(entries: int, dimension: int) -> int:
        return entries * (dimension + 8)


class Hnsw(Faiss):
    """A graph over all entries, floats."""

    name = "faiss HNSW"
    note = "M 24"
    settings = (16, 32, 64, 128, 256, 512, 1024)

    def made(self, faiss: Any, dimension: int) -> Any:
        index = faiss.IndexHNSWFlat(dimension, 24, faiss.METRIC_INNER_PRODUCT)
        index.hnsw.efConstruction = 100
        return index

    @staticmethod
    def needs(entries: int, dimension: int) -> int:
        return entries * (4 * dimension + 4 * 2 * 24 + 16)

    def fetch(self, fetch: Fetch, k: int, setting: int) -> tuple[Found, int]:
        import faiss

        self.index.hnsw.efSearch = setting
        faiss.cvar.hnsw_stats.reset()
        found = self.found(fetch, min(wanted(k), setting))
        return self.keys.chosen(found, fetch.rows, k), int(faiss.cvar.hnsw_stats.ndis)


class Usearch(Here):
    """A graph over all entries, int8."""

    name = "usearch"
    note = "int8, M 24"
    settings = (16, 32, 64, 128, 256, 512, 1024)

    def __init__(self, world: World, threads: int) -> None:
        from usearch.index import Index

        self.keys = Distinct.of(world)
        self.index = Index(ndim=world.keys.dimension, metric="cos", dtype="i8", connectivity=24, expansion_add=100)
        for start, keys in self.keys.chunks():
            ids = np.arange(start, start + len(keys), dtype=np.uint64)
            self.index.add(ids, keys.floats(), threads=threads)

    @staticmethod
    def needs(entries: int, dimension: int) -> int:
        return entries * (dimension + 4 * 3 * 24 + 64)

    def fetch(self, fetch: Fetch, k: int, setting: int) -> tuple[Found, int]:
        self.index.expansion_search = setting
        compared, parts = 0, []
        for probe in fetch.probes:
            matches = self.index.search(probe, min(wanted(k), setting), threads=1)
            compared += int(matches.computed_distances)
            parts.append(matches.keys.astype(np.int64))
        found = np.unique(np.concatenate(parts)) if len(parts) > 1 else parts[0]
        return self.keys.chosen(found, fetch.rows, k), compared


class Lance(Here):
    """LanceDB in process: lists of graphs over 8-bit keys, on disk."""

    name = "LanceDB"
    note = "IVF_HNSW_SQ, threads of its own"
    settings = (1, 2, 4, 8, 16, 32)

    def __init__(self, world: World, threads: int) -> None:
        os.environ |= {"LANCE_LOG": "error", "LANCE_CPU_THREADS": str(threads), "LANCE_IO_THREADS": "2"}
        import lancedb
        import pyarrow as pa

        self.keys = Distinct.of(world)
        self.folder = TemporaryDirectory(prefix="atlasdb-lance-")
        schema = pa.schema([("id", pa.int64()), ("vector", pa.list_(pa.float32(), world.keys.dimension))])

        def batches() -> Iterator[Any]:
            for start, keys in self.keys.chunks():
                flat = pa.array(keys.floats().ravel())
                vectors = pa.FixedSizeListArray.from_arrays(flat, world.keys.dimension)
                yield pa.record_batch([pa.array(np.arange(start, start + len(keys))), vectors], schema=schema)

        self.table = lancedb.connect(self.folder.name).create_table("keys", batches(), schema=schema)
        lists = max(1, len(self.keys) >> 15)
        self.table.create_index("dot", num_partitions=lists, index_type="IVF_HNSW_SQ", m=24, ef_construction=100)

    @staticmethod
    def needs(entries: int, dimension: int) -> int:
        return entries * (5 * dimension + 4 * 2 * 24)

    def fetch(self, fetch: Fetch, k: int, setting: int) -> tuple[Found, None]:
        parts = []
        for probe in fetch.probes:
            query = self.table.search(probe).distance_type("dot").nprobes(setting).ef(wanted(k))
            found = query.limit(wanted(k)).select(["id", "_distance"]).to_arrow()
            parts.append(found["id"].to_numpy())
        return self.keys.chosen(np.unique(np.concatenate(parts)), fetch.rows, k), None


def resident(processes: list[int]) -> int:
    """Bytes that are in memory, of files too."""
    return _held(processes, ("RssAnon:", "RssFile:"))


def anonymous(processes: list[int]) -> int:
    """Bytes that are in memory, without the pages of files."""
    return _held(processes, ("RssAnon:",))


def _held(processes: list[int], kinds: tuple[str, ...]) -> int:
    total = 0
    for process in processes:
        for line in Path(f"/proc/{process}/status").read_text(encoding="ascii").splitlines():
            if line.startswith(kinds):
                total += 1024 * int(line.split()[1])
    return total


def forget(world: World) -> None:
    """Give back what the build left: freed memory, and pages of the key file."""
    ctypes.CDLL(None).malloc_trim(0)
    mapped = getattr(world.keys.data, "_mmap", None)
    if isinstance(mapped, mmap.mmap):
        mapped.madvise(mmap.MADV_DONTNEED)


@contextmanager
def closing(method: Any) -> Iterator[None]:
    """Ends what a method started."""
    try:
        yield
    finally:
        close: Callable[[], None] | None = getattr(method, "close", None)
        if close:
            close()
