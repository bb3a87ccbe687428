"""`atlasdb plan`: flags, the trial, the report."""

import argparse
import json
import os
import re
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

from atlasdb.settings import ONE_THREAD
from atlasdb_contract.command import OK, Parser, command
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument

_NUMBER = re.compile(r"\d[\d_,]*(\.\d+)?([eE][+-]?\d{1,2})?")


def parser() -> Parser:
    """The flags; the shape's have the figures of three real graphs as defaults."""
    flags = Parser(
        prog="atlasdb plan",
        description="Tell what a collection of some size needs on this machine, from a trial of some ten seconds.",
    )
    flags.add_argument("--entries", metavar="N", required=True, help="how many entries: 1e9, 10_000_000 or plain")
    flags.add_argument("--dim", metavar="D", default="384", help="dimension of the vectors (default 384)")
    flags.add_argument("--text-bytes", metavar="B", default="57", help="UTF-8 of head, relation and tail (default 57)")
    flags.add_argument("--heads", metavar="E", default="12.1", help="entries a head (default 12.1)")
    flags.add_argument(
        "--distinct-keys", metavar="SHARE", default="0.376", help="distinct keys of heads, an entry (default 0.376)"
    )
    flags.add_argument("--values", metavar="SHARE", default="0.082", help="distinct values, an entry (default 0.082)")
    flags.add_argument(
        "--data", metavar="DIR", default=".", help="a folder on the disk that is meant (default: this one)"
    )
    flags.add_argument("--json", action="store_true", help="print JSON")
    return flags


@command("atlasdb")
def main(argv: Sequence[str]) -> int:
    """Plan. 0: printed; 1: could not be worked out; 2: wrong flags."""
    flags = parser()
    args = flags.parse_args(argv)
    os.environ.setdefault(*ONE_THREAD)
    _plan(flags, args)
    return OK


def _plan(flags: Parser, args: argparse.Namespace) -> None:
    from atlasdb.planning.estimate import Machine, estimated
    from atlasdb.planning.report import text
    from atlasdb.planning.shape import Shape
    from atlasdb.planning.trials import run

    with flags.judging():
        shape = Shape(
            whole("--entries", args.entries),
            whole("--dim", args.dim),
            number("--text-bytes", args.text_bytes),
            number("--heads", args.heads),
            number("--distinct-keys", args.distinct_keys),
            number("--values", args.values),
        )
    data = Path(args.data)
    if not (data.is_dir() and os.access(data, os.W_OK | os.X_OK)):
        raise FailedPrecondition(f"{data} is no folder that can be written; give --data a folder on the disk you mean")
    machine = Machine.here(data)
    try:
        with TemporaryDirectory(prefix="atlasdb-plan-", dir=data) as folder:
            trial = run(shape, Path(folder), _say)
    except OSError as error:
        raise FailedPrecondition(f"the trial in {data} failed: {error.strerror or error}") from error
    finally:
        _say("")
    plan = estimated(shape, trial, machine)
    print(json.dumps(asdict(plan), indent=2) if args.json else text(plan))


def _say(step: str) -> None:
    """What is being tried, on a terminal; an empty step clears the line."""
    if sys.stderr.isatty():
        print(f"\r\x1b[K{step and f'trying {step}'}", end="", file=sys.stderr, flush=True)


def number(flag: str, given: str) -> float:
    """1e9, 10_000_000, 1,000 or 57.4. InvalidArgument names the flag."""
    if not given.isascii() or not _NUMBER.fullmatch(given):
        raise InvalidArgument(f"{flag} {given!r} is not a number such as 1e9, 10_000_000 or 57.4")
    return float(given.replace("_", "").replace(",", ""))


def whole(flag: str, given: str) -> int:
    """The same without a fraction."""
    found = number(flag, given)
    if found != int(found):
        raise InvalidArgument(f"{flag} {given!r} is not a whole number")
    return int(found)
