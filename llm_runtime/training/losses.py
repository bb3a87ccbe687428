"""What a step is judged by: the answer's tokens, and whether the rows point at the right entry."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from atlasdb_contract.ids import LayerIndex
from llm_runtime.context import Reading
from llm_runtime.training.batch import Batch


@dataclass
class Readings:
    """A Recorder that keeps what each KB layer read, with gradients."""

    layers: dict[LayerIndex, Reading] = field(default_factory=dict)

    def record(self, layer: LayerIndex, reading: Reading) -> None:
        """Keep one layer's reading."""
        self.layers[layer] = reading


def gold_slots(gold: Tensor) -> tuple[Tensor, Tensor]:
    """Slots of the gold entries of each question: from bool (B, N) to int64 (B, G) and bool (B, G), padded."""
    present, slots = gold.float().topk(int(gold.sum(1).max()), dim=1)
    return slots, present > 0


def gold_log_probability(reading: Reading, slots: Tensor, present: Tensor) -> Tensor:
    """Log of the probability that each row gives to the entries asked for, over the store alone: (B, T, H)."""
    batch, tokens, heads, _ = reading.logits.shape
    index = slots[:, None, None, :].expand(batch, tokens, heads, slots.shape[1])
    found = reading.logits.gather(-1, index).masked_fill(~present[:, None, None, :], torch.finfo(torch.float32).min)
    return found.logsumexp(-1) - reading.total


def grounding_loss(readings: Readings, batch: Batch) -> Tensor:
    """-log of the gold entries' probability in the softmax over the store alone, without the tokens' part.

    The last prompt token's rows weigh most: they choose the Block when answers are given. Question
    and answer rows follow. Mean over KB layers.
    """
    items = torch.arange(len(batch.last))
    slots, present = gold_slots(batch.gold)
    total = torch.zeros(())
    for reading in readings.layers.values():
        found = gold_log_probability(reading, slots, present)
        selecting = -found[items, batch.last].mean()
        question = -torch.log((found.exp().mean(-1) * batch.asked).sum(1) / batch.asked.sum(1) + 1e-9).mean()
        answer = -found.mean(-1)[batch.answered].mean()
        total = total + selecting + 0.3 * question + 0.3 * answer
    return total / len(readings.layers)


def alignment_loss(readings: Readings, batch: Batch, keys: Tensor) -> Tensor:
    """1 - cosine between the selecting rows and the key asked for; `keys` centred (N, D).

    Rows that point at their key, and not only away from the others, are found by a descent of fewer steps.
    """
    items = torch.arange(len(batch.last))
    target = torch.nn.functional.normalize(keys[batch.gold.float().argmax(1)], dim=-1)
    total = torch.zeros(())
    for reading in readings.layers.values():
        chosen = torch.nn.functional.normalize(reading.rows[items, batch.last], dim=-1)
        total = total + (1 - (chosen * target[:, None]).sum(-1)).mean()
    return total / len(readings.layers)


@torch.no_grad()
def grounding(readings: Readings, batch: Batch) -> dict[int, float]:
    """Share of questions whose selecting rows rank a right entry first, by KB layer."""
    items = torch.arange(len(batch.last))
    right = {}
    for layer, reading in readings.layers.items():
        best = reading.logits[items, batch.last].softmax(-1).sum(1).argmax(-1)
        right[int(layer)] = batch.gold[items, best].float().mean().item()
    return right
