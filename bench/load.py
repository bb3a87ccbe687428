"""Loading text through gRPC beside the encoder alone, in one run.

    python bench/load.py [--triples N] [--encoder-share N] [--data DIR] [--json]
    python bench/load.py --vectors D [--triples N] [--data DIR] [--json]

The encoder's own rate is measured on every S-th distinct text that the load will need, by the same pool of workers with
no server about; half of them before the load and half after it, since a machine's speed drifts. Then `atlasdb load`'s
own code loads the triples into a fresh server, and once more (nothing new may come of that), and `stats` must agree.

With --vectors the load brings its vectors: made triples (four to a head; a value to nine) in a TSV file, with drawn
keys and values of D numbers in two `.npy` files. The table has the triples a second of the first load and of one again.
"""

import argparse
import sys
import time
from itertools import islice
from pathlib import Path

import numpy as np
from store import graph_file, served, show

from atlasdb.ingest.encoder import Encoder
from atlasdb.ingest.phrases import Phrasing
from atlasdb_client.loader import load
from atlasdb_client.progress import Silent, opened
from atlasdb_client.readers import TripleFile
from atlasdb_client.vectors import VectorFiles
from atlasdb_contract.types import Triple

PART = 1 << 15
"""Rows that are drawn at a time."""


def encoder_rate(texts: list[str]) -> float:
    """Texts a second of a fresh pool, after its workers are up."""
    with Encoder.start() as encoder:
        encoder.encode(texts[:64])
        begun = time.perf_counter()
        waiting = [encoder.submit(texts[at : at + 4096]) for at in range(64, len(texts), 4096)]
        for future in waiting:
            future.result()
        return (len(texts) - 64) / (time.perf_counter() - begun)


def cut(source: Path, count: int, folder: Path) -> Path:
    """The first `count` triples of a graph as a file of its own."""
    path = folder / "triples.tsv"
    with TripleFile(source) as file, path.open("w", encoding="utf-8") as out:
        for item in islice((item for item in file if isinstance(item, Triple)), count):
            out.write("\t".join(item.identity) + "\n")
    return path


def drawn(count: int, dimension: int, folder: Path) -> tuple[Path, VectorFiles]:
    """A file of `count` made triples, and their vectors."""
    path, rng, values = folder / "facts.tsv", np.random.default_rng(0), max(1, count // 9)
    with path.open("w", encoding="utf-8") as out:
        for i in range(count):
            out.write(f"/m/{i // 4:07x} a name\t/people/relation/of_{i % 4}\tvalue number {i % values}\n")
    names = folder / "keys.npy", folder / "values.npy"
    keys, tails = (np.lib.format.open_memmap(name, "w+", np.float32, (count, dimension)) for name in names)
    for start in range(0, count, PART):
        stop = min(count, start + PART)
        keys[start:stop] = rng.standard_normal((stop - start, dimension), np.float32)
        fresh = keys[start : min(stop, values)]
        tails[start : start + len(fresh)] = fresh
        again = np.arange(start + len(fresh), stop)
        tails[again] = tails[again % values]
    return path, VectorFiles.open(*names)


def with_vectors(args: argparse.Namespace, folder: Path) -> dict[str, object]:
    """The line of a load that brings its vectors."""
    path, vectors = drawn(args.triples, args.vectors, folder)
    warm = folder / "warm.tsv"
    with served(args.data) as client, path.open(encoding="utf-8") as whole:
        warm.write_text("".join(islice(whole, 1)), encoding="utf-8")
        one = VectorFiles.open(*(_cut(folder / f"{of}.npy") for of in ("keys", "values")))
        load(client, [warm], "warm", vectors=one)
        first = load(client, [path], "facts", vectors=vectors, progress=opened("B"))
        again = load(client, [path], "facts", vectors=vectors)
        count = client.stats("facts").collections[0].entries
    if (first.created, again.created, again.existing, count) != (args.triples, 0, args.triples, args.triples):
        sys.exit(f"wrong counts: {first}, {again}, {count} for {args.triples} triples")
    line = {"triples": args.triples, "dimension": args.vectors, "load s": first.seconds}
    return line | {"triples/s": args.triples / first.seconds, "again/s": args.triples / again.seconds}


def _cut(path: Path) -> Path:
    """A file of the first row."""
    np.save(path.with_stem(f"{path.stem}-first"), np.load(path, mmap_mode="r")[:1])
    return path.with_stem(f"{path.stem}-first")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triples", type=int, default=20_000, help="how many to load (default 20,000)")
    parser.add_argument("--encoder-share", type=int, default=5, help="encode every N-th text alone (default 5)")
    parser.add_argument("--vectors", metavar="D", type=int, help="load vectors of D numbers instead of encoding")
    parser.add_argument("--data", type=Path, help="keep the store here, for bench/recall.py")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="atlasdb-load-") as scratch:
        if args.vectors:
            show([with_vectors(args, Path(scratch))], args.json)
            return
        path = cut(graph_file("fb13"), args.triples, Path(scratch))
        phrasing = Phrasing()
        facts = [line.split("\t") for line in path.read_text(encoding="utf-8").splitlines()]
        texts = {phrasing.key_text(h, r) for h, r, _ in facts} | {phrasing.value_text(t) for _, _, t in facts}
        sample = sorted(texts)[:: args.encoder_share]
        before = encoder_rate(sample[::2])
        with served(args.data) as client:
            client.create_collection("warm")
            client.encode("warm", ["a text that wakes the workers"])
            name = f"facts-{args.triples}"
            begun = time.perf_counter()
            report = load(client, [path], name, progress=opened())
            seconds = time.perf_counter() - begun
            again = load(client, [path], name, progress=Silent())
            count = client.stats(name).collections[0].entries
        after = encoder_rate(sample[1::2])
    distinct = len({tuple(fact) for fact in facts})
    if (report.created, again.created, count) != (distinct, 0, distinct):
        sys.exit(f"wrong counts: {report.created}, {again.created}, {count} for {distinct} distinct triples")
    alone = 2 / (1 / before + 1 / after)
    row = {
        "triples": len(facts),
        "entries": count,
        "texts": len(texts),
        "load s": seconds,
        "texts/s loaded": len(texts) / seconds,
        "texts/s encoder before": before,
        "texts/s encoder after": after,
        "ratio": len(texts) / seconds / alone,
    }
    show([row], args.json)


if __name__ == "__main__":
    main()
