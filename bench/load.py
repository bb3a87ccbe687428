"""Loading text through gRPC beside the encoder alone, in one run.

    python bench/load.py [--triples N] [--encoder-share N] [--data DIR] [--json]

The encoder's own rate is measured on every S-th distinct text that the load will need, by the same pool of workers with
no server about; half of them before the load and half after it, since a machine's speed drifts. Then `atlasdb load`'s
own code loads the triples into a fresh server, and once more (nothing new may come of that), and `stats` must agree.
"""

import argparse
import sys
import time
from itertools import islice
from pathlib import Path

from store import graph_file, served, show

from atlasdb.ingest.encoder import Encoder
from atlasdb.ingest.phrases import Phrasing
from atlasdb_client.loader import load
from atlasdb_client.progress import Silent, opened
from atlasdb_client.readers import TripleFile
from atlasdb_contract.types import Triple


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


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--triples", type=int, default=20_000, help="how many to load (default 20,000)")
    parser.add_argument("--encoder-share", type=int, default=5, help="encode every N-th text alone (default 5)")
    parser.add_argument("--data", type=Path, help="keep the store here, for bench/recall.py")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    from tempfile import TemporaryDirectory

    with TemporaryDirectory(prefix="atlasdb-load-") as scratch:
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
