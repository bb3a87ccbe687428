"""export: the triples of a collection, and their vectors, in a form that `load` reads."""

import gzip
import itertools
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TextIO

from atlasdb_client.cli import output
from atlasdb_client.client import connect
from atlasdb_client.quantised import QuantisedFile
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument
from atlasdb_contract.types import Entry, Triple

HEADER = "head\trelation\ttail\tsource\n"


def export(args: Namespace) -> int:
    """Write every triple, in id order; inverse entries are no triples of their own."""
    kind = args.format or _kind_of(args.output)
    count = 0
    if (args.keys is None) != (args.values is None):
        raise InvalidArgument("--keys and --values go together: each triple has a key and a value")
    with connect(args.server) as client, ExitStack() as stack:
        wanted = args.keys is not None
        entries = client.scan(args.collection, keys=wanted, values=wanted)
        if wanted:
            entries = stack.enter_context(_with_vectors(entries, args.keys, args.values))
        lines = _lines(entries, kind)
        first = next(lines, "")
        with _opened(args.output) as file:
            for line in itertools.chain([first], lines):
                file.write(line)
                count += 1
    if args.output is not None:
        triples = count - (kind == "tsv")
        if args.json:
            output.print_json({"collection": args.collection, "triples": triples, "file": str(args.output)})
        else:
            print(f"wrote {output.plural(triples, 'triple')} to {args.output}")
    return 0


@contextmanager
def _with_vectors(entries: Iterator[Entry], keys: Path, values: Path) -> Iterator[Iterator[Entry]]:
    """The same entries; their vectors go to two files, which take their names when all is done."""
    for path in (keys, values):
        if path.suffix.lower() != ".npy":
            raise InvalidArgument(f"{path}: vectors are written as .npy; give a file of that name")
    try:
        with QuantisedFile(keys) as of_keys, QuantisedFile(values) as of_values:

            def copied() -> Iterator[Entry]:
                for entry in entries:
                    if not entry.inverse and entry.key is not None and entry.value is not None:
                        of_keys.add(entry.key)
                        of_values.add(entry.value)
                    yield entry

            yield copied()
    except OSError as error:
        raise FailedPrecondition(f"can't write {keys} and {values}: {error.strerror or error}") from None


def _kind_of(path: Path | None) -> str:
    return "jsonl" if path is not None and ".jsonl" in path.suffixes[-2:] else "tsv"


def _lines(entries: Iterator[Entry], kind: str) -> Iterator[str]:
    """The file's lines. The first is made after the first entry came, so that an error comes before any line."""
    first = next(entries, None)
    if kind == "tsv":
        yield HEADER
    for entry in itertools.chain([] if first is None else [first], entries):
        if not entry.inverse:
            yield _tsv(entry.triple) if kind == "tsv" else _jsonl(entry.triple)


def _tsv(triple: Triple) -> str:
    fields = (*triple.identity, triple.source)
    if triple.metadata or any(c in field for field in fields for c in "\t\n\r"):
        what = "has metadata" if triple.metadata else "has a tab or a line break in it"
        raise FailedPrecondition(f"the triple {triple.identity!r:.120} {what}, not for tsv; use --format jsonl")
    return "\t".join(fields) + "\n"


def _jsonl(triple: Triple) -> str:
    fields: dict[str, object] = {"head": triple.head, "relation": triple.relation, "tail": triple.tail}
    if triple.source:
        fields["source"] = triple.source
    if triple.metadata:
        fields["metadata"] = dict(triple.metadata)
    return json.dumps(fields, ensure_ascii=False) + "\n"


@contextmanager
def _opened(path: Path | None) -> Iterator[TextIO]:
    """Standard output, or a file that takes its name only when it is complete."""
    if path is None:
        yield sys.stdout
        return
    part = path.with_name(path.name + ".part")
    try:
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(part, "wt", encoding="utf-8", newline="") as file:
            yield file
        part.replace(path)
    except OSError as error:
        raise FailedPrecondition(f"can't write {path}: {error.strerror or error}") from None
    finally:
        part.unlink(missing_ok=True)
