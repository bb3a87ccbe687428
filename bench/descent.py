"""What a descent finds and costs beside an exact scan of the same entries, at several sizes.

    python bench/descent.py [ROWS.npz] [--entries 3000 30000 300000] [--root N] [--inter N] [--queries N] [--json]

The npz holds keys int8 (M, D), scales float32 (M,), heads (M,) a number for each entry's head, rows float32 (N, R, D)
or (N, D), and gold int64 (N,), the position of the entry that each fetch is about (-1: none; entries with the same key
count as it). A smaller size takes whole heads, those of the golds first. Without a file the entries are synthetic,
heads times relations, and each row is a noisy copy of a key. Postings lie in memory; all runs in one thread.
"""

import argparse
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np

from atlasdb.tree import build
from atlasdb.tree.check import problems
from atlasdb.tree.descend import Found, PostingRequest, PostingView, default_inter, descend, drive, scan
from atlasdb.tree.image import TreeImage
from atlasdb_contract.codec import quantise
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Beams, Vectors

K = 64


@dataclass(frozen=True)
class World:
    """Some entries and the fetches about them: entry i has the id i."""

    keys: Vectors
    heads: np.ndarray
    rows: list[Vectors]
    gold: np.ndarray


@dataclass(frozen=True)
class Figures:
    """Means over the fetches; times in microseconds are medians, recall is of the exact k."""

    entries: int
    roots: int
    inter_nodes: int
    guides: int
    build_seconds: float
    beam_root: int
    beam_inter: int
    fetches: int
    root_compared: int
    guides_compared: int
    postings_read: int
    entries_compared: int
    compared: int
    compared_share: float
    recall_16: float
    recall_64: float
    gold_exact: float
    gold: float
    microseconds: int
    exact_microseconds: int


class Postings:
    """A plan's postings in memory, contiguous by node."""

    def __init__(self, keys: Vectors, node_of: np.ndarray, nodes: int) -> None:
        order = np.argsort(node_of, kind="stable")
        self.starts = np.concatenate([[0], np.cumsum(np.bincount(node_of, minlength=nodes))])
        self.ids = order.astype(np.uint64)
        self.keys = keys.take(order)

    def range(self, start: int, stop: int) -> PostingView:
        """Zero-copy."""
        ids = self.ids[start:stop]
        return PostingView(ids, ids, Vectors(self.keys.data[start:stop], self.keys.scales[start:stop]))

    def read(self, request: PostingRequest) -> list[PostingView]:
        """As a store would."""
        bounds = zip(self.starts[request.nodes].tolist(), self.starts[request.nodes + 1].tolist(), strict=True)
        return [self.range(start, stop) for start, stop in bounds]

    def all(self) -> Iterator[PostingView]:
        """In pieces of 1,024."""
        for start in range(0, len(self.ids), 1024):
            yield self.range(start, start + 1024)


