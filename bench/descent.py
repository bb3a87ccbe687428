"""How the descent's constants were chosen: what it finds and what it compares, with one of them changed.

    python bench/descent.py FOLDER [--entries 10000,100000,300000] [--queries N] [--json]

FOLDER is a world of bench/generate.py, real or synthetic. The tree is planned in memory and walked in this process, in
one thread; microseconds are of the descent alone. One line for each setting: the store's own, and it with one constant
changed. *gold* is how often an entry with the text that was asked for is in the block, in parts of how often the exact
block has it; *mass* the share of the exact block's softmax probability.
"""

import argparse
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from store import show
from world import World

from atlasdb.tree import descend as descending
from atlasdb.tree.build import plan
from atlasdb.tree.check import problems
from atlasdb.tree.descend import descend
from atlasdb.tree.image import SLOT_COLUMNS, Columns, Forest, Tree
from atlasdb.tree.rank import Found, scan
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
    *(("nodes", "NODES", nodes) for nodes in (256, 384, 512)),
    *(("ROOTs", "ROOTS", roots) for roots in (2, 4, 16)),
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


def planned(world: World) -> tuple[Tree, Forest]:
    """A world's tree in memory; entry i has the id i + 1."""
    ids = np.arange(1, len(world) + 1, dtype=np.uint64)
    keys = Vectors(np.array(world.keys.data), world.keys.scales)
    given = Slots.single(ids, ids, world.heads.astype(np.uint64), keys)
    made = plan(given)
    assert not problems(made.root_starts, made.links, made.starts, len(made.order))
    tree = Tree.of(made, given)
    return tree, Forest.of(keys.dimension, [tree], Columns.none(SLOT_COLUMNS), np.zeros(0, np.uint64))


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


def measure(world: World, queries: int) -> list[dict[str, Any]]:
    """All settings on one world."""
    asked = world.asked(queries)
    begun = time.perf_counter()
    tree, forest = planned(world)
    seconds = time.perf_counter() - begun
    rows = [quantise(one) for one in asked.rows]
    truth = [scan(forest, one, K) for one in rows]
    lines = []
    for setting, name, value in SETTINGS:
        with changed(name, value):
            found, times = walked(forest, rows)
        lines.append(
            {"entries": len(world), "slots": len(tree.slots), "nodes": tree.node_count, "plan s": round(seconds, 1)}
            | {"setting": setting, "value": value or ""}
            | compared(world, asked.gold, truth, found)
            | {"p50 us": round(1e6 * float(np.median(times))), "p99 us": round(1e6 * float(np.quantile(times, 0.99)))}
        )
    return lines


def compared(world: World, gold: Any, truth: list[Found], found: list[Found]) -> dict[str, float]:
    """What was found of what is true, and the mean cost."""
    kept = [np.isin(right.ids, one.ids) for right, one in zip(truth, found, strict=True)]
    mass = np.mean([right.scores[there].sum() / right.scores.sum() for right, there in zip(truth, kept, strict=True)])
    golds = [
        [bool((world.texts[block.ids.astype(np.int64) - 1] == text).any()) for block in (one, right)]
        for text, one, right in zip(gold, found, truth, strict=True)
    ]
    ours, theirs = np.mean(golds, axis=0)
    cost = np.mean([(f.cost.inter_scored, f.cost.postings_read, f.cost.entries_scored) for f in found], axis=0)
    return {
        "recall@16": round(float(np.mean([there[:16].mean() for there in kept])), 3),
        "gold": round(float(ours / theirs), 3),
        "gold, exact": round(float(theirs), 3),
        "mass": round(float(mass), 3),
        "looked at": round(float(cost[0])),
        "of nodes": round(float(cost[1])),
        "slots compared": round(float(cost[2])),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--entries", default="10000,100000,300000", help="by commas")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    world = World.load(args.folder)
    lines = [line for size in args.entries.split(",") for line in measure(world.cut(int(size)), args.queries)]
    show(lines, args.json)


if __name__ == "__main__":
    main()
