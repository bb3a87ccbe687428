"""`make bench`: every measurement, in turn. Tables are printed, and each bench's JSON is left in bench/results/.

    python bench/all.py [--only NAMES] [--data DIR] [--results DIR] [--synthetic N]

Worlds (bench/generate.py) are made in --data where they are not there yet; encoding the real one takes a quarter of an
hour. With `--synthetic N` the peers and the scale are measured on a synthetic world of N entries too. A bench that
lacks a package or its data is skipped, and the reason is said. `make plots` draws what is in bench/results/.
"""

import argparse
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from store import RESULTS, show

HERE = Path(__file__).resolve().parent
REAL = "real"
EXTRA = ("threadpoolctl",)
"""A package of the extra `bench` that every peer needs."""


@dataclass(frozen=True)
class Bench:
    """A script with its arguments, in which {world} is the folder of a world and {results} that of the results;
    `packages` that it cannot do without; `kind` tells runs of one script apart."""

    script: str
    arguments: tuple[str, ...] = ()
    world: str = ""
    packages: tuple[str, ...] = ()
    kind: str = ""

    @property
    def name(self) -> str:
        """Of its result."""
        kind = self.kind or self.world.removeprefix(REAL)
        return f"{self.script}-{kind}" if kind else self.script


BENCHES = (
    Bench("encoder"),
    Bench("roundtrip"),
    Bench("streams"),
    Bench("load"),
    Bench("load", ("--vectors", "384", "--triples", "1000000"), kind="vectors"),
    Bench("recall"),
    Bench("grounding"),
    Bench("integrity"),
    Bench("descent", ("{world}", "--entries", "10000,100000"), REAL),
    Bench("peers", ("--world", "{world}", "--entries", "10000,100000"), REAL, EXTRA),
    Bench("scale", ("{world}", "--entries", "100000,1000000"), REAL),
    Bench("plan", ("{world}", "--measured", "{results}/scale.json"), REAL),
    Bench("churn", ("{world}", "--entries", "1000000"), REAL),
)


def synthetic(entries: int) -> tuple[Bench, ...]:
    """The benches of a synthetic world."""
    world, size = f"synthetic-{entries}", str(entries)
    return (
        Bench("peers", ("--world", "{world}", "--entries", size, "--queries", "200"), world, EXTRA),
        Bench("scale", ("{world}", "--entries", size, "--queries", "200"), world),
    )


def run(script: str, *arguments: str) -> tuple[int, str]:
    """Exit status and output of one of our scripts."""
    command = [sys.executable, str(HERE / f"{script}.py"), *arguments]
    done = subprocess.run(command, check=False, stdout=subprocess.PIPE, text=True)
    return done.returncode, done.stdout


def made(world: str, data: Path) -> str:
    """The world is there, or is made now; else why it cannot be."""
    if (data / world / "gold.npy").is_file():
        return ""
    if world != REAL:
        if why := made(REAL, data):
            return why
        if find_spec("faiss") is None:
            return "synthetic worlds need faiss"
    more = () if world == REAL else ("--entries", world.partition("-")[2])
    print(f"making {data / world}", file=sys.stderr)
    status, _ = run("generate", world.partition("-")[0], "--data", str(data), *more)
    return f"its world could not be made ({status})" if status else ""


def lacking(bench: Bench, data: Path) -> str:
    """Why a bench cannot run, or nothing."""
    missing = [package for package in bench.packages if find_spec(package) is None]
    if missing:
        return f"{', '.join(missing)} not installed: pip install -e '.[bench]'"
    return made(bench.world, data) if bench.world else ""


def tables(found: Any, title: str) -> Iterator[tuple[str, list[dict[str, Any]]]]:
    """Every list of rows in a bench's JSON, with what it is called."""
    if isinstance(found, dict):
        for name, part in found.items():
            yield from tables(part, f"{title}: {name}")
    elif isinstance(found, list) and found and isinstance(found[0], dict):
        yield title, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="", help="these benches, by commas")
    parser.add_argument("--data", type=Path, default=HERE / "data", help="the folder of all worlds")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where JSON is left")
    parser.add_argument("--synthetic", type=int, default=0, metavar="N", help="entries; 0: none (the default)")
    args = parser.parse_args()
    args.results.mkdir(parents=True, exist_ok=True)
    failed = []
    for bench in (*BENCHES, *(synthetic(args.synthetic) if args.synthetic else ())):
        if args.only and bench.script not in args.only.split(","):
            continue
        if why := lacking(bench, args.data):
            print(f"\n== {bench.name}: skipped: {why}", flush=True)
            continue
        print(f"\n== {bench.name}", flush=True)
        arguments = [each.format(world=args.data / bench.world, results=args.results) for each in bench.arguments]
        status, output = run(bench.script, *arguments, "--json")
        if status:
            failed.append(bench.name)
            continue
        (args.results / f"{bench.name}.json").write_text(output, encoding="utf-8")
        for title, rows in tables(json.loads(output), bench.name):
            print(f"\n{title}")
            show(rows, False)
    if failed:
        sys.exit(f"these failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