@dataclass(frozen=True)
class Material:
    """The npz, or what stands in for it."""

    keys: Vectors
    heads: np.ndarray
    rows: np.ndarray
    gold: np.ndarray

    @staticmethod
    def load(path: Path) -> "Material":
        with np.load(path) as file:
            keys = Vectors(file["keys"], file["scales"])
            return Material(keys, file["heads"].astype(np.int64), file["rows"], file["gold"].astype(np.int64))

    @staticmethod
    def synthetic(entries: int, queries: int, seed: int, dimension: int = 384) -> "Material":
        """Spectrum as an encoder's; rows with a cosine of about .6 to their gold, four near copies each."""
        rng = np.random.default_rng(seed)
        spectrum = ((1 + np.arange(dimension) / 8) ** -0.5).astype(np.float32)

        def some(*shape: int) -> np.ndarray:
            return rng.standard_normal((*shape, dimension), np.float32) * spectrum

        heads = np.sort(rng.integers(0, max(1, entries * 2 // 9), entries))
        families = some(heads.max() // 8 + 1)
        centres = some(heads.max() + 1) + 0.6 * families[rng.integers(0, len(families), heads.max() + 1)]
        keys = centres[heads] + 0.7 * some(13)[rng.integers(0, 13, entries)]
        keys /= np.linalg.norm(keys, axis=1, keepdims=True)
        gold = rng.choice(entries, min(queries, entries), replace=False)
        noise = some(len(gold), 1) + 0.15 * some(len(gold), 4)
        noise *= 1.3 / np.linalg.norm(noise, axis=2, keepdims=True)
        return Material(quantise(keys), heads, 16 * (keys[gold][:, None] + noise), gold)


def world_of(all_of_it: Material, entries: int, queries: int, seed: int) -> World:
    """About `entries` of the entries, or all if that is more."""
    keys, heads, rows, gold = all_of_it.keys, all_of_it.heads, all_of_it.rows, all_of_it.gold
    rng = np.random.default_rng(seed)
    chosen = rng.permutation(len(rows))[:queries]
    sizes = np.bincount(heads)
    wanted = np.unique(heads[gold[chosen[gold[chosen] >= 0]]])
    others = rng.permutation(np.setdiff1d(np.flatnonzero(sizes), wanted))
    ranked = np.concatenate([rng.permutation(wanted), others])
    taken = np.zeros(len(sizes), np.bool_)
    taken[ranked[: np.searchsorted(np.cumsum(sizes[ranked]), entries) + 1]] = True
    there = np.flatnonzero(taken[heads])
    place = np.full(len(heads), -1)
    place[there] = np.arange(len(there))
    chosen = chosen[(gold[chosen] < 0) | (place[gold[chosen]] >= 0)]
    golds = np.where(gold[chosen] >= 0, place[gold[chosen]], -1)
    packed = [quantise(row.astype(np.float32).reshape(-1, keys.dimension)) for row in rows[chosen]]
    return World(keys.take(there), heads[there], packed, golds)


def measure(world: World, beams: Beams, seed: int) -> Figures:
    """Build, then fetch each query both ways, one after the other."""
    started = time.perf_counter()
    plan = build.plan(world.keys, world.heads, seed)
    build_seconds = time.perf_counter() - started
    image = TreeImage.of(Generation(1), plan.roots, plan.inter, plan.guides)
    assert not problems(image, plan.node_of)
    postings = Postings(world.keys, plan.node_of, len(plan.inter))
    beams = Beams(beams.root, beams.inter or default_inter(image, K))
    found, exact, times = [], [], []
    for rows in world.rows:
        begun = time.perf_counter()
        found.append(drive(descend(image, rows, K, beams), postings.read))
        middle = time.perf_counter()
        exact.append(scan(postings.all, rows, K))
        times.append((middle - begun, time.perf_counter() - middle))
    costs = [f.cost for f in found]
    cost = np.mean([(c.root_scored, c.inter_scored, c.postings_read, c.entries_scored) for c in costs], axis=0)
    compared = float(cost[0] + cost[1] + cost[3])
    hits = [_gold(world, gold, f.ids, e.ids) for f, e, gold in zip(found, exact, world.gold, strict=True) if gold >= 0]
    gold, gold_exact = np.mean(hits, axis=0) if hits else (np.nan, np.nan)
    fast, slow = 1e6 * np.median(times, axis=0)
    return Figures(
        entries=len(world.keys),
        roots=len(plan.roots),
        inter_nodes=len(plan.inter),
        guides=len(plan.guides),
        build_seconds=round(build_seconds, 1),
        beam_root=beams.root,
        beam_inter=beams.inter,
        fetches=len(found),
        root_compared=round(float(cost[0])),
        guides_compared=round(float(cost[1])),
        postings_read=round(float(cost[2])),
        entries_compared=round(float(cost[3])),
        compared=round(compared),
        compared_share=round(compared / len(world.keys), 4),
        recall_16=_recall(found, exact, 16),
        recall_64=_recall(found, exact, 64),
        gold_exact=round(float(gold_exact), 4),
        gold=round(float(gold), 4),
        microseconds=round(float(fast)),
        exact_microseconds=round(float(slow)),
    )


def _recall(found: list[Found], exact: list[Found], top: int) -> float:
    """Of the exact top, how many are in the block."""
    return round(float(np.mean([np.isin(e.ids[:top], f.ids).mean() for f, e in zip(found, exact, strict=True)])), 4)


def _gold(world: World, gold: int, found: np.ndarray, exact: np.ndarray) -> tuple[bool, bool]:
    """(found, found by the exact scan): the gold or another entry with its key."""
    same = np.flatnonzero((world.keys.data == world.keys.data[gold]).all(axis=1)).astype(np.uint64)
    return bool(np.isin(same, found).any()), bool(np.isin(same, exact).any())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("rows", type=Path, nargs="?")
    parser.add_argument("--entries", type=int, nargs="+", default=[3_000, 30_000, 300_000])
    parser.add_argument("--root", type=int, default=0, help="ROOTs kept; 0: as many as the rows need")
    parser.add_argument("--inter", type=int, default=0, help="INTER nodes read; 0: the default of that size")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    beams = Beams(args.root, args.inter)
    if args.rows is None:
        material = Material.synthetic(max(args.entries), args.queries, args.seed)
    else:
        material = Material.load(args.rows)
    worlds = (world_of(material, n, args.queries, args.seed) for n in args.entries)
    figures = [measure(world, beams, args.seed) for world in worlds]
    if args.json:
        print(json.dumps([asdict(f) for f in figures], indent=1))
        return
    names = (
        "  entries    beams    ROOT  guides entries compared  share  rec@16  rec@64    gold  exact       µs  exact µs"
    )
    print(names)
    for f in figures:
        print(
            f"{f.entries:9,} {f.beam_root:4}/{f.beam_inter:<4} {f.root_compared:7,} {f.guides_compared:7,} "
            f"{f.entries_compared:7,} {f.compared:8,} {f.compared_share:6.1%} {f.recall_16:7.3f} {f.recall_64:7.3f} "
            f"{f.gold:7.3f} {f.gold_exact:6.3f} {f.microseconds:8,} {f.exact_microseconds:9,}"
        )


if __name__ == "__main__":
    main()
