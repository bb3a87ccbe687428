"""Our store as it grows: loading, size, memory, fetches, and several clients at once.

    python bench/scale.py WORLD [--entries 100000,1000000] [--k 16,64] [--queries N] [--seconds S] [--scratch DIR]
                          [--json]

WORLD is a folder that bench/generate.py made; a smaller size takes whole heads of it. The first table: entries a second
that the engine takes, with keys, values and texts, of the first and of the last million (or half); the build; bytes an
entry, of the file and of each table's pages; MB of memory (RssAnon) of a server that has answered all fetches, less
those of a server with an empty store. The second: fetches one after the other through the unix socket, of the 4 rows of
a last question token and of 32 rows, those of eight questions; *gold*: how often an entry with the text that was asked
for is in the block, and how often in the exact one; *mass* and *recall*: as in bench/peers.py. The third: fetches a
second of so many clients, each a process, over TCP, of a server with two workers.
"""

import argparse
import json
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from loading import NAME, filled
from methods import Fetch, Found, anonymous, fetches
from store import Running, listening, show
from streams import measured
from truth import Truth
from world import World, at_size

from atlasdb_client import Client, connect
from atlasdb_contract.codec import quantise

TOGETHER = 8
"""Questions of a fetch of 32 rows."""
WARM = 20
MILLION = 1_000_000
CLIENTS = (1, 8)
WORKERS = 2


def empty_memory() -> int:
    """Bytes of a server with an empty store."""
    with TemporaryDirectory(prefix="atlasdb-scale-") as scratch, listening(Path(scratch) / "data") as server:
        return anonymous(server.processes())


def together(asked: list[Fetch]) -> list[Fetch]:
    """Fetches that ask for TOGETHER of these at once."""
    groups = (asked[at : at + TOGETHER] for at in range(0, len(asked) - TOGETHER + 1, TOGETHER))
    rows = [np.concatenate([fetch.rows for fetch in group]) for group in groups]
    return [Fetch(each, each) for each in rows]


def fetched(client: Client, asked: list[Fetch], k: int, position: Any) -> tuple[list[Found], list[float]]:
    """Blocks as positions in the world, and milliseconds."""
    blocks, times = [], []
    rows = [quantise(fetch.rows) for fetch in asked]
    with client.fetch_stream(NAME) as stream:
        for one in rows[:WARM]:
            stream.fetch(one, k)
        for one in rows:
            begun = time.perf_counter()
            block = stream.fetch(one, k)
            times.append(1e3 * (time.perf_counter() - begun))
            blocks.append(position[block.ids])
    return blocks, times


def fetching(client: Client, world: World, position: Any, ks: list[int]) -> list[dict[str, Any]]:
    """A line for each number of rows and each k."""
    single = list(fetches(world, "last"))
    lines: list[dict[str, Any]] = []
    for asked in (single, together(single)):
        truth = Truth.of(world, asked, max(ks))
        for k in ks:
            blocks, times = fetched(client, asked, k, position)
            judged = truth.judge(world, asked, blocks, k)
            if asked is not single:
                judged |= {"gold": None, "gold_exact": None}
            row = {"entries": len(world), "rows": len(asked[0].rows), "k": k, "n": len(asked)} | judged
            lines.append(row | {"p50 ms": float(np.median(times)), "p99 ms": float(np.quantile(times, 0.99))})
    return lines


def several(server: Running, world: World, k: int, seconds: float) -> list[dict[str, Any]]:
    """Fetches a second of one client and of eight."""
    rows = [quantise(one) for one in world.rows]
    lines = []
    for clients in CLIENTS:
        asked = [[*rows[turn * 7 % len(rows) :], *rows[: turn * 7 % len(rows)]] for turn in range(clients)]
        line = measured(server, WORKERS, "tcp", asked, k, seconds)
        lines.append(
            {"entries": len(world), "clients": clients, "fetches/s": line.per_second}
            | {"p50 ms": line.p50_us / 1e3, "p99 ms": line.p99_us / 1e3, "server's cores": line.cores}
        )
    return lines


def measure(folder: Path, args: argparse.Namespace, empty: int) -> dict[str, list[dict[str, Any]]]:
    """All three tables' lines of one size."""
    ks = [int(k) for k in args.k.split(",")]
    world = World.load(folder).asked(args.queries)
    with TemporaryDirectory(prefix="atlasdb-scale-", dir=args.scratch) as scratch:
        data = Path(scratch) / "data"
        loaded = filled(data, folder)
        with listening(data) as server, connect(server.targets["unix"], timeout=600) as client:
            fetching_lines = fetching(client, world, loaded.position, ks)
            memory = anonymous(server.processes()) - empty
            stats = client.stats()
            tables = next(one for one in stats.collections if one.name == NAME).table_bytes
            nodes = next(one for one in stats.collections if one.name == NAME).inter_nodes
        with listening(data, WORKERS) as server:
            clients = several(server, world, ks[-1], args.seconds)
    part = min(MILLION, len(world) // 2)
    line = {
        "entries": len(world),
        "first/s": loaded.rate(0, part),
        "last/s": loaded.rate(len(world) - part, len(world)),
        "build s": loaded.build,
        "nodes": nodes,
        "file B": stats.file_bytes / len(world),
        **{f"{name} B": size / len(world) for name, size in tables.items()},
        "memory MB": memory / 2**20,
    }
    return {"load": [line], "fetch": fetching_lines, "clients": clients}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("world", type=Path)
    parser.add_argument("--entries", default="100000,1000000", help="by commas")
    parser.add_argument("--k", default="16,64", help="entries of a block, by commas")
    parser.add_argument("--queries", type=int, default=400)
    parser.add_argument("--seconds", type=float, default=5.0, help="of each number of clients")
    parser.add_argument("--scratch", type=Path, help="where stores and cut worlds lie for the time")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    found: dict[str, list[dict[str, Any]]] = {"load": [], "fetch": [], "clients": []}
    empty = empty_memory()
    whole = len(World.load(args.world))
    for size in sorted(int(n) for n in args.entries.split(",")):
        if size > whole:
            print(f"{args.world} has {whole:,} entries, not {size:,}: skipped", file=sys.stderr)
            continue
        with at_size(args.world, size, args.scratch) as folder:
            for name, lines in measure(folder, args, empty).items():
                found[name] += lines
    if args.json:
        print(json.dumps(found, indent=1))
        return
    for lines in filter(None, found.values()):
        show(lines, False)
        print()


if __name__ == "__main__":
    main()
