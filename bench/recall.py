"""What the pruned fetch finds of what exact attention finds, with the reader's own rows, over the wire.

    python bench/recall.py [--sizes 3000,30000,300000] [--questions N] [--data DIR] [--json]

For each size: that many triples of FB13 (head by head, or `facts-SIZE` as bench/load.py left it in DIR) in a collection
of their own with a tree; rows of the last question token at each KB layer of the shipped reader, for questions on heads
that it never saw in training; then the same Fetch with `exact` and without. "recall" is the share of exact's k entries
that the pruned Block has, "mass" the share of their softmax probability, "gold" how often an entry that says what was
asked is in the Block.
"""

import argparse
import time
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from store import built, graph_file, served, show, triples

from atlasdb_client import Client
from atlasdb_client.fetch import FetchStream
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Triple, Vectors
from llm_runtime.context import attending
from llm_runtime.evaluate import Question, questions_of
from llm_runtime.hook import attached
from llm_runtime.reader import Reader, quiet
from llm_runtime.source import StoreSource
from llm_runtime.training.graph import held_out

EVERY = 64


class Rows:
    """A recorder of the selecting rows of each KB layer: (B, H, D) for every batch."""

    def __init__(self, last: torch.Tensor) -> None:
        self.last, self.layers = last, defaultdict(list)

    def record(self, layer: int, reading: Any) -> None:
        items = torch.arange(len(self.last))
        self.layers[layer].append(reading.rows[items, self.last].float().numpy())


@torch.inference_mode()
def model_rows(reader: Reader, stream: FetchStream, questions: list[Question]) -> dict[int, np.ndarray]:
    """Rows (n, H, D) by KB layer, read with what the store gives at the layers before."""
    found: dict[int, list[np.ndarray]] = defaultdict(list)
    source = StoreSource(stream, reader.adapter, EVERY)
    for start in range(0, len(questions), 32):
        inputs = reader.tokens([q.text for q in questions[start : start + 32]])
        mask = inputs["attention_mask"]
        source.begin(mask)
        rows = Rows((mask * torch.arange(mask.shape[1])).argmax(dim=1))
        with attached(reader.model, reader.adapter), attending(source, rows):
            reader.model(**inputs)
        for layer, parts in rows.layers.items():
            found[layer].extend(parts)
    return {layer: np.concatenate(parts) for layer, parts in found.items()}


def compare(
    stream: FetchStream, rows: list[Vectors], gold: list[set[int]], k: int
) -> dict[str, float]:  # fmt: skip
    """Exact and pruned fetches of the same rows, in turn."""
    sums: dict[str, float] = defaultdict(float)
    times: dict[str, list[float]] = {"exact": [], "pruned": []}
    for row, right in zip(rows, gold, strict=True):
        blocks = {}
        for name in times:
            begun = time.perf_counter()
            blocks[name] = stream.fetch(row, k, exact=name == "exact")
            times[name].append(time.perf_counter() - begun)
        exact, pruned = blocks["exact"], blocks["pruned"]
        kept = np.isin(exact.ids, pruned.ids)
        sums["recall"] += kept.mean()
        sums["mass"] += exact.scores[kept].sum() / exact.scores.sum()
        sums["gold exact"] += bool(right & set(exact.ids.tolist()))
        sums["gold pruned"] += bool(right & set(pruned.ids.tolist()))
        cost = pruned.cost
        sums["nodes scored"] += cost.root_scored + cost.inter_scored
        sums["entries scored"] += cost.entries_scored
    means = {name: float(total) / len(rows) for name, total in sums.items()}
    return means | {f"{name} ms p50": 1e3 * float(np.median(spent)) for name, spent in times.items()}


def fill(client: Client, name: str, facts: list[Triple]) -> None:
    """Load and build, unless an earlier run left it here."""
    if name not in {c.name for c in client.collections()}:
        client.create_collection(name)
    if client.count(name) < len({f.identity for f in facts}):
        for _ in client.insert(name, facts):
            pass
    if not client.stats(name).collections[0].generation:
        built(client, name)


def whole_heads(facts: list[Triple], size: int) -> list[Triple]:
    """`size` triples, head by head."""
    by_head: dict[str, list[Triple]] = defaultdict(list)
    for fact in facts:
        by_head[fact.head].append(fact)
    return [fact for group in by_head.values() for fact in group][:size]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", default="3000,30000", help="entries, by commas (default 3000,30000)")
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--data", type=Path, help="keep the store here")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    quiet()
    torch.set_num_threads(2)
    facts = triples(graph_file("fb13"))
    reader = Reader.load()
    rows: list[dict[str, Any]] = []
    with served(args.data) as client:
        for size in map(int, args.sizes.split(",")):
            name = f"facts-{size}"
            fill(client, name, whole_heads(facts, size))
            entries = list(client.scan(name, texts=True))
            heads = sorted({entry.triple.head for entry in entries})
            unseen = {head for head, apart in zip(heads, held_out(heads, 0.1), strict=True) if apart}
            asked = questions_of((e for e in entries if e.triple.head in unseen), args.questions, seed=1)
            ids: dict[tuple[str, str], set[int]] = defaultdict(set)
            for entry in entries:
                ids[entry.triple.head, entry.triple.relation].add(entry.id)
            gold = [ids[q.head, q.relation] for q in asked]
            with client.fetch_stream(name) as stream:
                found = model_rows(reader, stream, asked)
                for layer, all_rows in found.items():
                    packed = [quantise(one) for one in all_rows]
                    for k in (16, 64):
                        rows.append(
                            {"entries": len(entries), "layer": int(layer), "k": k, "n": len(asked)}
                            | compare(stream, packed, gold, k)
                        )
    show(rows, args.json)


if __name__ == "__main__":
    main()
