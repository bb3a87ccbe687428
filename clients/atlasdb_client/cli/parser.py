"""Every command and flag of `atlasdb`. Imports nothing heavy: `atlasdb --help` is quick."""

import argparse
import math
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from atlasdb_client.target import DEFAULT_TARGET
from atlasdb_contract.command import Parser

SERVER_VARIABLE = "ATLASDB_SERVER"
GLOBAL_VALUES = ("--server",)
"""Flags before the command that take a value."""
BUILT_IN = (
    *("load", "collections", "build", "stats", "verify", "repair", "search"),
    *("explain", "get", "delete", "export", "count", "compact", "snapshot"),
)
EXTENSION_HELP = {
    "serve": "run a server on a folder (needs atlasdb[server])",
    "migrate": "say what format a store has, and bring it to this version's (needs atlasdb[server])",
    "plan": "tell what a collection of some size needs on this machine (needs atlasdb[server])",
}


class Version(argparse.Action):
    """Print the version, looked up only when it is asked for."""

    def __init__(self, option_strings: Sequence[str], dest: str, **options: Any) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=options.get("help"))

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        """Print it and leave with 0."""
        from importlib.metadata import version

        print(f"atlasdb {version('atlasdb')}")
        parser.exit()


def build_parser(extensions: Sequence[str] = ()) -> argparse.ArgumentParser:
    """The whole tree; `extensions` are further commands to list in the help."""
    parser = Parser(prog="atlasdb", description="A knowledge graph that a language model attends to.")
    parser.add_argument("--version", action=Version, help="print the version and leave")
    server = os.environ.get(SERVER_VARIABLE) or DEFAULT_TARGET
    _add_globals(parser, server=server, as_json=False)
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    admin = (_build, _stats, _verify, _repair, _compact, _snapshot)
    for add in (_load, _collections, *admin, _search, _explain, _get, _delete, _export, _count):
        add(commands)
    for name in extensions:
        commands.add_parser(name, help=EXTENSION_HELP.get(name, f"see 'atlasdb {name} --help'"), add_help=False)
    return parser


def _add_globals(parser: argparse.ArgumentParser, server: str, as_json: bool | str) -> None:
    """`--server` and `--json`: the same before and after the command."""
    parser.add_argument(
        "--server",
        metavar="ADDRESS",
        default=server,
        help=f"HOST:PORT or unix:PATH of the server (default {DEFAULT_TARGET}, or ${SERVER_VARIABLE})",
    )
    parser.add_argument("--json", action="store_true", default=as_json, help="print JSON")


