"""One training step's facts: questions, answers, and the store they are asked of."""

from collections import defaultdict
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from transformers import PreTrainedTokenizerFast

from atlasdb_contract.errors import InvalidArgument
from llm_runtime.training.graph import FactGraph, Indices
from llm_runtime.training.templates import question
from llm_runtime.training.vocabulary import END, PROMPT

LONGEST_PROMPT, LONGEST_ANSWER = 40, 16


@dataclass(frozen=True)
class Batch:
    """B questions with answers, right-padded to T tokens, and a store of N entries.

    `tokens`, `mask` int64 (B, T); `asked` bool (B, T): the prompt's tokens; `answered` bool (B, T):
    positions that predict an answer token; `last` int64 (B,): the prompt's last position;
    `keys`, `values` float32 (N, D), not centred; `gold` bool (B, N): entries that say what is asked.
    """

    tokens: Tensor
    mask: Tensor
    asked: Tensor
    answered: Tensor
    last: Tensor
    keys: Tensor
    values: Tensor
    gold: Tensor


class Batches:
    """Draws batches from a graph: shuffled passes, sorted into lengths, with stores that are hard to tell apart."""

    def __init__(
        self, graph: FactGraph, tokenizer: PreTrainedTokenizerFast, size: int, store: int, swaps: float, seed: int
    ) -> None:
        if len(graph) < size:
            raise InvalidArgument(f"{len(graph)} facts are too few to train on; a single step asks for {size}")
        self.graph, self.tokenizer, self.size, self.store, self.swaps = graph, tokenizer, size, store, swaps
        self.random = np.random.default_rng(seed)
        self.queue: list[Indices] = []
        self.by_head: dict[int, list[int]] = defaultdict(list)
        self.by_word: dict[tuple[int, str], list[int]] = defaultdict(list)
        for fact, (head, phrase) in enumerate(zip(graph.head_of.tolist(), graph.phrase_of.tolist(), strict=True)):
            self.by_head[head].append(fact)
            for word in graph.heads[head].split():
                self.by_word[phrase, word].append(fact)
        self.lengths = np.array([len(text) for text in graph.heads])

    def draw(self) -> Batch:
        """The next batch."""
        if not self.queue:
            order = self.random.permutation(len(self.graph))
            for start in range(0, len(order) - self.size + 1, self.size * 16):
                part = order[start : start + self.size * 16]
                part = part[np.argsort(self.lengths[self.graph.head_of[part]], kind="stable")]
                cut = [part[i : i + self.size] for i in range(0, len(part) - self.size + 1, self.size)]
                self.queue.extend(cut[i] for i in self.random.permutation(len(cut)))
            self.queue.reverse()
        return self._batch(self.queue.pop())

    def _batch(self, facts: Indices) -> Batch:
        graph = self.graph
        answers = graph.value_of[facts].copy()
        swapped = self.random.random(len(facts)) < self.swaps
        answers[swapped] = self.random.integers(0, len(graph.values), int(swapped.sum()))
        members = self._members(facts, swapped)
        keys, values = graph.key_of[members], graph.value_of[members].copy()
        values[: len(facts)] = answers
        gold = graph.key_of[facts][:, None] == keys[None, :]
        prompts = [
            PROMPT.format(
                question=question(graph.phrases[graph.phrase_of[fact]], graph.heads[graph.head_of[fact]], self.random)
            )
            for fact in facts
        ]
        return self._pack(prompts, [graph.values[a] for a in answers], keys, values, gold)

    def _members(self, facts: Indices, swapped: np.ndarray) -> Indices:
        """Facts of the store: the asked ones first, then siblings, look-alikes and strangers.

        A swapped fact's other tails stay out: they would contradict it.
        """
        random, graph = self.random, self.graph
        chosen = dict.fromkeys(facts.tolist())
        alone = {int(key) for key in graph.key_of[facts[swapped]]}

        def add(candidates: list[int], count: int) -> None:
            for at in random.integers(0, len(candidates), count):
                candidate = candidates[at]
                if int(graph.key_of[candidate]) not in alone:
                    chosen.setdefault(candidate)

        for fact in facts.tolist():
            head, phrase = int(graph.head_of[fact]), int(graph.phrase_of[fact])
            add(self.by_head[head], 2)
            words = graph.heads[head].split()
            if words:
                add(self.by_word[phrase, words[random.integers(len(words))]], 2)
                add(self.by_word[phrase, words[-1]], 1)
        members = list(chosen)[: self.store]
        for candidate in random.integers(0, len(graph), 2 * self.store).tolist():
            if len(members) == self.store:
                break
            if candidate not in chosen and int(graph.key_of[candidate]) not in alone:
                chosen[candidate] = None
                members.append(candidate)
        return np.array(members, np.int64)

    def _pack(self, prompts: list[str], answers: list[str], keys: Indices, values: Indices, gold: np.ndarray) -> Batch:
        encode = self.tokenizer.backend_tokenizer.encode_batch
        end = self.tokenizer.convert_tokens_to_ids(END)
        asked = [
            e.ids[:2] + e.ids[2:-1][: LONGEST_PROMPT - 3] + e.ids[-1:]
            for e in encode(prompts, add_special_tokens=False)
        ]
        said = [[*e.ids[:LONGEST_ANSWER], end] for e in encode(answers, add_special_tokens=False)]
        width = max(len(a) + len(s) for a, s in zip(asked, said, strict=True))
        tokens = np.zeros((len(asked), width), np.int64)
        lengths = np.array([(len(a), len(a) + len(s)) for a, s in zip(asked, said, strict=True)])
        for row, (a, s) in enumerate(zip(asked, said, strict=True)):
            tokens[row, : len(a) + len(s)] = a + s
        at = np.arange(width)
        return Batch(
            tokens=torch.from_numpy(tokens),
            mask=torch.from_numpy((at < lengths[:, 1:]).astype(np.int64)),
            asked=torch.from_numpy(at < lengths[:, :1]),
            answered=torch.from_numpy((at >= lengths[:, :1] - 1) & (at < lengths[:, 1:] - 1)),
            last=torch.from_numpy(lengths[:, 0] - 1),
            keys=torch.from_numpy(self.graph.key_vectors[keys].astype(np.float32)),
            values=torch.from_numpy(self.graph.value_vectors[values].astype(np.float32)),
            gold=torch.from_numpy(gold),
        )
