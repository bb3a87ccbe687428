"""The shipped reader on a real store: answers, evidence, policies, refusals of what can't be."""

from pathlib import Path

import numpy as np
import pytest

from atlasdb_client.client import Client
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.types import CollectionConfig, Triple
from llm_runtime.evaluate import evaluate, questions_of, whole_store
from llm_runtime.reader import Asking, Reader
from llm_runtime.source import StoreSource

QUESTIONS = ["What is the capital of Norway?", "where did Isaac Newton die?", "where was Albert Einstein born?"]
HEADS = ["Norway", "Isaac Newton", "Albert Einstein"]
ANSWERS = ["Oslo", "Kensington", "Ulm"]


def test_answers_come_with_the_triples_they_rest_on(client: Client, graph: str, reader: Reader) -> None:
    answers = reader.ask(client, graph, QUESTIONS)
    heads = [answer.evidence[0].triple.head for answer in answers]
    assert heads == HEADS
    for answer in answers:
        assert answer.evidence[0].weight == max(item.weight for item in answer.evidence)
        assert set(answer.evidence[0].layers) == set(reader.adapter.config.layers)
        assert answer.plain()["evidence"][0]["id"] == answer.evidence[0].id
    assert [answer.text for answer in answers] == ANSWERS


def test_a_batch_answers_like_one_question_at_a_time(client: Client, graph: str, reader: Reader) -> None:
    together = [answer.text for answer in reader.ask(client, graph, QUESTIONS)]
    assert together == [reader.ask(client, graph, [question])[0].text for question in QUESTIONS]


@pytest.mark.parametrize("asking", [Asking(policy="step"), Asking(exact=True), Asking(k=200)])
def test_every_way_of_fetching_finds_the_answer(client: Client, graph: str, reader: Reader, asking: Asking) -> None:
    assert [answer.text for answer in reader.ask(client, graph, QUESTIONS, asking)] == ANSWERS


def test_step_fetches_for_every_token_and_prompt_once_a_kb_layer(client: Client, graph: str, reader: Reader) -> None:
    layers = len(reader.adapter.config.layers)
    once = reader.ask(client, graph, QUESTIONS[:1])[0]
    each = reader.ask(client, graph, QUESTIONS[:1], Asking(policy="step"))[0]
    assert len(once.fetches) == layers
    assert len(each.fetches) > layers
    assert len(each.fetches) % layers == 0


def test_a_new_fact_is_answered_at_once(client: Client, graph: str, reader: Reader) -> None:
    fact = Triple("Ottoline Vasquelle", "place of birth", "Lisbon")
    list(client.insert(graph, [fact]))
    try:
        answer = reader.ask(client, graph, ["where was Ottoline Vasquelle born?"])[0]
        assert answer.evidence[0].triple.identity == fact.identity
    finally:
        client.delete(graph, triples=[fact])
    again = reader.ask(client, graph, ["where was Ottoline Vasquelle born?"])[0]
    assert fact.head not in {item.triple.head for item in again.evidence}


def test_sampling_is_repeatable_by_its_seed(client: Client, graph: str, reader: Reader) -> None:
    asking = Asking(temperature=1.5, top_p=0.9, seed=5)
    first = [answer.text for answer in reader.ask(client, graph, QUESTIONS, asking)]
    assert first == [answer.text for answer in reader.ask(client, graph, QUESTIONS, asking)]


def test_an_empty_collection_is_answered_by_the_model_alone(client: Client, reader: Reader) -> None:
    client.create_collection("runtime-empty")
    answer = reader.ask(client, "runtime-empty", ["what is the capital of Norway?"])[0]
    assert answer.evidence == ()


def test_pruned_reading_finds_what_full_attention_finds(client: Client, graph: str, reader: Reader) -> None:
    whole, entries = whole_store(client, graph, reader)
    questions = questions_of(entries.values(), 48, seed=1)
    full = evaluate(reader, whole, questions, entries, Asking(), "full", lambda *_: None)
    with client.fetch_stream(graph) as stream:
        source = StoreSource(stream, reader.adapter, 64)
        pruned = evaluate(reader, source, questions, entries, Asking(), "pruned", lambda *_: None)
    for layer, accuracy in full.acc1.items():
        assert pruned.acc1[layer] >= accuracy - 0.05
    assert pruned.answer_right >= full.answer_right - 0.05


def test_what_cannot_be_read_is_refused_with_both_names(client: Client, reader: Reader) -> None:
    with pytest.raises(NotFound, match="no collection 'nowhere'"):
        reader.ask(client, "nowhere", ["who?"])
    client.create_collection("runtime-other", CollectionConfig(encoder="none", dimension=16))
    with pytest.raises(FailedPrecondition, match=r"384.*16"):
        reader.ask(client, "runtime-other", ["who?"])


@pytest.mark.parametrize("questions", [[], [""], ["what?", "  "]])
def test_an_empty_question_is_refused(client: Client, graph: str, reader: Reader, questions: list[str]) -> None:
    with pytest.raises(InvalidArgument, match="question is empty"):
        reader.ask(client, graph, questions)


@pytest.mark.parametrize("wrong", [{"k": 0}, {"temperature": -1.0}, {"top_p": 0.0}, {"max_tokens": 0}, {"evidence": 0}])
def test_settings_that_make_no_sense_are_named(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidArgument, match=next(iter(wrong))):
        Asking(**wrong)  # type: ignore[arg-type]


def test_a_folder_without_a_model_says_what_is_needed(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="atlas-llm train"):
        Reader.load(tmp_path)


def test_rows_of_the_last_prompt_token_select_whatever_the_padding(client: Client, graph: str, reader: Reader) -> None:
    long = "could you help me with a question: what is the official language of Norway please?"
    alone = reader.ask(client, graph, QUESTIONS[:1])[0]
    padded = reader.ask(client, graph, [QUESTIONS[0], long])[0]
    assert padded.text == alone.text
    first, second = ({item.id: item.weight for item in answer.evidence} for answer in (alone, padded))
    shared = sorted(first.keys() & second.keys())
    np.testing.assert_allclose([first[i] for i in shared], [second[i] for i in shared], atol=1e-4)
