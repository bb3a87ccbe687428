"""How well a reader answers from a collection: full attention over all entries beside the pruned fetch.

A question counts as right when the answer is one of the tails that the graph gives for its head and
relation, letter case apart; ACC@n, when one of the first n entries of a KB layer says what was asked.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from atlasdb_client.client import Client
from atlasdb_contract.codec import entries_to_vectors
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.ids import EntryId
from atlasdb_contract.types import Entry
from llm_runtime.reader import Asking, Reader
from llm_runtime.source import PromptSource, StoreSource, WholeStore
from llm_runtime.training.graph import phrase_in
from llm_runtime.training.templates import question as composed


@dataclass(frozen=True)
class Question:
    """A question with all answers that are right."""

    text: str
    head: str
    relation: str
    tails: frozenset[str]


@dataclass(frozen=True)
class Score:
    """Shares of n questions."""

    name: str
    questions: int
    answer_right: float
    acc1: dict[int, float]
    """By KB layer: the first entry says what was asked."""
    acc5: dict[int, float]
    entries_scored: float
    """Mean of keys compared for one fetch; the whole store where nothing is fetched."""

    def row(self) -> dict[str, Any]:
        """As plain values."""
        return asdict(self)


def questions_of(entries: Iterable[Entry], count: int, seed: int) -> list[Question]:
    """`count` distinct (head, relation) of a collection, drawn by `seed`, each as a composed question."""
    tails: dict[tuple[str, str], set[str]] = defaultdict(set)
    phrases: dict[tuple[str, str], str] = {}
    for entry in entries:
        key = (entry.triple.head, entry.triple.relation)
        phrase = None if entry.inverse else phrase_in(entry.key_text, entry.triple.head.replace("_", " "))
        if phrase is not None:
            tails[key].add(entry.triple.tail)
            phrases[key] = phrase
    random = np.random.default_rng(seed)
    keys = sorted(tails)
    chosen = [keys[i] for i in random.permutation(len(keys))[:count]]
    return [
        Question(composed(phrases[head, relation], head.replace("_", " "), random), head, relation, frozenset(found))
        for (head, relation), found in ((key, tails[key]) for key in chosen)
    ]


def questions_in(path: Path) -> list[Question]:
    """Questions of a JSON-lines file: objects with question, head, relation and answers. NotFound, InvalidArgument."""
    if not path.is_file():
        raise NotFound(f"there is no file {path}")
    found = []
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        try:
            raw = json.loads(line)
            found.append(Question(raw["question"], raw["head"], raw["relation"], frozenset(raw["answers"])))
        except (ValueError, KeyError, TypeError) as error:
            raise InvalidArgument(
                f"{path} line {number} is no question: an object with question, head, relation, answers is needed"
            ) from error
    if not found:
        raise InvalidArgument(f"{path} holds no questions")
    return found


def whole_store(client: Client, collection: str, reader: Reader) -> tuple[WholeStore, dict[EntryId, Entry]]:
    """Every entry of a collection in memory, and by id."""
    entries = {e.id: e for e in client.scan(collection, texts=True, keys=True, values=True)}
    keys, values = (entries_to_vectors(list(entries.values()), which) for which in ("key", "value"))
    if keys is None or values is None:
        raise FailedPrecondition(f"collection {collection!r} is empty; load a graph into it first")
    device = reader.model.device
    store = WholeStore(
        reader.adapter.centre_keys(torch.from_numpy(keys.floats()).to(device)),
        reader.adapter.centre_values(torch.from_numpy(values.floats()).to(device)),
        np.array(list(entries), np.uint64),
    )
    return store, entries


def evaluate(
    reader: Reader,
    source: PromptSource,
    questions: Sequence[Question],
    entries: dict[EntryId, Entry],
    asking: Asking,
    name: str,
    report: Callable[[int, int], None],
    batch: int = 16,
) -> Score:
    """Ask all questions of one source. `report` is called with how many are done, of how many."""
    right = 0
    firsts: dict[tuple[int, int], int] = defaultdict(int)
    scored: list[int] = []
    for start in range(0, len(questions), batch):
        part = questions[start : start + batch]
        for asked, read in zip(part, reader.read([q.text for q in part], source, asking), strict=True):
            right += read.text.casefold() in {tail.casefold() for tail in asked.tails}
            for layer, ids in read.first.items():
                said = [entries[i].triple for i in ids[:5] if i in entries]
                hits = [(t.head, t.relation) == (asked.head, asked.relation) for t in said]
                firsts[int(layer), 1] += any(hits[:1])
                firsts[int(layer), 5] += any(hits)
        if isinstance(source, StoreSource):
            scored.extend(cost.entries_scored for cost in source.costs)
        report(min(start + batch, len(questions)), len(questions))
    n = len(questions)
    acc = {top: {layer: firsts[layer, top] / n for layer in reader.adapter.config.layers} for top in (1, 5)}
    return Score(name, n, right / n, acc[1], acc[5], float(np.mean(scored)) if scored else float(len(entries)))
