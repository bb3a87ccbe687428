"""Our fetch beside its peers: what each finds and what it costs, on the same entries and rows in the same run.

    python bench/peers.py --world DIR/real [--entries 10000,100000] [--k 16,64] [--rows last|all] [--methods NAMES]
                          [--queries N] [--recall X] [--mass X] [--threads N] [--longest SECONDS] [--json]

A world is what bench/generate.py made; a smaller size takes whole heads of it. Every method builds its index in a
process of its own, with `--threads`, and answers one fetch after the other in one thread; ours is a server with a unix
socket. *recall*: the share of a block whose score, among all entries, is at least that of the exact block's last (so
that equal keys are equally right); *mass*: its softmax mass in parts of the exact block's; *gold*: how often an entry
with the text that was asked for is in it, and how often in the exact one; *compared*: vectors, where it is known; *MB*:
resident memory, with the pages of files that were touched, less that of the empty process or server. The last tables
are those of equal recall and of equal mass: the fastest setting of each method that reaches `--recall`, `--mass`. What
would not fit the free memory, or would take longer than `--longest` to build by its time at the size before, is left
out, and the reason is said.
"""

import argparse
import json
import sys
import time
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from methods import (
    Exact,
    Fetch,
    Hnsw,
    IvfFlat,
    IvfSq8,
    Lance,
    Method,
    Usearch,
    closing,
    fetches,
    forget,
    resident,
)
from ours import Ours
from published import Published
from store import show
from truth import Truth
from world import World, at_size

METHODS: dict[str, type[Any]] = {
    "exact": Exact,
    "ours": Ours,
    "published": Published,
    "ivf": IvfFlat,
    "ivf-sq8": IvfSq8,
    "hnsw": Hnsw,
    "usearch": Usearch,
    "lance": Lance,
}
WARM = 5
SCAN_QUERIES = 30
"""Timed fetches of a method that reads everything."""


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    method: str
    entries: int
    k: int
    setting: int
    n: int
    recall: float
    mass: float
    gold: float
    gold_exact: float
    compared: float | None
    p50_ms: float
    p99_ms: float
    build_s: float
    mb: float
    note: str


@dataclass(frozen=True)
class Task:
    """What a process is to do."""

    method: str
    world: Path
    ks: tuple[int, ...]
    which: str
    queries: int
    threads: int


def measured(task: Task, truth: Truth) -> list[Line]:
    """In a process of its own: build, then every k at every setting."""
    from threadpoolctl import threadpool_limits

    kind = METHODS[task.method]
    before = resident([psutil.Process().pid])
    world = World.load(task.world).asked(task.queries)
    asked = list(fetches(world, task.which))
    lines: list[Line] = []
    with threadpool_limits(task.threads, "blas"):
        begun = time.perf_counter()
        method: Method = kind(world, task.threads)
        build = method.seconds or time.perf_counter() - begun
    with closing(method), threadpool_limits(1, "blas"):
        forget(world)
        for k in task.ks:
            for setting in method.settings:
                lines.append(line(method, world, asked, truth, k, setting, build))
        memory = (resident(method.processes()) - (method.empty or before)) / 2**20
    return [Line(**(asdict(one) | {"mb": memory})) for one in lines]


def answered(pipe: Connection, task: Task, truth: Truth) -> None:
    """The main function of that process: what was measured, or why not."""
    try:
        pipe.send(measured(task, truth))
    except ImportError as error:
        pipe.send(f"not installed: {error.name}")


def apart(task: Task, truth: Truth, longest: float) -> list[Line] | str:
    """What was measured in a new process, or why nothing was."""
    context = get_context("spawn")
    ours, theirs = context.Pipe(duplex=False)
    process = context.Process(target=answered, args=(theirs, task, truth))
    process.start()
    theirs.close()
    try:
        if not ours.poll(longest):
            return f"not done after {longest:,.0f} s"
        found: list[Line] | str = ours.recv()
        return found
    except EOFError:
        process.join()
        return f"its process ended with {process.exitcode}" + (" (no memory?)" if process.exitcode == -9 else "")
    finally:
        for child in psutil.Process(process.pid).children(recursive=True) if process.is_alive() else []:
            child.terminate()
        process.kill()
        process.join()


def line(
    method: Method, world: World, asked: list[Fetch], truth: Truth, k: int, setting: int, build: float
) -> Line:  # fmt: skip
    """Every fetch once, after a few that only warm."""
    for fetch in asked[:WARM]:
        method.fetch(fetch, k, setting)
    blocks, counts, times = [], [], []
    for fetch in asked[:SCAN_QUERIES] if method.name == Exact.name else asked:
        begun = time.perf_counter()
        block, compared = method.fetch(fetch, k, setting)
        times.append(1e3 * (time.perf_counter() - begun))
        blocks.append(block)
        counts.append(compared)
    blocks += list(truth.ids[len(blocks) :, :k])
    return Line(
        method=method.name,
        entries=len(world),
        k=k,
        setting=setting,
        n=len(times),
        **truth.judge(world, asked, blocks, k),
        compared=None if None in counts else float(np.mean(counts)),
        p50_ms=float(np.median(times)),
        p99_ms=float(np.quantile(times, 0.99)),
        build_s=build,
        mb=0.0,
        note=method.note,
    )


