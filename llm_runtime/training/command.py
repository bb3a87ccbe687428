"""`atlas-llm train`: facts out of a running store, a model and its adapter into a folder."""

import argparse
from collections.abc import Sequence
from random import Random

import numpy as np
import torch
from torch import Tensor

from atlasdb_client.client import Client, connect
from atlasdb_client.progress import opened
from atlasdb_contract.errors import InvalidArgument, NotFound
from atlasdb_contract.types import Entry
from llm_runtime.training.graph import FactGraph, Halves, draw, from_entries, split
from llm_runtime.training.train import Recipe, Step, train


def read_facts(client: Client, collections: Sequence[str], seed: int) -> FactGraph:
    """The facts of `NAME` or `NAME:KEYS` collections, in that order; labels through the first one's encoder."""
    random = Random(seed)
    entries: list[Entry] = []
    for wanted in collections:
        name, colon, keys = wanted.partition(":")
        if colon and not keys.isdigit():
            raise InvalidArgument(f"--collection {wanted} is neither NAME nor NAME:KEYS with a number of keys")
        found = client.scan(name, texts=True, keys=True, values=True)
        entries.extend(draw(found, int(keys), random) if colon else found)
    first = collections[0].partition(":")[0]

    def labels(texts: Sequence[str]) -> Halves:
        return client.encode(first, texts).floats().astype(np.float16) if texts else np.zeros((0, 0), np.float16)

    return from_entries(entries, labels)


def train_from_store(args: argparse.Namespace) -> int:
    """Carry out the command; 0 when a model was written."""
    if args.threads:
        torch.set_num_threads(args.threads)
    apart: set[str] = set()
    for path in args.apart:
        if not path.is_file():
            raise NotFound(f"--apart: there is no file {path}")
        apart |= {line.split("\t")[0] for line in path.read_text(encoding="utf-8").splitlines() if line}
    recipe = Recipe(steps=args.steps, minutes=args.minutes, seed=args.seed)
    last: list[Step] = []
    with connect(args.server) as client, opened("steps") as meter:
        meter.say("reading facts from the store")
        known, unseen = split(read_facts(client, args.collection, args.seed), args.held_out, apart)
        meter.say(f"{len(known):,} facts to learn from, {len(unseen):,} kept unseen")
        first = args.collection[0].partition(":")[0]

        def encode(texts: list[str]) -> Tensor:
            return torch.from_numpy(client.encode(first, texts).floats())

        def report(step: Step) -> None:
            last[:] = [step]
            right = " ".join(f"{share:.2f}" for share in step.right.values())
            meter.show("training", step.step, recipe.steps)
            meter.say(
                f"step {step.step}, {step.seconds:.0f} s: answer {step.answer:.3f}, grounding {step.grounding:.3f}, "
                f"alignment {step.alignment:.3f}, right entry first {right}"
            )

        trained = train(known, encode, recipe, report)
        data = {"collections": args.collection, "held_out": args.held_out, "facts": len(known)}
        final = {"answer_loss": last[0].answer, "grounding_loss": last[0].grounding} if last else {}
        trained.save(args.out, {"data": data, **final})
        meter.say(f"{args.out}: {trained.steps} steps in {trained.seconds:.0f} s")
    return 0
