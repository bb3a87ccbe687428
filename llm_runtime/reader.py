"""A language model with its adapter: questions in, answers with evidence out."""

import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig, PreTrainedModel, PreTrainedTokenizerBase

from atlasdb_client.client import Client
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.ids import EntryId, LayerIndex
from atlasdb_contract.types import NO_ENCODER, Beams, FetchCost
from llm_runtime.adapter import CONFIG_FILE, Adapter, load_adapter
from llm_runtime.context import attending
from llm_runtime.evidence import Evidence, EvidenceRecorder, Weight, strongest
from llm_runtime.hook import attached
from llm_runtime.source import Policy, PromptSource, StoreSource

DEFAULT_MODEL = Path(__file__).parent / "models" / "atlas-reader"
"""The reader that comes with atlasdb (docs/training.md)."""
EVIDENCE = 5
"""Entries named beside an answer, at most."""


@dataclass(frozen=True)
class Asking:
    """How questions are asked."""

    k: int = 64
    """Entries in a Block."""
    policy: Policy = "prompt"
    beams: Beams = Beams()
    exact: bool = False
    """Score every key in the store instead of descending its tree."""
    temperature: float = 0.0
    """0 takes the likeliest token each time; above, tokens are sampled."""
    top_p: float = 1.0
    seed: int = 0
    max_tokens: int = 32
    evidence: int = EVIDENCE

    def __post_init__(self) -> None:
        for name, right in (
            ("k", self.k > 0), ("temperature", self.temperature >= 0), ("top_p", 0 < self.top_p <= 1),
            ("max_tokens", self.max_tokens > 0), ("evidence", self.evidence > 0),
        ):  # fmt: skip
            if not right:
                raise InvalidArgument(f"{name} can't be {getattr(self, name)}")


@dataclass(frozen=True)
class Answer:
    """What the model said to one question, and what it rested on. `seconds` is the batch's time."""

    question: str
    text: str
    evidence: tuple[Evidence, ...]
    seconds: float
    fetches: tuple[FetchCost, ...]

    def plain(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "question": self.question,
            "answer": self.text,
            "seconds": round(self.seconds, 4),
            "evidence": [
                {
                    "id": item.id,
                    "head": item.triple.head,
                    "relation": item.triple.relation,
                    "tail": item.triple.tail,
                    "source": item.triple.source,
                    "inverse": item.inverse,
                    "weight": round(item.weight, 6),
                    "layers": {str(layer): round(weight, 6) for layer, weight in sorted(item.layers.items())},
                }
                for item in self.evidence
            ],
            "fetches": [asdict(cost) for cost in self.fetches],
        }


@dataclass(frozen=True)
class Read:
    """An answer whose evidence is still ids. `first`: for each KB layer, entries by falling weight when the
    first answer token was chosen."""

    text: str
    weights: list[Weight]
    first: dict[LayerIndex, list[EntryId]]


