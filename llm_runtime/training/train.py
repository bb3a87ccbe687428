"""Train a small reader and its adapter together on a graph's facts (docs/training.md)."""

import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from atlasdb_contract.errors import InvalidArgument
from llm_runtime.adapter import Adapter
from llm_runtime.context import attending
from llm_runtime.hook import attached
from llm_runtime.source import WholeStore
from llm_runtime.training.batch import Batch, Batches
from llm_runtime.training.graph import FactGraph
from llm_runtime.training.initialise import adapter_config, initialise, model_config
from llm_runtime.training.losses import Readings, alignment_loss, grounding, grounding_loss
from llm_runtime.training.vocabulary import PROMPT, token_texts, train_tokenizer


@dataclass(frozen=True)
class Recipe:
    """All that a run depends on besides its data."""

    steps: int = 4000
    minutes: float = 60.0
    """The run ends with whichever of steps and minutes is reached first; the rate follows the nearer end."""
    batch: int = 48
    store: int = 448
    """Entries in a step's store."""
    layers: tuple[int, ...] = (2, 4)
    """KB layers."""
    vocabulary: int = 8192
    rate: float = 1.6e-3
    warmup: int = 100
    swaps: float = 0.3
    """Share of questions whose value is replaced, so that the model reads and does not remember."""
    grounding: float = 1.0
    alignment: float = 0.5
    seed: int = 0

    def __post_init__(self) -> None:
        if self.store < 2 * self.batch:
            raise InvalidArgument(
                f"a store of {self.store} is too small for a batch of {self.batch}; take {2 * self.batch}"
            )


@dataclass(frozen=True)
class Step:
    """How training goes: smoothed losses, and grounding by KB layer."""

    step: int
    seconds: float
    answer: float
    grounding: float
    alignment: float
    right: dict[int, float]


@dataclass(frozen=True)
class Trained:
    """What a run leaves."""

    model: LlamaForCausalLM
    tokenizer: PreTrainedTokenizerFast
    adapter: Adapter
    recipe: Recipe
    steps: int
    seconds: float

    def save(self, folder: Path, extra: dict[str, Any]) -> None:
        """Model (bfloat16), tokenizer and adapter in `folder`; the run's facts are kept in the adapter's config."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self.model.state_dict()
        halves = {name: tensor.bfloat16() for name, tensor in state.items() if name != "lm_head.weight"}
        self.model.save_pretrained(folder, state_dict=halves)
        self.tokenizer.save_pretrained(folder)
        run = {"recipe": asdict(self.recipe), "steps": self.steps, "seconds": round(self.seconds), **extra}
        self.adapter.save(folder, {"prompt": PROMPT, "trained": run})


def losses(model: LlamaForCausalLM, adapter: Adapter, batch: Batch) -> tuple[Tensor, Tensor, Tensor, Readings]:
    """Answer, grounding and alignment losses of one batch, and what was read."""
    keys, readings = adapter.centre_keys(batch.keys), Readings()
    ids = batch.gold.new_zeros(len(keys)).numpy().astype("u8")
    with attending(WholeStore(keys, adapter.centre_values(batch.values), ids), readings):
        hidden = model.model(input_ids=batch.tokens, attention_mask=batch.mask, use_cache=False).last_hidden_state
    logits = model.lm_head(hidden[batch.answered]).float()
    targets = batch.tokens[:, 1:][batch.answered[:, :-1]]
    answer = torch.nn.functional.cross_entropy(logits, targets)
    return answer, grounding_loss(readings, batch), alignment_loss(readings, batch, keys), readings


def optimiser(model: LlamaForCausalLM, adapter: Adapter, recipe: Recipe) -> torch.optim.AdamW:
    """AdamW; matrices decay a little, the rest not at all."""
    parameters = [*model.parameters(), *adapter.parameters()]
    return torch.optim.AdamW(
        [
            {"params": [p for p in parameters if p.ndim >= 2], "weight_decay": 0.01},
            {"params": [p for p in parameters if p.ndim < 2], "weight_decay": 0.0},
        ],
        lr=recipe.rate,
        betas=(0.9, 0.98),
        fused=True,
    )


def rate_at(step: int, through: float, recipe: Recipe) -> float:
    """Warm-up, then a cosine down to a twentieth; `through` is the share of the run that is over."""
    cosine = 0.5 * (1 + math.cos(math.pi * min(through, 1.0)))
    return recipe.rate * min(1.0, (step + 1) / recipe.warmup) * (0.05 + 0.95 * cosine)


def train(
    graph: FactGraph,
    encode: Callable[[list[str]], Tensor],
    recipe: Recipe,
    report: Callable[[Step], None],
    every: int = 50,
) -> Trained:
    """Train from nothing. `encode`: texts to float32 (N, D), the collection's encoder. `report` is called every
    `every` steps. KeyboardInterrupt ends the run early and keeps what was learned so far."""
    torch.manual_seed(recipe.seed)
    tokenizer = train_tokenizer(
        [*graph.heads, *graph.values, *(phrase for phrase in graph.phrases for _ in range(50))], recipe.vocabulary
    )
    config = model_config(len(tokenizer))
    model = LlamaForCausalLM(config)
    adapter = Adapter(adapter_config(config, graph.key_vectors.shape[1], recipe.layers, recipe.store))
    initialise(model, adapter, graph, encode(list(token_texts(tokenizer))), recipe.seed)
    batches = Batches(graph, tokenizer, recipe.batch, recipe.store, recipe.swaps, recipe.seed)
    steps = optimiser(model, adapter, recipe)
    smooth: list[float] = []
    start, done = time.monotonic(), 0
    model.train()
    with attached(model, adapter):
        try:
            while (through := max(done / recipe.steps, (time.monotonic() - start) / (60 * recipe.minutes))) < 1:
                done += 1
                batch = batches.draw()
                answer, ground, align, readings = losses(model, adapter, batch)
                steps.zero_grad(set_to_none=True)
                (answer + recipe.grounding * ground + recipe.alignment * align).backward()  # type: ignore[no-untyped-call]
                torch.nn.utils.clip_grad_norm_([*model.parameters(), *adapter.parameters()], 1.0)
                for group in steps.param_groups:
                    group["lr"] = rate_at(done - 1, through, recipe)
                steps.step()
                now = [answer.item(), ground.item(), align.item()]
                smooth = [0.9 * old + 0.1 * new for old, new in zip(smooth or now, now, strict=True)]
                if done % every == 0 or done in (1, recipe.steps):
                    seconds = time.monotonic() - start
                    report(Step(done, seconds, smooth[0], smooth[1], smooth[2], grounding(readings, batch)))
        except KeyboardInterrupt:
            done -= 1
    return Trained(model.train(False), tokenizer, adapter.train(False), recipe, done, time.monotonic() - start)
