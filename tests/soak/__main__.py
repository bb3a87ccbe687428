"""`python -m tests.soak [SUITE ...] [--for 2h | --rounds N | --episodes N] [--seed S] [--report FILE.md|FILE.json]`."""

import argparse
import re
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from atlasdb.service.warm import live

from .report import write
from .runner import Interrupted, Result, Wanted, run, stoppable
from .suites import SUITES

UNITS = {"s": 1, "m": 60, "h": 3600}


def seconds(text: str) -> float:
    """90s, 5m, 2h."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if not match:
        raise argparse.ArgumentTypeError(f"{text!r} is no time; 90s, 5m and 2h are")
    return float(match[1]) * UNITS[match[2]]


def report_file(text: str) -> Path:
    """A path that a report can have."""
    path = Path(text)
    if path.suffix not in (".md", ".json"):
        raise argparse.ArgumentTypeError(f"{text!r} ends in neither .md nor .json")
    return path


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser("python -m tests.soak", description="Break stores in every way, and count the loss.")
    made.add_argument("suites", nargs="*", metavar="SUITE", help=f"of {', '.join(SUITES)}; all without one")
    much = made.add_mutually_exclusive_group()
    much.add_argument("--for", dest="time", type=seconds, metavar="TIME", help="90s, 5m, 2h: of all suites together")
    much.add_argument("--rounds", type=int, metavar="N", help="of each suite; by default what a report promises")
    much.add_argument("--episodes", type=int, metavar="N", help="whole episodes of each suite; 1 replays a seed")
    made.add_argument("--seed", type=int, default=0, metavar="S", help="of the first episode; the next has the next")
    made.add_argument("--report", type=report_file, action="append", default=[], metavar="FILE", help=".md or .json")
    made.add_argument("--keep", type=Path, default=Path("soak-failures"), metavar="DIR", help="for failed episodes")
    return made


def main(words: list[str] | None = None) -> int:
    """0: no promise was broken; 1: one was; 130: stopped. The report is written in any case."""
    args = parser().parse_args(words)
    if unknown := set(args.suites) - set(SUITES):
        parser().error(f"there is no suite {', '.join(sorted(unknown))}; there are {', '.join(SUITES)}")
    names = args.suites or list(SUITES)
    with TemporaryDirectory(prefix="atlasdb-soak-warm-") as folder:
        live(Path(folder))
    results: dict[str, Result] = {}
    stopped = False
    with stoppable():
        for name in names:
            try:
                results[name] = run(name, wanted(args, name, names))
            except Interrupted as interrupted:
                results[name] = interrupted.result
                stopped = True
            for path in args.report:
                write(path, results)
            if stopped:
                break
    broken = sum(len(result.tally.failures) for result in results.values())
    for name, result in results.items():
        said = f"skipped: {result.skipped}" if result.skipped else f"{len(result.tally.failures)} failures"
        print(f"{name}: {result.tally.rounds:,} {SUITES[name].unit}, {said}, {result.seconds:.0f} s")
    return 130 if stopped else int(broken > 0)


def wanted(args: argparse.Namespace, name: str, names: list[str]) -> Wanted:
    """How much of this suite the command line asks for."""
    rounds = args.rounds if args.rounds is not None else SUITES[name].target
    share = None
    if args.time is not None:
        rounds, share = None, args.time * SUITES[name].share / sum(SUITES[one].share for one in names)
    return Wanted(args.seed, rounds, share, args.episodes, args.keep)


if __name__ == "__main__":
    sys.exit(main())