def _command(commands: Any, name: str, run: str, text: str, collection: str = "required") -> argparse.ArgumentParser:
    """A command whose function is `run`: "module:function" under atlasdb_client.cli."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    parser.set_defaults(run=run)
    _add_globals(parser, server=argparse.SUPPRESS, as_json=argparse.SUPPRESS)
    if collection == "required":
        parser.add_argument("--collection", metavar="NAME", required=True, help="the collection")
    elif collection == "optional":
        parser.add_argument("--collection", metavar="NAME", default="", help="one collection only (default: all)")
    return parser


def _add_config(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--encoder", metavar="NAME", help="all-MiniLM-L6-v2 (default), or none: clients give vectors")
    parser.add_argument("--inverse", metavar="WHICH", help="none (default), all, or relations between commas")
    parser.add_argument(
        "--phrases", metavar="FILE.json", type=Path, help='noun phrases by relation: {"born in": "place of birth"}'
    )


def _load(commands: Any) -> None:
    parser = _command(commands, "load", "load:load", "load triples from files into a collection")
    parser.add_argument("files", metavar="FILE", nargs="+", type=Path, help=".tsv, .csv or .jsonl, perhaps with .gz")
    parser.add_argument(
        "--on-bad", choices=("skip", "fail"), default="skip", help="report bad lines and go on (default), or stop"
    )
    vectors = ".npy, .safetensors[:TENSOR] or .parquet[:COLUMN]"
    parser.add_argument("--keys", metavar="FILE", help=f"the lines' key vectors, floats (lines, D): {vectors}")
    parser.add_argument("--values", metavar="FILE", help="the lines' value vectors, as many")
    _add_config(parser)
    parser.add_argument("--build", action="store_true", help="build the tree afterwards")


def _collections(commands: Any) -> None:
    text = "list, create, change or drop collections"
    actions = commands.add_parser("collections", help=text, description=text.capitalize() + ".").add_subparsers(
        metavar="ACTION", required=True, parser_class=Parser
    )
    _command(actions, "list", "collections:listing", "list the collections", collection="none")
    create = _command(actions, "create", "collections:create", "make an empty collection", collection="none")
    create.add_argument("name", metavar="NAME", help="small letters, digits, _ and -")
    _add_config(create)
    create.add_argument(
        "--dimension", metavar="D", type=_positive, default=0, help="of the vectors, with --encoder none"
    )
    create.add_argument("--if-missing", action="store_true", help="an existing one of the same config is fine")
    _add_quota(create)
    text = "change what a collection may hold"
    change = _command(actions, "set", "collections:limit", text, collection="none")
    change.add_argument("name", metavar="NAME", help="the collection")
    _add_quota(change)
    drop = _command(actions, "drop", "collections:drop", "delete a collection and all that is in it", collection="none")
    drop.add_argument("name", metavar="NAME", help="the collection")
    drop.add_argument("--yes", action="store_true", help="don't ask")


def _add_quota(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--max-entries", metavar="N", type=_natural, help="most entries that it may hold; 0: no limit")
    parser.add_argument("--max-bytes", metavar="N", type=_natural, help="most bytes of its tables; 0: no limit")


def _build(commands: Any) -> None:
    parser = _command(commands, "build", "admin:build", "build the tree of a collection")
    parser.add_argument("--seed", metavar="N", type=_natural, default=0, help="of the k-means (default 0)")


def _stats(commands: Any) -> None:
    parser = _command(commands, "stats", "stats:stats", "show the store in numbers", collection="optional")
    parser.add_argument(
        "--watch",
        metavar="SECONDS",
        type=_pause,
        nargs="?",
        const=2.0,
        help="again and again (default: every 2)",
    )


def _verify(commands: Any) -> None:
    text = "check every record; exit status 1 if any is damaged"
    parser = _command(commands, "verify", "admin:verify", text, collection="optional")
    parser.add_argument(
        "--rate",
        metavar="MB/S",
        type=_rate,
        default=0.0,
        help="read no faster (default: no limit)",
    )
    parser.add_argument("--resume", action="store_true", help="go on where the last one was cut off")


def _repair(commands: Any) -> None:
    text = "put right what is damaged, and name what is lost; exit status 1 if anything is"
    parser = _command(commands, "repair", "admin:repair", text, collection="optional")
    parser.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")


def _compact(commands: Any) -> None:
    text = "give back the space of what was deleted, while the server serves"
    parser = _command(commands, "compact", "compact:compact", text, collection="none")
    parser.add_argument("--dry-run", action="store_true", help="say what it would free and take, and change nothing")
    parser.add_argument(
        "--max-seconds",
        metavar="S",
        type=_seconds,
        default=0.0,
        help="stop after so long (default: never)",
    )
    parser.add_argument(
        "--rate",
        metavar="MB/S",
        type=_rate,
        default=0.0,
        help="copy no faster (default: no limit)",
    )


def _snapshot(commands: Any) -> None:
    text = "make, list, verify, restore or delete whole copies of the store"
    actions = commands.add_parser("snapshot", help=text, description=text.capitalize() + ".").add_subparsers(
        metavar="ACTION", required=True, parser_class=Parser
    )
    create = _command(actions, "create", "snapshot:create", "copy the store as it is now, and check the copy", "none")
    create.add_argument(
        "name", metavar="NAME", nargs="?", default="", help="small letters, digits, _ . and -; default: the time"
    )
    create.add_argument(
        "--rate",
        metavar="MB/S",
        type=_rate,
        default=0.0,
        help="copy no faster (default: no limit)",
    )
    _command(actions, "list", "snapshot:listing", "list the snapshots", collection="none")
    for name, told in (("verify", "check a snapshot; exit status 1 if it is damaged"), ("delete", "remove a snapshot")):
        _command(actions, name, f"snapshot:{name}", told, collection="none").add_argument("name", metavar="NAME")
    text = (
        "put a snapshot in the place of a store whose server is stopped, or into a new folder (needs atlasdb[server])"
    )
    restore = _command(actions, "restore", "snapshot:restore", text, collection="none")
    restore.add_argument("name", metavar="NAME", help="the snapshot")
    restore.add_argument("--data", metavar="DIR", required=True, help="the folder of the store that it was made of")
    restore.add_argument("--to", metavar="DIR", help="the folder to restore to (default: that store's)")
    restore.add_argument("--force", action="store_true", help="replace the store that is there")


def _search(commands: Any) -> None:
    parser = _command(commands, "search", "entries:search", "find the entries nearest to a text")
    parser.add_argument("text", metavar="TEXT", help="what to look for")
    parser.add_argument("-k", metavar="N", type=_positive, default=10, help="how many (default 10)")
    parser.add_argument("--exact", action="store_true", help="compare with every key instead of descending the tree")


def _explain(commands: Any) -> None:
    text = "show how a search descends the tree, and why an entry is found or not"
    parser = _command(commands, "explain", "explain:explain", text)
    parser.add_argument("text", metavar="TEXT", help="what to look for")
    parser.add_argument("-k", metavar="N", type=_positive, default=10, help="how many (default 10)")
    parser.add_argument(
        "--entry", metavar="ID", type=_positive, action="append", default=[], help="say of it why; may be repeated"
    )
    parser.add_argument(
        "--triple", nargs=3, metavar=("HEAD", "RELATION", "TAIL"), action="append", default=[], help="the same"
    )


def _get(commands: Any) -> None:
    parser = _command(commands, "get", "entries:get", "show entries by id or by triple")
    parser.add_argument("ids", metavar="ID", nargs="*", type=_positive, help="entry ids")
    parser.add_argument(
        "--triple", nargs=3, metavar=("HEAD", "RELATION", "TAIL"), action="append", default=[], help="may be repeated"
    )


def _delete(commands: Any) -> None:
    parser = _command(commands, "delete", "entries:delete", "delete entries by id or by triple")
    parser.add_argument("ids", metavar="ID", nargs="*", type=_positive, help="entry ids")
    parser.add_argument(
        "--triple", nargs=3, metavar=("HEAD", "RELATION", "TAIL"), action="append", default=[], help="may be repeated"
    )


def _export(commands: Any) -> None:
    parser = _command(commands, "export", "export:export", "write the triples of a collection, for 'load' to read")
    parser.add_argument("--format", choices=("tsv", "jsonl"), help="default: by the suffix of -o, or tsv")
    parser.add_argument("-o", "--output", metavar="FILE", type=Path, help="default: standard output; .gz is gzipped")
    parser.add_argument("--keys", metavar="FILE.npy", type=Path, help="write the lines' key vectors too, as stored")
    parser.add_argument("--values", metavar="FILE.npy", type=Path, help="and their value vectors")


def _count(commands: Any) -> None:
    _command(commands, "count", "entries:count", "print the number of entries")


def _positive(text: str) -> int:
    number = _natural(text)
    if number == 0:
        raise argparse.ArgumentTypeError("0 is too small; it is a whole number from 1 up")
    return number


def _between(least: float, most: float, what: str) -> Callable[[str], float]:
    """A type of flags: a number of `what` from `least` to `most`."""

    def number(text: str) -> float:
        try:
            found = float(text)
        except ValueError:
            found = math.nan
        if not least <= found <= most:
            raise argparse.ArgumentTypeError(f"'{text}' is no number of {what} from {least:g} to {most:g}")
        return found

    return number


_pause = _between(0.1, 86_400, "seconds")
_seconds = _between(0.001, 1e9, "seconds")
_rate = _between(0.066, 1e9, "megabytes a second")


def _natural(text: str) -> int:
    if not text.isascii() or not text.isdigit():
        raise argparse.ArgumentTypeError(f"'{text}' is not a whole number from 0 up")
    return int(text)
