"""How the descent's constants were chosen: what it finds and what it compares, with one of them changed.

    python bench/descent.py FOLDER [--entries 10000,100000,300000] [--queries N] [--builds N] [--own] [--json]

FOLDER is a world of bench/generate.py, real or synthetic. The tree is planned in memory and walked in this process, in
one thread; microseconds are of the descent alone. Trees differ by the order of the heads in them, which a store numbers
by a hash with a salt of its own: each build numbers them anew. One line for each setting and build: the store's own,
and, without --own, it with one constant changed. *mass*, *gold* and *recall*: as in bench/peers.py.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from methods import fetches
from store import show
from truth import Truth
from world import World

from atlasdb.tree import descend as descending
from atlasdb.tree.build import plan
from atlasdb.tree.check import problems
from atlasdb.tree.descend import descend
from atlasdb.tree.image import SLOT_COLUMNS, Columns, Forest, Tree
from atlasdb.tree.rank import Found
from atlasdb.tree.slots import Slots
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Vectors

K = 64
WARM = 20
SETTINGS: tuple[tuple[str, str, float], ...] = (
    ("the store's own", "", 0),
    *(("depth", "DEPTH", depth) for depth in (6, 7, 9, 10)),
    *(("cut", "CUT", cut) for cut in (6, 8, 12)),
    *(("gates", "GATES", gates) for gates in (32, 64, 256)),
    *(("nodes", "NODES", nodes) for nodes in (256, 384, 512, 1024, 1536)),
    *(("ROOTs", "ROOTS", roots) for roots in (2, 4, 16)),
    *(("ROOTs' nodes", "SCANNED", nodes) for nodes in (1024, 16384)),
    *(("slots, most", "PLENTY", slots) for slots in (1024, 2048)),
)


@contextmanager
def changed(name: str, value: float) -> Iterator[None]:
    """One constant at another value."""
    before = getattr(descending, name, None)
    if name:
        setattr(descending, name, value if isinstance(before, int) else np.float32(value))
    try:
        yield
    finally:
        if name:
            setattr(descending, name, before)


def planned(world: World, heads: npt.NDArray[np.uint64]) -> Forest:
    """A world's tree in memory, with its heads numbered so; entry i has the id i + 1."""
    ids = np.arange(1, len(world) + 1, dtype=np.uint64)
    given = Slots.single(ids, ids, heads, Vectors(np.array(world.keys.data), world.keys.scales))
    made = plan(given)
    assert not problems(made.root_starts, made.links, made.starts, len(made.order))
    tree = Tree.of(made, given)
    return Forest.of(world.keys.dimension, [tree], Columns.none(SLOT_COLUMNS), np.zeros(0, np.uint64))


def walked(forest: Forest, rows: list[Vectors]) -> tuple[list[Found], list[float]]:
    """What each fetch finds, and its seconds."""
    for one in rows[:WARM]:
        descend(forest, one, K)
    found, times = [], []
    for one in rows:
        begun = time.perf_counter()
        found.append(descend(forest, one, K))
        times.append(time.perf_counter() - begun)
    return found, times


def measure(world: World, queries: int, builds: int, own: bool) -> Iterator[dict[str, Any]]:
    """All settings on one world."""
    world = world.asked(queries)
    asked = list(fetches(world, "last"))
    rows = [quantise(fetch.rows) for fetch in asked]
    truth = Truth.of(world, asked, K)
    for build in range(builds):
        order = np.random.default_rng(build).permutation(int(world.heads.max()) + 1).astype(np.uint64)
        begun = time.perf_counter()
        forest = planned(world, order[world.heads])
        seconds = time.perf_counter() - begun
        (tree,) = forest.trees
        sizes = {"entries": len(world), "slots": len(tree.slots), "nodes": tree.node_count}
        for setting, name, value in SETTINGS[: 1 if own else None]:
            with changed(name, value):
                found, times = walked(forest, rows)
            judged = truth.judge(world, asked, [one.ids.astype(np.int64) - 1 for one in found], K)
            yield (
                sizes
                | {"build": build, "plan s": round(seconds, 1), "setting": setting, "value": value or ""}
                | {name: round(share, 4) for name, share in judged.items()}
                | costs(found)
                | {f"p{q} us": round(1e6 * float(np.quantile(times, q / 100))) for q in (50, 99)}
            )


def costs(found: list[Found]) -> dict[str, int]:
    """The means."""
    costs = [(f.cost.inter_scored, f.cost.postings_read, f.cost.entries_scored) for f in found]
    names = ("looked at", "of nodes", "slots compared")
    return dict(zip(names, map(round, np.mean(costs, axis=0).tolist()), strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--entries", default="10000,100000,300000", help="by commas")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--builds", type=int, default=1)
    parser.add_argument("--own", action="store_true", help="the store's own settings alone")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    world = World.load(args.folder)
    lines = [
        line
        for size in args.entries.split(",")
        for line in measure(world.cut(int(size)), args.queries, args.builds, args.own)
    ]
    show(lines, args.json)


if __name__ == "__main__":
    main()
