"""search, get, delete, count."""

import sys
from argparse import Namespace
from collections.abc import Iterable

from atlasdb_client.cli import output
from atlasdb_client.client import connect
from atlasdb_contract.errors import InvalidArgument, NotFound
from atlasdb_contract.types import Entry


def search(args: Namespace) -> int:
    """The entries nearest to a text."""
    with connect(args.server) as client:
        hits = client.search(args.collection, args.text, args.k, args.exact)
    if args.json:
        output.print_json([{"cosine": round(hit.cosine, 4)} | output.entry_json(hit.entry) for hit in hits])
    elif hits:
        rows = [(f"{hit.cosine:.3f}", *_row(hit.entry)) for hit in hits]
        output.print_table(("cosine", "id", "head", "relation", "tail"), rows)
    else:
        print(f"{args.collection} is empty", file=sys.stderr)
    return 0


def get(args: Namespace) -> int:
    """Entries by id, then by triple. NotFound after the others were shown."""
    if not args.ids and not args.triple:
        raise InvalidArgument("nothing to get; give entry ids or --triple HEAD RELATION TAIL")
    triples = [tuple(triple) for triple in args.triple]
    with connect(args.server) as client:
        found = client.find(args.collection, triples).tolist()
        entries = client.get(args.collection, [*args.ids, *filter(None, found)], texts=True)
    if args.json:
        output.print_json([output.entry_json(entry) for entry in entries])
    elif entries:
        titles = ("id", "head", "relation", "tail", "key text", "value text", "source")
        output.print_table(titles, [(*_row(e), e.key_text, e.value_text, e.triple.source) for e in entries])
    missing = sorted(set(args.ids) - {entry.id for entry in entries})
    unknown = [f"triple ({', '.join(triple)})" for triple, number in zip(triples, found, strict=True) if not number]
    if missing or unknown:
        told = [f"entry {_listed(missing)}"] * bool(missing) + unknown
        raise NotFound(f"{args.collection} has no {' and no '.join(told)}")
    return 0


def delete(args: Namespace) -> int:
    """Delete entries by id and by triple."""
    if not args.ids and not args.triple:
        raise InvalidArgument("nothing to delete; give entry ids or --triple HEAD RELATION TAIL")
    with connect(args.server) as client:
        done = client.delete(args.collection, args.ids, [tuple(triple) for triple in args.triple])
    if args.json:
        output.print_json({"deleted": done.deleted, "missing": done.missing})
    else:
        missing = f"; {done.missing:,} not there" if done.missing else ""
        print(f"deleted {output.plural(done.deleted, 'entry')}{missing}")
    return 0


def count(args: Namespace) -> int:
    """The number of entries."""
    with connect(args.server) as client:
        entries = client.count(args.collection)
    if args.json:
        output.print_json({"collection": args.collection, "entries": entries})
    else:
        print(entries)
    return 0


def _row(entry: Entry) -> tuple[object, ...]:
    """An inverse entry's triple is the one it was made of; its relation is marked."""
    triple = entry.triple
    return (str(entry.id), triple.head, triple.relation + " (inverse)" * entry.inverse, triple.tail)


def _listed(ids: Iterable[int]) -> str:
    return ", ".join(str(i) for i in ids)
