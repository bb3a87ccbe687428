"""How many texts a second the encoder's pool takes, by number of workers and by dtype.

    python bench/encoder.py [FILE] [--texts N] [--workers N ...] [--dtypes float32 bfloat16] [--json]

FILE holds one text a line, or triples (three columns between tabs), whose key texts are taken; without it, the sample
graph in examples/. All texts are distinct. Beside the rate there are the time one text takes when the pool is idle and
when it is under load, and the memory of a worker. The peer, in the same run, is transformers' BertModel with padding,
in one process with as many threads as the machine has cores.
"""

import argparse
import functools
import json
import os
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import psutil

from atlasdb.ingest.encoder import DEFAULT, Dtype, Encoder, weights_of
from atlasdb.ingest.phrases import Phrasing

SAMPLE = Path(__file__).parents[1] / "examples" / "sample.tsv"
PEER_BATCH = 32
SEARCHES = 9


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    what: str
    dtype: str
    processes: int
    texts_per_second: float
    one_text_idle_ms: float
    one_text_loaded_ms: float | None
    worker_mb: float


def texts_of(path: Path, count: int) -> list[str]:
    """Distinct texts from a file: lines, or the key texts of triples."""
    phrasing = Phrasing()
    rows = (line.split("\t") for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    texts = (phrasing.key_text(row[0], row[1]) if len(row) == 3 else row[0] for row in rows)
    return list(dict.fromkeys(texts))[:count]


def milliseconds(call: Callable[[], object]) -> float:
    start = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - start)


def pool_line(texts: Sequence[str], workers: int, dtype: Dtype) -> Line:
    with Encoder.start(workers=workers, dtype=dtype, recent_bytes=0) as encoder:
        while len(encoder.pids) < workers or encoder.rate.encoded == 0:
            encoder.encode(["warm"])
        encoder.encode([f"warm {i}" for i in range(64 * workers)])
        idle = statistics.median(milliseconds(lambda: encoder.encode(["a search"])) for _ in range(SEARCHES))
        took = milliseconds(lambda: encoder.encode(texts)) / 1000
        load = encoder.submit(texts)
        loaded = []
        while not load.done():
            loaded.append(milliseconds(lambda: encoder.encode(["a search"])))
            time.sleep(0.05)
        memory = max(psutil.Process(pid).memory_info().rss for pid in encoder.pids) / 2**20
        median = statistics.median(loaded) if loaded else None
        return Line("pool", encoder.dtype, workers, len(texts) / took, idle, median, memory)


def peer_line(texts: Sequence[str]) -> Line:
    import torch
    from transformers import AutoTokenizer, BertModel

    path = weights_of(DEFAULT)
    tokenizer, model = AutoTokenizer.from_pretrained(path), BertModel.from_pretrained(path, dtype=torch.float32)

    def encode(batch: Sequence[str]) -> None:
        tokens = tokenizer(list(batch), padding=True, truncation=True, max_length=256, return_tensors="pt")
        with torch.inference_mode():
            states, mask = model(**tokens).last_hidden_state, tokens["attention_mask"][:, :, None]
            torch.nn.functional.normalize((states * mask).sum(1), dim=1)

    encode(texts[:PEER_BATCH])
    idle = statistics.median(milliseconds(lambda: encode(["a search"])) for _ in range(SEARCHES))
    ordered = sorted(texts, key=len, reverse=True)
    parts = [ordered[i : i + PEER_BATCH] for i in range(0, len(ordered), PEER_BATCH)]
    took = sum(milliseconds(functools.partial(encode, part)) for part in parts) / 1000
    memory = psutil.Process().memory_info().rss / 2**20
    return Line(f"BertModel, {torch.get_num_threads()} threads", "float32", 1, len(texts) / took, idle, None, memory)


def main() -> None:
    cores = len(os.sched_getaffinity(0))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", nargs="?", type=Path, default=SAMPLE)
    parser.add_argument("--texts", type=int, default=2000, help="how many texts (default: 2000)")
    parser.add_argument("--workers", type=int, nargs="+", default=list(range(1, cores + 1)), help="pool sizes to try")
    parser.add_argument("--dtypes", nargs="+", choices=("auto", "float32", "bfloat16"), default=["auto"])
    parser.add_argument("--json", action="store_true", help="print one JSON object in place of the table")
    options = parser.parse_args()

    texts = texts_of(options.file, options.texts)
    lines = [pool_line(texts, workers, dtype) for dtype in options.dtypes for workers in options.workers]
    lines.append(peer_line(texts))
    if options.json:
        print(json.dumps({"texts": len(texts), "cores": cores, "lines": [asdict(line) for line in lines]}))
        return
    print(f"{len(texts)} texts, {cores} cores\n")
    print("| what | dtype | processes | texts/s | one text, idle | one text, under load | memory of one |")
    print("|---|---|---|---|---|---|---|")
    for line in lines:
        loaded = "" if line.one_text_loaded_ms is None else f"{line.one_text_loaded_ms:.0f} ms"
        print(
            f"| {line.what} | {line.dtype} | {line.processes} | {line.texts_per_second:.0f} "
            f"| {line.one_text_idle_ms:.0f} ms | {loaded} | {line.worker_mb:.0f} MB |"
        )


if __name__ == "__main__":
    main()
