"""Fetches after deletions and after many small inserts, beside a fresh build of the same entries.

    python bench/churn.py WORLD [--entries N] [--start N] [--batch N] [--queries N] [--k N] [--scratch DIR] [--json]

WORLD is a folder that bench/generate.py made. The engine runs in this process, with its upkeep. *half deleted*: of N
entries a random half goes (but no entry that a fetch asks for), and fetches are measured at once, then when the upkeep
has come to rest, then after a build. *grown*: of the N entries, in random order, the first `--start` are inserted and
built, and the rest in batches of `--batch`, one after the other; measured at the last ack, at rest, and after a build.
*gold*, *mass* and *recall*: as in bench/peers.py, against the exact blocks of the entries that are there.
"""

import argparse
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from loading import BATCH, NAME, inserted
from methods import fetches
from store import show
from truth import Truth
from world import Ints, World

from atlasdb.engine.database import Database
from atlasdb.engine.stats import CollectionStats
from atlasdb.engine.upkeep import DEAD_SHARE, DELTA_SLOTS, LEAST_DEAD, QUIET_SECONDS
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import NO_ENCODER, CollectionConfig

DELETED_AT_ONCE = 10_000
PATIENCE = 900
"""Seconds for the upkeep to come to rest."""


class Store:
    """A collection in this process, with where each entry is in the world: `position`, by id."""

    def __init__(self, world: World, scratch: Path, name: str) -> None:
        self.world = world
        self.database = Database.open(scratch / name)
        self.database.create_collection(NAME, CollectionConfig(NO_ENCODER, world.keys.dimension))
        self.position = np.full(len(world) + 1, -1)

    def insert(self, order: Ints, batch: int, ahead: int) -> float:
        """Entries a second."""
        begun = time.perf_counter()
        for which, ack in inserted(self.database, self.world, order, batch, ahead):
            self.position[np.array(ack.ids, np.int64)] = which
        return len(order) / (time.perf_counter() - begun)

    def delete(self, entries: Ints) -> float:
        """Entries a second."""
        gone = np.flatnonzero(np.isin(self.position, entries))
        begun = time.perf_counter()
        for start in range(0, len(gone), DELETED_AT_ONCE):
            self.database.delete(NAME, gone[start : start + DELETED_AT_ONCE].tolist()).result()
        return len(gone) / (time.perf_counter() - begun)

    def stats(self) -> CollectionStats:
        """Of the collection."""
        return self.database.stats(NAME).collections[0]

    def rest(self) -> float:
        """Wait until the upkeep has nothing to do; seconds. SystemExit where that takes longer than PATIENCE."""
        begun = time.perf_counter()
        quiet = 0.0
        while quiet < 2 * QUIET_SECONDS:
            if time.perf_counter() - begun > PATIENCE:
                raise SystemExit(f"the upkeep did not come to rest within {PATIENCE} s")
            time.sleep(QUIET_SECONDS / 4)
            stats = self.stats()
            dead = stats.tombstones > max(LEAST_DEAD, DEAD_SHARE * (stats.entries + stats.tombstones))
            quiet = 0.0 if dead or stats.delta_entries >= DELTA_SLOTS else quiet + QUIET_SECONDS / 4
        return time.perf_counter() - begun

    def build(self) -> float:
        """Seconds."""
        begun = time.perf_counter()
        self.database.build(NAME)
        return time.perf_counter() - begun


def judged(store: Store, there: Ints, k: int, what: str) -> dict[str, Any]:
    """A line: how the store, as it is now, answers beside the exact blocks of the entries `there`."""
    left = store.world.kept(there)
    asked = list(fetches(left, "last"))
    place = np.full(len(store.world), -1)
    place[there] = np.arange(len(there))
    rows = [quantise(fetch.rows) for fetch in asked]
    store.database.fetch(NAME, rows[0], k)
    stats = store.stats()
    blocks, times, compared = [], [], []
    for one in rows:
        begun = time.perf_counter()
        block = store.database.fetch(NAME, one, k)
        times.append(1e3 * (time.perf_counter() - begun))
        blocks.append(place[store.position[block.ids]])
        compared.append(block.cost.inter_scored + block.cost.entries_scored)
    found = Truth.of(left, asked, k).judge(left, asked, blocks, k)
    costs = {"compared": float(np.mean(compared)), "p50 ms": float(np.median(times))}
    state = {"trees": stats.trees, "delta": stats.delta_entries, "dead": stats.tombstones}
    return {"state": what, "entries": stats.entries, **state, **found, **costs}


def phases(store: Store, there: Ints, k: int, what: str, rate: float) -> Iterator[dict[str, Any]]:
    """At once, at rest, and after a build; each with the entries a second before it, or the seconds it took."""
    steps: tuple[tuple[str, Callable[[], float]], ...] = (("at rest", store.rest), ("built anew", store.build))
    yield judged(store, there, k, f"{what}, at once") | {"entries/s": rate, "s": None}
    for step, act in steps:
        seconds = act()
        yield judged(store, there, k, f"{what}, {step}") | {"entries/s": None, "s": seconds}


def halved(world: World, scratch: Path, k: int) -> Iterator[dict[str, Any]]:
    """Half of the entries deleted."""
    store = Store(world, scratch, "halved")
    everything = np.arange(len(world))
    with store.database:
        store.insert(everything, BATCH, ahead=8)
        store.build()
        free = np.flatnonzero(~np.isin(world.texts, world.gold))
        gone = np.random.default_rng(0).permutation(free)[: len(world) // 2]
        yield judged(store, everything, k, "built") | {"entries/s": None, "s": None}
        rate = store.delete(gone)
        yield from phases(store, np.setdiff1d(everything, gone), k, "half deleted", rate)


def grown(world: World, scratch: Path, k: int, start: int, batch: int) -> Iterator[dict[str, Any]]:
    """Most of the entries inserted in small batches."""
    store = Store(world, scratch, "grown")
    order = np.random.default_rng(1).permutation(len(world))
    with store.database:
        store.insert(order[:start], BATCH, ahead=8)
        store.build()
        rate = store.insert(order[start:], batch, ahead=1)
        yield from phases(store, np.arange(len(world)), k, f"grown from {start:,}", rate)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--start", type=int, default=100_000, help="entries before the small batches")
    parser.add_argument("--batch", type=int, default=500)
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--scratch", type=Path, help="where stores lie for the time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    cut = World.load(args.world).cut(args.entries)
    world = cut.kept(np.arange(len(cut))).asked(args.queries)
    with TemporaryDirectory(prefix="atlasdb-churn-", dir=args.scratch) as scratch:
        lines = list(halved(world, Path(scratch), args.k))
        lines += grown(world, Path(scratch), args.k, min(args.start, len(world) // 2), args.batch)
    if args.json:
        print(json.dumps({"lines": lines}, indent=1))
        return
    show(lines, False)


if __name__ == "__main__":
    main()
