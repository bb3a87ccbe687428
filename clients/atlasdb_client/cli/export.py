"""export: the triples of a collection, in a form that `load` reads."""

import gzip
import itertools
import json
import sys
from argparse import Namespace
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

from atlasdb_client.cli import output
from atlasdb_client.client import connect
from atlasdb_contract.errors import FailedPrecondition
from atlasdb_contract.types import Entry, Triple

HEADER = "head\trelation\ttail\tsource\n"


def export(args: Namespace) -> int:
    """Write every triple, in id order; inverse entries are no triples of their own."""
    kind = args.format or _kind_of(args.output)
    count = 0
    with connect(args.server) as client:
        lines = _lines(client.scan(args.collection), kind)
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
