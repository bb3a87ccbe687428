"""A store from ten thousand to ten million entries: loading, building, space, memory, and what fetches find and cost.

    python bench/scale.py DIR/real [--entries 10000,100000,1000000] [--queries N] [--keep DIR] [--json]

Everything goes through the client to a server of its own over a unix socket. Up to what the world holds
(bench/generate.py makes it) the entries are its own, by whole heads. Beyond that they are mixed: a new head takes the
keys of a real one, moved towards another real head's mean, and rows follow the keys that they were about.

    load      entries a second, acked, sent by this process: all, the first and the last million
    bytes     of the pages that the collection's tables use, by entry; `file` counts the free pages, too
    anon      resident memory of the server beyond an empty one's, page cache apart (RssAnon)
    gold      how often the block has an entry with the key that was asked for, as a share of how often exact's has
    mass      the share of the exact block's softmax that the block keeps
    p50, p99  milliseconds of fetches with 4 rows (32 where it says so), one after the other
"""

import argparse
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import psutil
from store import served, show
from world import World

from atlasdb_client import Client
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import NO_ENCODER, Block, CollectionConfig, Floats, TripleColumns, Vectors

Ints = npt.NDArray[np.int64]
BATCH = 8192
MILLION = 1_000_000
VALUES = 0.25
"""Distinct values by entry: a graph's tails recur."""


@dataclass
class Asked:
    """Fetches: rows float32 (N, R, D), and the ids of the entries that each is about."""

    rows: Floats
    golds: list[Ints]


@dataclass
class Batch:
    """Entries: numbers of heads and of key texts, keys float32 or Vectors."""

    heads: Ints
    texts: Ints
    keys: Vectors


def real(world: World, asked: Asked, gold: Ints) -> Iterator[Batch]:
    """A world's entries, by head."""
    order = np.argsort(world.heads, kind="stable")
    for start in range(0, len(order), BATCH):
        here = order[start : start + BATCH]
        texts = world.texts[here].astype(np.int64)
        noted(asked, gold, texts, start + 1)
        yield Batch(world.heads[here].astype(np.int64), texts, Vectors(world.keys.data[here], world.keys.scales[here]))


def noted(asked: Asked, gold: Ints, texts: Ints, first: int) -> None:
    """Note the ids of what fetches are about; `gold` their texts."""
    for place in np.flatnonzero(np.isin(texts, gold)).tolist():
        for query in np.flatnonzero(gold == texts[place]).tolist():
            asked.golds[query] = np.append(asked.golds[query], first + place)


