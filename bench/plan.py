"""`atlasdb plan` beside what stores of those sizes have.

    python bench/plan.py WORLD --measured FILE.json [--scratch DIR] [--json]

FILE is what `bench/scale.py WORLD --json` left; WORLD gives the shape of each size that is in it: its heads, distinct
keys and values, and bytes of text. One trial is made for each size. A fetch's measured time has the wire in it, a
measured load the making of the triples, and measured memory whatever the server's threads hold. Ratios are the plan's
figure by the measured one.
"""

import argparse
import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from loading import VALUES, columns
from store import show
from world import World

from atlasdb.planning import trials
from atlasdb.planning.estimate import Machine, Plan, estimated
from atlasdb.planning.shape import Shape

TEXTS = 4096
"""Entries whose texts are measured."""
ROWS, K = 4, 64


def shape_of(world: World) -> Shape:
    """As bench/loading.py stores a world."""
    sample = np.unique(np.linspace(0, len(world) - 1, TEXTS).astype(np.int64))
    texts, _, _ = columns(world, sample)
    keys = np.unique(world.heads.astype(np.int64) << 32 | world.texts)
    values = np.unique(world.texts[: max(1, len(world) // VALUES)])
    return Shape(
        len(world),
        world.keys.dimension,
        float(texts.lengths.sum(axis=1).mean()),
        len(world) / len(np.unique(world.heads)),
        len(keys) / len(world),
        len(values) / len(world),
    )


def planned(shape: Shape, scratch: Path | None) -> Plan:
    """With a trial of its own."""
    with TemporaryDirectory(prefix="atlasdb-plan-", dir=scratch) as folder:
        machine = Machine.here(Path(folder))
        return estimated(shape, trials.run(shape, Path(folder), lambda _: None), machine)


def pairs(plan: Plan, load: dict[str, Any], fetches: list[dict[str, Any]]) -> Iterator[tuple[str, float, float]]:
    """What is compared: name, planned, measured."""
    for table, size in plan.disk.tables.items():
        yield f"{table}, B an entry", size / plan.shape.entries, load[f"{table} B"]
    tables = sum(load[f"{table} B"] for table in plan.disk.tables)
    yield "in use, B an entry", plan.disk.in_use / plan.shape.entries, tables
    yield "file, B an entry", plan.disk.peak / plan.shape.entries, load["file B"]
    yield "INTER nodes", plan.nodes, load["nodes"]
    yield "loaded a second", plan.load.rate, 2 / (1 / load["first/s"] + 1 / load["last/s"])
    yield "build, s", plan.build.seconds, load["build s"]
    yield "memory by the size, MB", plan.memory.kept / 2**20, load["memory MB"]
    for line in fetches:
        if (line["entries"], line["rows"], line["k"]) == (plan.shape.entries, ROWS, K):
            yield "fetch, ms", plan.fetch.warm_us / 1e3, line["p50 ms"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("--measured", type=Path, required=True, help="what bench/scale.py printed with --json")
    parser.add_argument("--scratch", type=Path, help="where the trial's store lies for the time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    measured = json.loads(args.measured.read_text("utf-8"))
    world, rows = World.load(args.world), []
    for load in measured["load"]:
        plan = planned(shape_of(world.cut(load["entries"])), args.scratch)
        for name, ours, theirs in pairs(plan, load, measured["fetch"]):
            rows.append({"entries": load["entries"], "figure": name, "plan": float(ours), "measured": float(theirs)})
            rows[-1]["ratio"] = ours / theirs if theirs else None
    show(rows, args.json)


if __name__ == "__main__":
    main()