def skipped(method: str, entries: int, why: str) -> dict[str, Any]:
    """A row that says so."""
    print(f"{method} at {entries:,}: skipped: {why}", file=sys.stderr)
    return {"method": METHODS[method].name, "entries": entries, "skipped": why}


class Bench:
    """Sizes in turn, and all methods at each."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        self.ks = tuple(int(k) for k in args.k.split(","))
        self.last_build: dict[str, tuple[int, float]] = {}

    def run(self) -> list[dict[str, Any]]:
        """All rows."""
        whole = World.load(self.args.world)
        rows: list[dict[str, Any]] = []
        for size in sorted(int(n) for n in self.args.entries.split(",")):
            if size > len(whole):
                print(f"{self.args.world} has {len(whole):,} entries, not {size:,}: skipped", file=sys.stderr)
                continue
            with at_size(self.args.world, size, self.args.scratch) as folder:
                rows += self.at(folder, size)
        return rows

    def at(self, folder: Path, size: int) -> list[dict[str, Any]]:
        """All methods on one world."""
        args = self.args
        world = World.load(folder).asked(args.queries)
        asked = list(fetches(world, args.rows))
        truth = Truth.of(world, asked, max(self.ks))
        rows: list[dict[str, Any]] = []
        for name in args.methods.split(","):
            why = self.too_much(name, size, world.keys.dimension)
            if why:
                rows.append(skipped(name, size, why))
                continue
            task = Task(name, folder, self.ks, args.rows, args.queries, args.threads)
            begun = time.perf_counter()
            lines = apart(task, truth, 2 * args.longest)
            if isinstance(lines, str):
                rows.append(skipped(name, size, lines))
                continue
            self.last_build[name] = (size, lines[0].build_s)
            print(f"{lines[0].method} at {size:,}: {time.perf_counter() - begun:.0f} s in all", file=sys.stderr)
            rows += [asdict(one) for one in lines]
        return rows

    def too_much(self, name: str, size: int, dimension: int) -> str:
        """Why a method is left out, or nothing."""
        need, there = METHODS[name].needs(size, dimension), psutil.virtual_memory().available
        if need > 0.85 * there:
            return f"needs about {need / 2**30:.1f} GB, {there / 2**30:.1f} are free"
        if name in self.last_build:
            smaller, seconds = self.last_build[name]
            guess = seconds * (size / smaller) ** 1.1
            if guess > self.args.longest:
                return f"would build for about {guess:,.0f} s (--longest {self.args.longest})"
        return ""


def equal(rows: list[dict[str, Any]], what: str, bar: float) -> list[dict[str, Any]]:
    """For each size and k the cheapest setting of each method whose recall or mass (`what`) is `bar` or more."""
    found: list[dict[str, Any]] = []
    good = [row for row in rows if "skipped" not in row]
    for entries, k in sorted({(row["entries"], row["k"]) for row in good}):
        for method in dict.fromkeys(row["method"] for row in good):
            here = [row for row in good if (row["entries"], row["k"], row["method"]) == (entries, k, method)]
            enough = [row for row in here if row[what] >= bar]
            if here:
                row = min(enough, key=lambda r: r["p50_ms"]) if enough else max(here, key=lambda r: r[what])
                found.append({f"{what} {bar}": "yes" if enough else "no"} | row)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--world", type=Path, required=True, help="a folder that bench/generate.py made")
    parser.add_argument("--entries", default="10000,100000", help="by commas")
    parser.add_argument("--k", default="16,64", help="entries of a block, by commas")
    parser.add_argument("--rows", choices=("last", "all"), default="last", help="of the last question token, or of all")
    parser.add_argument("--methods", default=",".join(METHODS), help=f"by commas (default: {','.join(METHODS)})")
    parser.add_argument("--queries", type=int, default=500)
    parser.add_argument("--recall", type=float, default=0.95, help="for the table of equal recall")
    parser.add_argument("--mass", type=float, default=0.99, help="for the table of equal mass")
    parser.add_argument("--threads", type=int, default=2, help="for building; searches have one")
    parser.add_argument("--longest", type=int, default=3600, help="leave out what would build longer, in seconds")
    parser.add_argument("--scratch", type=Path, help="where cut worlds lie for the time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    rows = Bench(args).run()
    bars = {"recall": args.recall, "mass": args.mass}
    tables = {what: equal(rows, what, bar) for what, bar in bars.items()}
    if args.json:
        print(json.dumps({"rows": rows, "bars": bars, "equal": tables}, indent=1))
        return
    show([row for row in rows if "skipped" not in row], False)
    for what, bar in bars.items():
        print(f"\nThe cheapest setting with {what} {bar} or more, or else the best:")
        show([{k: v for k, v in row.items() if k != "note"} for row in tables[what]], False)
    for row in rows:
        if "skipped" in row:
            print(f"{row['method']} at {row['entries']:,}: skipped: {row['skipped']}")


if __name__ == "__main__":
    main()
