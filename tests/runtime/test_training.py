"""Training from a store: the data, the losses' references, a short run from end to end."""

from pathlib import Path
from random import Random

import numpy as np
import pytest
import torch

from atlasdb_client.client import Client
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import Triple
from llm_runtime.cli import main
from llm_runtime.context import BlockTensors, Reading
from llm_runtime.reader import Reader
from llm_runtime.training.batch import Batches
from llm_runtime.training.command import read_facts
from llm_runtime.training.graph import draw, held_out, phrase_in, split
from llm_runtime.training.losses import gold_log_probability, gold_slots
from llm_runtime.training.templates import question
from llm_runtime.training.vocabulary import train_tokenizer


def test_unseen_heads_are_the_same_in_every_run_and_never_trained_on(client: Client, graph: str) -> None:
    facts = read_facts(client, [graph], seed=0)
    known, unseen = split(facts, 0.2, {"Norway"})
    trained = {facts.heads[i] for i in known.head_of}
    apart = {facts.heads[i] for i in unseen.head_of}
    assert apart
    assert not trained & (apart | {"norway"})
    np.testing.assert_array_equal(held_out(facts.heads, 0.2), held_out(list(facts.heads), 0.2))


def test_a_drawn_collection_has_whole_keys_of_few_tails(client: Client, graph: str) -> None:
    entries = list(client.scan(graph, texts=True))
    drawn = list(draw(entries, 50, Random(3)))
    keys = {(e.triple.head, e.triple.relation) for e in drawn}
    assert len(keys) == 50
    whole = [e for e in entries if (e.triple.head, e.triple.relation) in keys]
    assert {e.id for e in whole} == {e.id for e in drawn}
    assert [e.id for e in drawn] == [e.id for e in draw(entries, 50, Random(3))]


def test_a_batch_asks_for_entries_that_its_store_holds(client: Client, graph: str) -> None:
    facts = read_facts(client, [graph], seed=0)
    tokenizer = train_tokenizer([*facts.heads, *facts.values, *facts.phrases], 1024)
    batch = Batches(facts, tokenizer, size=16, store=128, swaps=0.5, seed=1).draw()
    assert batch.gold.any(dim=1).all()
    assert batch.gold[torch.arange(16), torch.arange(16)].all()
    assert (batch.tokens[torch.arange(16), batch.last] == tokenizer.convert_tokens_to_ids("<answer>")).all()
    assert not (batch.asked & batch.answered)[torch.arange(16), batch.last - 1].any()
    assert batch.answered[torch.arange(16), batch.last].all()
    assert len(batch.keys) <= 128


def test_gold_probability_equals_the_softmax_in_float64() -> None:
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 2, 9) * 4
    gold = torch.zeros(3, 9, dtype=torch.bool)
    gold[0, 2] = gold[1, 0] = gold[1, 5] = gold[2, 8] = True
    nothing = torch.zeros(0)
    block = BlockTensors(nothing, nothing, None, np.zeros((1, 9), np.uint64))
    reading = Reading(block, nothing, logits, logits.logsumexp(-1), nothing)
    got = gold_log_probability(reading, *gold_slots(gold))
    want = torch.log((logits.double().softmax(-1) * gold[:, None, None]).sum(-1))
    torch.testing.assert_close(got.double(), want, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("text", "head", "phrase"),
    [
        ("the place of birth of Ada", "Ada", "place of birth"),
        ("the capital of Isle of Man", "Isle of Man", "capital"),
        ("Ada's job", "Ada", None),
    ],
)
def test_the_phrase_is_what_stands_before_the_head(text: str, head: str, phrase: str | None) -> None:
    assert phrase_in(text, head) == phrase


def test_questions_of_a_seed_are_the_same_and_of_many_wordings() -> None:
    first, second = (np.random.default_rng(4) for _ in range(2))
    asked = [question("place of birth", "ada", first) for _ in range(300)]
    assert asked == [question("place of birth", "ada", second) for _ in range(300)]
    assert len(set(asked)) > 150
    assert all("ada" in text for text in asked)


def test_a_short_training_run_leaves_a_reader_that_answers(
    client: Client, graph: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "reader"
    command = ["train", "--server", client.target, "--collection", graph, "--out", str(folder)]
    assert main([*command, "--steps", "2", "--threads", "1", "--held-out", "0.05"]) == 0
    answers = Reader.load(folder).ask(client, graph, ["what is the capital of Norway?"])
    assert len(answers) == 1
    assert "step 2" in capsys.readouterr().err


def test_too_few_facts_are_refused(client: Client) -> None:
    client.create_collection("runtime-few")
    list(client.insert("runtime-few", [Triple("a", "b", "c")]))
    facts = read_facts(client, ["runtime-few"], seed=0)
    tokenizer = train_tokenizer(facts.heads, 300)
    with pytest.raises(InvalidArgument, match="too few"):
        Batches(facts, tokenizer, size=16, store=128, swaps=0.5, seed=1)
