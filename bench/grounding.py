"""Answers on heads that the reader never saw: full attention over a store beside the pruned fetch, through gRPC.

    python bench/grounding.py [--entries N] [--questions N] [--ways full,pruned] [--json]

`N` facts of held-out FB13 heads (by `held_out`, as in training; whole heads) are loaded into a fresh server, the tree
is built, and distinct (head, relation) are asked in composed wordings. Full attention holds every entry in memory;
"exact" fetches the best 64 of all; "pruned" is the fetch as it is served, and "step" the same at every token.
"""

import argparse
import sys
from collections import defaultdict
from typing import Any

import torch
from store import built, graph_file, served, show, triples

from atlasdb_contract.types import Triple
from llm_runtime.evaluate import evaluate, questions_of, whole_store
from llm_runtime.reader import Asking, Reader, quiet
from llm_runtime.source import StoreSource
from llm_runtime.training.graph import held_out


def unseen_facts(facts: list[Triple], size: int) -> list[Triple]:
    """At most `size` facts by whole heads that training leaves out."""
    by_head: dict[str, list[Triple]] = defaultdict(list)
    for fact in facts:
        by_head[fact.head].append(fact)
    heads = sorted(by_head)
    apart = [head for head, out in zip(heads, held_out(heads, 0.1), strict=True) if out]
    chosen: list[Triple] = []
    for head in apart:
        if len(chosen) + len(by_head[head]) <= size:
            chosen.extend(by_head[head])
    return chosen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--entries", type=int, default=10_000)
    parser.add_argument("--questions", type=int, default=500)
    parser.add_argument("--ways", default="full,exact,pruned,step", help="by commas (default: all four)")
    parser.add_argument("--json", action="store_true")
    args = parser.parse_args()
    quiet()
    torch.set_num_threads(2)
    reader = Reader.load()
    rows: list[dict[str, Any]] = []
    with served() as client:
        client.create_collection("unseen")
        for _ in client.insert("unseen", unseen_facts(triples(graph_file("fb13")), args.entries)):
            pass
        built(client, "unseen")
        whole, entries = whole_store(client, "unseen", reader)
        questions = questions_of(entries.values(), args.questions, seed=1)
        with client.fetch_stream("unseen") as stream:
            ways = {
                "full": (whole, Asking()),
                "exact": (StoreSource(stream, reader.adapter, 64, exact=True), Asking()),
                "pruned": (StoreSource(stream, reader.adapter, 64), Asking()),
                "step": (StoreSource(stream, reader.adapter, 64, "step"), Asking(policy="step")),
            }
            for name in args.ways.split(","):
                source, asking = ways[name]
                print(f"{name} …", file=sys.stderr)
                score = evaluate(reader, source, questions, entries, asking, name, lambda *_: None)
                accuracy = {
                    f"ACC@{n} layer {layer}": v for n in (1, 5) for layer, v in getattr(score, f"acc{n}").items()
                }
                rows.append(
                    {"attention": name, "entries": len(entries), "n": score.questions}
                    | {"answer right": score.answer_right} | accuracy | {"entries scored": score.entries_scored}
                )  # fmt: skip
    show(rows, args.json)


if __name__ == "__main__":
    main()