class Mixed:
    """Entries beyond those of a world."""

    def __init__(self, world: World, asked: Asked, gold: Ints, seed: int = 0) -> None:
        order = np.argsort(world.heads, kind="stable")
        self.keys = Vectors(world.keys.data[order], world.keys.scales[order]).floats()
        self.texts, heads = world.texts[order].astype(np.int64), world.heads[order]
        self.starts = np.append(np.flatnonzero(np.diff(heads, prepend=-1)), len(heads))
        self.mean = self.keys.mean(axis=0)
        sizes = np.diff(self.starts)
        self.means = np.add.reduceat(self.keys, self.starts[:-1]) / sizes[:, None] - self.mean
        self.asked, self.gold, self.rng = asked, gold, np.random.default_rng(seed)
        self.rows, self.seen = asked.rows.copy(), np.zeros(len(gold), np.int64)

    def batches(self, entries: int) -> Iterator[Batch]:
        """So many entries, by whole heads but the last."""
        made = heads = 0
        while made < entries:
            some = self.rng.integers(0, len(self.means), BATCH)
            sizes = np.diff(self.starts)[some]
            some = some[: max(1, int(np.searchsorted(np.cumsum(sizes), min(BATCH, entries - made), side="right")))]
            sizes = np.diff(self.starts)[some]
            begin = np.cumsum(sizes) - sizes
            at = np.repeat(self.starts[some] - begin, sizes) + np.arange(sizes.sum())
            shift = 0.8 * self.means[self.rng.integers(0, len(self.means), len(some))] - 0.3 * self.means[some]
            moved = self.keys[at] - self.mean + np.repeat(shift, sizes, axis=0)
            moved *= 0.8 / np.linalg.norm(moved, axis=1, keepdims=True)
            self._ask(at, moved, np.repeat(np.arange(len(some)), sizes), made + 1)
            owner = heads + np.repeat(np.arange(len(some)), sizes)
            yield Batch(owner, self.texts[at], quantise(moved + self.mean))
            made, heads = made + len(at), heads + len(some)

    def _ask(self, at: Ints, moved: Floats, owner: Ints, first: int) -> None:
        """Of all that was made of what a fetch is about, each is as likely to be asked for."""
        for place in np.flatnonzero(np.isin(self.texts[at], self.gold)).tolist():
            for query in np.flatnonzero(self.gold == self.texts[at[place]]).tolist():
                same = np.flatnonzero((owner == owner[place]) & (self.texts[at] == self.texts[at[place]]))
                if place != same[0]:
                    continue
                self.seen[query] += 1
                if self.rng.random() * self.seen[query] < 1:
                    before, rows = self.keys[at[place]] - self.mean, self.rows[query]
                    along = (rows @ before) / (before @ before)
                    self.asked.rows[query] = rows + along[:, None] * (moved[place] - before)
                    self.asked.golds[query] = first + same


def loaded(client: Client, batches: Iterator[Batch], entries: int) -> list[tuple[int, float]]:
    """Entries sent, and when they were acked. What makes them is not in the time."""
    rng = np.random.default_rng(1)
    values = max(1, round(VALUES * entries))
    dots = rng.integers(-127, 128, (1 << 14, 384), np.int8)
    marks, done, spent = [(0, 0.0)], 0, 0.0
    waiting: list[tuple[TripleColumns, Vectors, Vectors]] = []

    def send() -> None:
        nonlocal done, spent
        begun = time.perf_counter()
        done += sum(len(ack.ids) for ack in client.insert_columns("scale", waiting))
        spent += time.perf_counter() - begun
        marks.append((done, spent))
        waiting.clear()

    for number, batch in enumerate(batches):
        tails = (batch.heads * 7 + np.arange(len(batch.heads))) % values
        texts = zip(batch.heads.tolist(), batch.texts.tolist(), tails.tolist(), strict=True)
        columns = TripleColumns.of(
            (f"head {h}", f"relation {t}", f"tail {v} of {i}") for i, (h, t, v) in enumerate(texts)
        )
        of_values = dots[tails % len(dots), : batch.keys.dimension].copy()
        of_values[:, :8] = tails.astype(np.int64).view(np.int8).reshape(-1, 8)
        waiting.append((columns, batch.keys, Vectors(of_values, np.full(len(tails), 0.01, np.float32))))
        if number % 32 == 31:
            send()
    if waiting:
        send()
    return marks


def rate(marks: list[tuple[int, float]], start: int, stop: int) -> int:
    """Entries a second between two counts."""
    counts, times = (np.array(column, np.float64) for column in zip(*marks, strict=True))
    return round((stop - start) / float(np.interp(stop, counts, times) - np.interp(start, counts, times)))


def anon(server: psutil.Process) -> float:
    """MiB of its memory that no file backs."""
    lines = Path(f"/proc/{server.pid}/status").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def mass(block: Block, exact: Block, rows: Vectors) -> float:
    """The share of the exact block's softmax that a block keeps: mean over rows."""
    floats = rows.floats()
    ours, theirs = (floats @ one.keys.floats().T for one in (block, exact))
    peak = theirs.max(axis=1, keepdims=True)
    return float((np.exp(ours - peak).sum(axis=1) / np.exp(theirs - peak).sum(axis=1)).mean())


