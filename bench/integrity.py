"""What the checks of a store cost: exact fetches with and without them, and the look at the file's pages.

    python bench/integrity.py [--entries N] [--rounds N] [--pages FILE] [--json]

*known* compares a record of slots with its checksum when the process first meets it (as the server does; then it has),
*every* compares every slot in every fetch, *none* only what is handed out. D = 384, drawn, k = 16, no server. *memory*
and *disk* look at the pages of the file that was made, or of --pages, which is not changed; for *disk* the system is
asked to forget the file first. A figure is the best of its rounds, in milliseconds.
"""

import argparse
import json
import os
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from store import show

from atlasdb.engine.database import Database
from atlasdb.store import pages
from atlasdb.store.environment import FILE
from atlasdb.store.view import View
from atlasdb.tree.rank import scan
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, Triple, Vectors

DIMENSION = 384
K = 16
NAME = "facts"
BATCH = 1000
CHECKS: dict[str, Callable[[View], Iterable[int] | None]] = {
    "known": lambda view: view.doubted(view.woods()),
    "every": lambda _: None,
    "none": lambda _: (),
}


def drawn(count: int, seed: int) -> Vectors:
    """Keys or rows."""
    data = np.random.default_rng(seed).integers(-127, 128, (count, DIMENSION), np.int8)
    return Vectors(data, np.full(count, 1e-3, np.float32))


def fill(database: Database, entries: int) -> None:
    """The collection, with its tree."""
    database.create_collection(NAME, CollectionConfig(NO_ENCODER, DIMENSION))
    for start in range(0, entries, BATCH):
        triples = [Triple(f"head {n // 3}", f"relation {n % 3}", f"tail {n % 64}") for n in range(start, start + BATCH)]
        keys = drawn(BATCH, start)
        database.insert(NAME, triples, keys, drawn(64, 1).take(np.arange(start, start + BATCH) % 64)).result()
    database.build(NAME)


def best(rounds: int, *work: Callable[[], object]) -> list[float]:
    """Milliseconds of each, in turns."""
    took = [[np.inf] for _ in work]
    for _ in range(rounds):
        for one, times in zip(work, took, strict=True):
            before = time.perf_counter()
            one()
            times.append(1e3 * (time.perf_counter() - before))
    return [round(min(times), 1) for times in took]


def exact(database: Database, rounds: int) -> list[dict[str, float]]:
    """A line for each number of rows."""
    lines = []
    for count in (1, 8, 32):
        rows = drawn(count, 7)
        with database._engine.store.view(NAME) as view:
            work = [lambda check=check: scan(view.woods().forest, rows, K, check(view)) for check in CHECKS.values()]  # noqa: B023
            for one in work:
                one()
            lines.append({"rows": count, **dict(zip(CHECKS, best(rounds, *work), strict=True))})
    return lines


def forget(file: Path) -> None:
    """Have the system read it from the disk again."""
    with open(file, "rb") as opened:
        os.posix_fadvise(opened.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def look(file: Path, rounds: int) -> dict[str, float]:
    """A line for the pages."""
    line = {"GB": round(file.stat().st_size / 1e9, 2)}
    disk = []
    for _ in range(3):
        forget(file)
        disk += best(1, lambda: pages.look(file))
    return line | {"disk": min(disk), "memory": best(rounds, lambda: pages.look(file))[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=100_000, help=f"a multiple of {BATCH}")
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--pages", type=Path, help="another file of a store, for its pages")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    with TemporaryDirectory(prefix="atlasdb-bench-") as scratch:
        with Database.open(Path(scratch)) as database:
            fill(database, args.entries)
            lines = exact(database, args.rounds)
        found = {"exact": lines, "pages": [look(args.pages or Path(scratch) / FILE, args.rounds)]}
    if args.json:
        print(json.dumps(found, indent=2))
        return
    for part in found.values():
        show(part, False)


if __name__ == "__main__":
    main()