class Reader:
    """A model, its tokenizer and its adapter. Not for use by several threads at once."""

    def __init__(
        self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase, adapter: Adapter, prompt: str, name: str
    ) -> None:
        self.model, self.tokenizer, self.adapter, self.prompt, self.name = model, tokenizer, adapter, prompt, name
        if tokenizer.pad_token_id is None:
            tokenizer.pad_token = tokenizer.eos_token
        tokenizer.padding_side = "left"

    @classmethod
    def load(cls, folder: Path = DEFAULT_MODEL, device: str = "cpu") -> "Reader":
        """Model, tokenizer and adapter from one folder, on `device`. NotFound says what is missing."""
        adapter = load_adapter(folder)
        if not (folder / "config.json").is_file():
            raise NotFound(f"{folder} holds an adapter but no model; put the model's config and weights beside it")
        prompt = json.loads((folder / CONFIG_FILE).read_text(encoding="utf-8")).get("prompt", "{question}")
        if device.startswith("cuda") and not torch.cuda.is_available():
            raise FailedPrecondition(f"there is no {device} here; leave --device out to run on the CPU")
        tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        kind = torch.bfloat16 if device.startswith("cuda") else torch.float32
        model = AutoModelForCausalLM.from_pretrained(folder, local_files_only=True, dtype=kind)
        model = nn.Module.to(model, device)
        return cls(model.train(False), tokenizer, adapter.to(device), prompt, folder.name)

    def ask(self, client: Client, collection: str, questions: Sequence[str], asking: Asking = Asking()) -> list[Answer]:
        """Answer a batch of questions from one collection. NotFound for the collection, FailedPrecondition where
        it was encoded by another encoder than the adapter reads."""
        self.check(client, collection)
        begun = perf_counter()
        with client.fetch_stream(collection) as stream:
            source = StoreSource(stream, self.adapter, asking.k, asking.policy, asking.beams, asking.exact)
            read = self.read(questions, source, asking)
        seconds = perf_counter() - begun
        count = max(asking.evidence, EVIDENCE)
        evidence = self._evidence(client, collection, [strongest(r.weights, count) for r in read])
        fetches = tuple(source.costs)
        return [
            Answer(question, spelled(r.text, found), found[: asking.evidence], seconds, fetches)
            for question, r, found in zip(questions, read, evidence, strict=True)
        ]

    @torch.inference_mode()
    def read(self, questions: Sequence[str], source: PromptSource, asking: Asking) -> list[Read]:
        """Answer a batch of questions from any source; entries stay ids."""
        inputs = self.tokens(questions)
        mask = inputs["attention_mask"]
        source.begin(mask)
        recorder = EvidenceRecorder((mask * torch.arange(mask.shape[1], device=mask.device)).argmax(dim=1))
        sampling: dict[str, Any] = {"do_sample": False}
        if asking.temperature > 0:
            torch.manual_seed(asking.seed)
            sampling = {"do_sample": True, "temperature": asking.temperature, "top_p": asking.top_p, "top_k": 0}
        settings: Callable[..., GenerationConfig] = GenerationConfig
        config = settings(
            max_new_tokens=asking.max_tokens,
            pad_token_id=self.tokenizer.pad_token_id,
            eos_token_id=self.tokenizer.eos_token_id,
            **sampling,
        )
        with attached(self.model, self.adapter), attending(source, recorder):
            produced: Tensor = self.model.generate(**inputs, generation_config=config)  # type: ignore[operator]
        said = produced[:, mask.shape[1] :]
        texts = self.tokenizer.batch_decode(said, skip_special_tokens=True)
        lengths = (said != self.tokenizer.pad_token_id).sum(dim=1).tolist()
        return [
            Read(text.strip(), recorder.weights(item, tokens), recorder.first(item))
            for item, (text, tokens) in enumerate(zip(texts, lengths, strict=True))
        ]

    def tokens(self, questions: Sequence[str]) -> dict[str, Tensor]:
        """Prompts as left-padded token ids and mask, int64 (B, T), on the model's device."""
        if not questions or not all(question.strip() for question in questions):
            raise InvalidArgument('the question is empty; ask something like "what is the capital of Norway?"')
        prompts = [self.prompt.format(question=question.strip()) for question in questions]
        batch = self.tokenizer(prompts, return_tensors="pt", padding=True, add_special_tokens=False)
        return {name: batch[name].to(self.model.device) for name in ("input_ids", "attention_mask")}

    def check(self, client: Client, name: str) -> None:
        """NotFound or FailedPrecondition where this reader can't read a collection."""
        found = {collection.name: collection.config for collection in client.collections()}
        if name not in found:
            raise NotFound(f"there is no collection {name!r}; there are: {', '.join(sorted(found)) or 'none'}")
        config, want = found[name], self.adapter.config
        if config.encoder not in (want.encoder, NO_ENCODER) or config.dimension not in (0, want.dimension):
            raise FailedPrecondition(
                f"{self.name} reads {want.encoder} ({want.dimension}); "
                f"collection {name!r} was encoded by {config.encoder} ({config.dimension})"
            )

    def _evidence(self, client: Client, collection: str, weights: list[list[Weight]]) -> list[tuple[Evidence, ...]]:
        ids = sorted({weight.id for found in weights for weight in found})
        entries = {entry.id: entry for entry in client.get(collection, ids)} if ids else {}
        return [
            tuple(
                Evidence(entries[w.id].triple, entries[w.id].inverse, w.id, w.weight, w.layers)
                for w in found
                if w.id in entries
            )
            for found in weights
        ]


def spelled(text: str, evidence: Sequence[Evidence]) -> str:
    """The answer in the graph's own spelling, where a reader of lower-case text names an entry's value."""
    for item in evidence:
        value = item.triple.head if item.inverse else item.triple.tail
        if value.casefold() == text.casefold():
            return value
    return text


def quiet() -> None:
    """Keep transformers from printing progress of its own; no network is tried."""
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    from transformers.utils import logging

    silence: list[Callable[[], None]] = [logging.disable_progress_bar, logging.set_verbosity_error]
    for hush in silence:
        hush()


__all__ = ["DEFAULT_MODEL", "Answer", "Asking", "Reader", "quiet"]
