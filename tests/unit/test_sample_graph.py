import json
import unicodedata
from collections import defaultdict
from pathlib import Path

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"


def load_facts() -> list[tuple[str, ...]]:
    text = (EXAMPLES / "sample.tsv").read_text(encoding="utf-8")
    return [tuple(line.split("\t")) for line in text.removesuffix("\n").split("\n")]


def test_at_least_2000_distinct_facts() -> None:
    facts = load_facts()
    assert len(facts) >= 2000
    assert len(set(facts)) == len(facts)


def test_three_clean_columns() -> None:
    for fact in load_facts():
        assert len(fact) == 3, fact
        for label in fact:
            assert label, fact
            assert label == label.strip(), fact
            assert unicodedata.is_normalized("NFC", label), fact


def test_labels_do_not_differ_by_case_alone() -> None:
    spellings: defaultdict[str, set[str]] = defaultdict(set)
    for head, _, tail in load_facts():
        spellings[head.casefold()].add(head)
        spellings[tail.casefold()].add(tail)
    assert [names for names in spellings.values() if len(names) > 1] == []


def test_answers_are_all_the_tails() -> None:
    tails: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for head, relation, tail in load_facts():
        tails[head, relation].append(tail)
    lines = (EXAMPLES / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    questions = [json.loads(line) for line in lines]
    assert len({q["question"] for q in questions}) == len(questions) >= 60
    assert len({q["relation"] for q in questions}) >= 20
    for q in questions:
        assert q["answers"], q
        assert sorted(q["answers"]) == sorted(tails[q["head"], q["relation"]]), q