def fetched(client: Client, asked: Asked, k: int, copies: int = 1) -> dict[str, Any]:
    """What fetches find and cost; `copies` of the rows in one fetch."""
    found = []
    rows = [quantise(np.tile(one, (copies, 1))) for one in asked.rows]
    with client.fetch_stream("scale") as stream:
        for one in rows[:50]:
            stream.fetch(one, k)
        times = []
        for one in rows:
            begun = time.perf_counter()
            found.append(stream.fetch(one, k))
            times.append(1e3 * (time.perf_counter() - begun))
        exact = [stream.fetch(one, k, exact=True) for one in rows]
    golds = [
        [bool(np.isin(b.ids, gold).any()) for b in pair] for *pair, gold in zip(found, exact, asked.golds, strict=True)
    ]
    ours, theirs = np.mean(golds, axis=0)
    masses = [mass(*one) for one in zip(found, exact, rows, strict=True)]
    name = f"k {k}" + (f", {4 * copies} rows" if copies > 1 else "")
    server = np.median([block.cost.microseconds for block in found]) / 1e3
    figures = {"gold": ours / theirs, "gold, exact": theirs, "mass": np.mean(masses)}
    costs = {"p50": np.median(times), "p99": np.quantile(times, 0.99), "server p50": server}
    return {f"{name}: {what}": round(float(value), 3) for what, value in (figures | costs).items()}


def measure(whole: World, entries: int, queries: int, keep: Path | None) -> dict[str, Any]:
    """One size."""
    world = whole.cut(entries).asked(queries)
    asked = Asked(world.rows.astype(np.float32), [np.zeros(0, np.int64)] * len(world.rows))
    gold = world.gold.astype(np.int64)
    batches = real(world, asked, gold) if entries <= len(whole) else Mixed(world, asked, gold).batches(entries)
    with served(keep and keep / str(entries)) as client:
        server = psutil.Process().children()[-1]
        client.create_collection("warm", CollectionConfig(NO_ENCODER, world.keys.dimension))
        client.create_collection("scale", CollectionConfig(NO_ENCODER, world.keys.dimension))
        time.sleep(20)
        empty = anon(server)
        marks = loaded(client, batches, entries)
        begun = time.perf_counter()
        for progress in client.build("scale"):
            print(f"{entries:,}: {progress.stage}", end="\r", file=sys.stderr)
        seconds = time.perf_counter() - begun
        (stats,) = client.stats("scale").collections
        size = client.stats("scale").file_bytes
        line: dict[str, Any] = {
            "entries": stats.entries,
            "nodes": stats.inter_nodes,
            "load/s": rate(marks, 0, marks[-1][0]),
        }
        if entries > 2 * MILLION:
            line |= {
                "first 1M/s": rate(marks, 0, MILLION),
                "last 1M/s": rate(marks, marks[-1][0] - MILLION, marks[-1][0]),
            }
        line |= {"build s": round(seconds, 1), "bytes": round(sum(stats.table_bytes.values()) / stats.entries)}
        line |= {f"bytes of {table}": round(of / stats.entries, 1) for table, of in stats.table_bytes.items()}
        line |= {"file bytes": round(size / stats.entries)}
        for k, copies in ((16, 1), (64, 1), (64, 8)):
            line |= fetched(client, asked, k, copies)
        return line | {"anon MiB": round(anon(server) - empty)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--entries", default="10000,100000,1000000", help="by commas")
    parser.add_argument("--queries", type=int, default=300)
    parser.add_argument("--keep", type=Path, help="a folder for the stores, which else are gone at the end")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    whole = World.load(args.folder)
    lines = [measure(whole, int(size), args.queries, args.keep) for size in args.entries.split(",")]
    if args.json:
        show(lines, True)
        return
    for line in lines:
        show([{"what": name, "figure": value} for name, value in line.items()], False)
        print()


if __name__ == "__main__":
    main()
