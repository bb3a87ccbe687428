"""The `atlas-llm` command: ask, evaluate, train. Exit status: 0 done, 1 failed, 2 wrong usage."""

import argparse
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path

from atlasdb_client.target import DEFAULT_TARGET
from atlasdb_contract.command import Parser, command

SERVER_VARIABLE = "ATLASDB_SERVER"


def build_parser() -> argparse.ArgumentParser:
    """Every command and flag."""
    parser = Parser(prog="atlas-llm", description="A language model that attends to a collection.")
    commands = parser.add_subparsers(metavar="COMMAND", required=True, parser_class=Parser)
    shared = Parser(add_help=False)
    server = os.environ.get(SERVER_VARIABLE) or DEFAULT_TARGET
    shared.add_argument("--server", metavar="ADDRESS", default=server, help="HOST:PORT or unix:PATH of the store")
    shared.add_argument("--json", action="store_true", help="print JSON")
    model = Parser(add_help=False)
    model.add_argument(
        "--model", metavar="DIR", type=Path, help="model and adapter (default: the one that comes along)"
    )
    model.add_argument("--device", default="cpu", help="cpu, cuda, cuda:1 (default cpu)")
    model.add_argument("-k", type=int, default=64, help="entries in a block (default 64)")
    model.add_argument("--policy", choices=("prompt", "step"), default="prompt", help="when to fetch (default prompt)")
    model.add_argument("--exact", action="store_true", help="score every key instead of descending the tree")
    _ask(commands.add_parser("ask", parents=[shared, model], help="answer questions, with evidence"))
    _evaluate(commands.add_parser("evaluate", parents=[shared, model], help="score a model on a collection's facts"))
    _train(commands.add_parser("train", parents=[shared], help="train a small model on collections' facts"))
    return parser


def _ask(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "questions", metavar="QUESTION", nargs="+", help="a question; several are answered as one batch"
    )
    parser.add_argument("--collection", metavar="NAME", required=True, help="what to answer from")
    parser.add_argument("--temperature", type=float, default=0.0, help="0: the likeliest token; above: sampled")
    parser.add_argument("--top-p", type=float, default=1.0, help="sample from the likeliest tokens of this mass")
    parser.add_argument("--seed", type=int, default=0, help="of sampling")
    parser.add_argument("--max-tokens", type=int, default=32, help="longest answer (default 32)")
    parser.add_argument("--evidence", type=int, default=5, help="entries named beside an answer (default 5)")
    parser.set_defaults(run=run_ask)


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--collection", metavar="NAME", required=True, help="whose facts to ask for")
    parser.add_argument("-n", type=int, default=500, help="questions (default 500)")
    parser.add_argument("--seed", type=int, default=0, help="draws and words the questions")
    parser.add_argument("--questions", metavar="FILE.jsonl", type=Path, help="ask these instead of composed ones")
    parser.add_argument("--no-full", action="store_true", help="leave out full attention, which needs all in memory")
    parser.set_defaults(run=run_evaluate)


def _train(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--collection",
        metavar="NAME[:KEYS]",
        action="append",
        required=True,
        help="facts to learn from; KEYS draws so many (head, relation) of it; may be repeated",
    )
    parser.add_argument("--out", metavar="DIR", type=Path, required=True, help="where the model goes")
    parser.add_argument("--steps", type=int, default=5000, help="at most (default 5000)")
    parser.add_argument("--minutes", type=float, default=60.0, help="at most (default 60)")
    parser.add_argument("--held-out", type=float, default=0.1, help="share of heads kept unseen (default 0.1)")
    parser.add_argument(
        "--apart", metavar="FILE.tsv", type=Path, action="append", default=[], help="keep its heads unseen"
    )
    parser.add_argument("--seed", type=int, default=0, help="of everything that is drawn")
    parser.add_argument("--threads", type=int, default=0, help="CPU threads (default: all cores)")
    parser.set_defaults(run=run_train)


def run_ask(args: argparse.Namespace) -> int:
    """`atlas-llm ask`."""
    from atlasdb_client.client import connect
    from llm_runtime.reader import DEFAULT_MODEL, Answer, Asking, Reader

    def shown(answer: Answer) -> None:
        print(f"{answer.question}\n  {answer.text}")
        for item in answer.evidence:
            triple = " | ".join(item.triple.identity)
            layers = ", ".join(f"layer {layer} {weight:.3f}" for layer, weight in sorted(item.layers.items()))
            print(f"    {item.weight:.3f}  {triple}  (entry {item.id}; {layers})")

    asking = Asking(
        k=args.k, policy=args.policy, exact=args.exact, temperature=args.temperature, top_p=args.top_p,
        seed=args.seed, max_tokens=args.max_tokens, evidence=args.evidence,
    )  # fmt: skip
    with connect(args.server) as client:
        client.count(args.collection)
        answers = Reader.load(args.model or DEFAULT_MODEL, args.device).ask(
            client, args.collection, args.questions, asking
        )
    if args.json:
        print(json.dumps([answer.plain() for answer in answers], ensure_ascii=False, indent=2))
    else:
        for answer in answers:
            shown(answer)
    return 0


def run_evaluate(args: argparse.Namespace) -> int:
    """`atlas-llm evaluate`."""
    from atlasdb_client.client import connect
    from atlasdb_client.progress import opened
    from llm_runtime.evaluate import Score, evaluate, questions_in, questions_of, whole_store
    from llm_runtime.reader import DEFAULT_MODEL, Asking, Reader
    from llm_runtime.source import StoreSource

    scores: list[Score] = []
    with connect(args.server) as client, opened("questions") as meter:
        reader = Reader.load(args.model or DEFAULT_MODEL, args.device)
        reader.check(client, args.collection)
        whole, entries = whole_store(client, args.collection, reader)
        questions = (
            questions_in(args.questions) if args.questions else questions_of(entries.values(), args.n, args.seed)
        )
        asking = Asking(k=args.k, policy=args.policy, exact=args.exact)

        def progress(name: str) -> Callable[[int, int], None]:
            return lambda done, total: meter.show(name, done, total)

        if not args.no_full:
            scores.append(evaluate(reader, whole, questions, entries, asking, "full", progress("full attention")))
        with client.fetch_stream(args.collection) as stream:
            source = StoreSource(stream, reader.adapter, asking.k, asking.policy, asking.beams, asking.exact)
            scores.append(evaluate(reader, source, questions, entries, asking, "pruned", progress("pruned")))
    if args.json:
        print(json.dumps([score.row() for score in scores], indent=2))
        return 0
    print(f"{'':8} {'n':>5} {'answer':>7}  ACC@1 by layer      ACC@5 by layer      entries scored")
    for s in scores:
        first, fifth = (" ".join(f"{layer}: {v:.3f}" for layer, v in acc.items()) for acc in (s.acc1, s.acc5))
        print(f"{s.name:8} {s.questions:5} {s.answer_right:7.3f}  {first:19} {fifth:19} {s.entries_scored:,.0f}")
    return 0


def run_train(args: argparse.Namespace) -> int:
    """`atlas-llm train`."""
    from llm_runtime.training.command import train_from_store

    return train_from_store(args)


@command("atlas-llm")
def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the entry point of `atlas-llm`."""
    args = build_parser().parse_args(argv)
    if args.run is not run_train:
        from llm_runtime.reader import quiet

        quiet()
    status: int = args.run(args)
    return status
