"""stats: the store in numbers, once or again and again."""

import json
import sys
import time
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from atlasdb_client.cli import output
from atlasdb_client.cli.screen import Screen
from atlasdb_client.client import Client, connect
from atlasdb_client.stats import CollectionStats, Latency, StoreStats
from atlasdb_contract.quantities import duration, size

WHOLE = (
    *("entries", "triples", "inverse_entries", "heads", "distinct_values", "trees", "root_nodes", "inter_nodes"),
    *("slots", "delta_entries", "tombstones"),
)
"""What is added up over collections."""
BAR_COLUMNS = 32


def stats(args: Namespace) -> int:
    """The store in numbers; with `--watch` until Ctrl-C."""
    with connect(args.server) as client:
        if args.watch is not None:
            _watch(args, client)
        elif args.json:
            output.print_json(as_json(client.stats(args.collection)))
        else:
            print("\n".join(lines(client.stats(args.collection))))
    return 0


def _watch(args: Namespace, client: Client) -> None:
    try:
        if args.json:
            for found in _again(args, client):
                print(json.dumps(as_json(found), ensure_ascii=False), flush=True)
        elif sys.stdout.isatty():
            with Screen() as screen:
                for found in _again(args, client):
                    screen.show(lines(found))
        else:
            for found in _again(args, client):
                print("\n".join([*lines(found), ""]), flush=True)
    except KeyboardInterrupt:
        return


def _again(args: Namespace, client: Client) -> Iterator[StoreStats]:
    due = time.monotonic()
    while True:
        yield client.stats(args.collection)
        due = max(due + args.watch, time.monotonic())
        time.sleep(due - time.monotonic() if due > time.monotonic() else 0)


def as_json(found: StoreStats) -> dict[str, Any]:
    """All of it, with what follows from it."""
    known = asdict(found)
    for one, told in zip(found.collections, known["collections"], strict=True):
        told |= {"delta_share": one.delta_share, "bytes_per_entry": one.bytes_per_entry}
    return known | {"fragmentation": found.fragmentation, "whole": whole(found.collections)}


def whole(collections: Sequence[CollectionStats]) -> dict[str, Any]:
    """The collections added up."""
    tables = sorted({table for one in collections for table in one.table_bytes})
    known: dict[str, Any] = {name: sum(getattr(one, name) for one in collections) for name in WHOLE}
    known["table_bytes"] = {table: sum(one.table_bytes.get(table, 0) for one in collections) for table in tables}
    return known


def lines(found: StoreStats) -> list[str]:
    """For people."""
    shown: list[str] = []
    for one in found.collections:
        shown += [*output.facts(_collection(one)), *_postings(one.posting_sizes), ""]
    if len(found.collections) > 1:
        added = whole(found.collections)
        facts = {name.replace("_", " "): added[name] for name in WHOLE}
        shown += [*output.facts({"collections": len(found.collections)} | facts | _on_disk(added["table_bytes"])), ""]
    return [output.plain(line) for line in shown + output.facts(_server(found))]


def _collection(one: CollectionStats) -> dict[str, object]:
    facts: dict[str, object] = {"collection": one.name, "encoder": f"{one.encoder}, dimension {one.dimension}"}
    facts |= {name.replace("_", " "): getattr(one, name) for name in ("entries", "triples", "inverse_entries")}
    facts["distinct heads"] = f"about {one.heads:,}" if one.heads_estimated else one.heads
    for name in ("distinct_values", "generation", "trees", "root_nodes", "inter_nodes", "slots"):
        facts[name.replace("_", " ")] = getattr(one, name)
    facts["delta entries"] = f"{one.delta_entries:,}, {one.delta_share:.1%} of all slots"
    facts |= {"tombstones": one.tombstones, "largest posting": one.largest_posting, "setsum": one.setsum}
    facts |= _on_disk(one.table_bytes)
    facts["bytes an entry"] = f"{one.bytes_per_entry:,.0f}"
    facts["inserted"] = f"{one.inserted_per_second:,.0f} entries a second"
    facts["fetches"] = _latency(one.fetches)
    samples = output.plural(one.recall.samples, "sample")
    facts["recall"] = f"{one.recall.recall:.4f}, of the mass {one.recall.mass:.4f}; {samples}"
    if not one.recall.samples:
        facts["recall"] = "not sampled yet"
    if one.max_entries:
        facts["quota of entries"] = f"{one.entries:,} of {one.max_entries:,}"
    if one.max_bytes:
        facts["quota of bytes"] = f"{size(sum(one.table_bytes.values()))} of {size(one.max_bytes)}"
    if one.entries_out:
        facts["left out"] = f"{output.plural(one.entries_out, 'entry')}; see 'atlasdb repair'"
    return facts | {f"damage {number}": told for number, told in enumerate(one.damage, 1)}


def _server(found: StoreStats) -> dict[str, object]:
    behind = f"{found.oldest_reader_seconds:.1f} s, {output.plural(found.oldest_reader_commits, 'commit')} behind"
    up = duration(found.uptime_seconds)
    return {
        "server": f"atlasdb {found.server_version}, up for {up}, {output.plural(found.processes, 'worker')}",
        "memory": size(found.resident_bytes),
        "file": f"{size(found.file_bytes)}, format {found.format_version}",
        "free pages": f"{found.free_pages:,} of {found.pages:,}, {found.fragmentation:.1%}",
        "room left": f"{size(found.free_bytes)} of {size(found.map_bytes)}",
        "inserted": f"{found.inserted_per_second:,.0f} entries a second",
        "commits": _latency(found.commits),
        "fetches": _latency(found.fetches),
        "oldest reader": behind,
        "texts encoded": f"{found.texts_encoded:,} in {duration(found.encoder_busy_seconds)}",
    }


def _on_disk(table_bytes: Mapping[str, int]) -> dict[str, object]:
    return {f"{table} on disk": size(count) for table, count in sorted(table_bytes.items())}


def _latency(known: Latency) -> str:
    if not known.count:
        return f"none in {duration(known.seconds)}" if known.seconds else "none"
    times = f"p50 {output.microseconds(known.p50_us)}, p99 {output.microseconds(known.p99_us)}"
    return f"{times}; {known.count:,} in {duration(known.seconds)}"


def _postings(sizes: Sequence[int]) -> list[str]:
    """A histogram: INTER nodes by how many slots they have."""
    if not sizes:
        return []
    titles = [str(1 << i) if i < 2 else f"{(1 << i - 1) + 1} to {1 << i}" for i in range(len(sizes))]
    counts = [f"{count:,}" for count in sizes]
    wide, most = max(map(len, titles)), max(map(len, counts))
    return ["slots of an INTER node:"] + [
        f"  {title:>{wide}}  {count:>{most}}  {output.bar(number / max(sizes), BAR_COLUMNS)}".rstrip()
        for title, count, number in zip(titles, counts, sizes, strict=True)
    ]
