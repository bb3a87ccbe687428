"""What an answer rested on: the entries that its tokens attended to."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from atlasdb_contract.ids import EntryId, LayerIndex
from atlasdb_contract.types import Floats, Ids, Triple
from llm_runtime.context import Reading

LEAST_WEIGHT = 0.005
"""Share of all attention below which an entry is not called evidence."""
RANKED = 64
"""Entries that `first` names, at most."""


@dataclass(frozen=True)
class Weight:
    """An entry's part in an answer: its share of all attention, mean over KB layers, attention heads and
    answer tokens; `layers` is the same for each KB layer."""

    id: EntryId
    weight: float
    layers: dict[LayerIndex, float]


@dataclass(frozen=True)
class Evidence:
    """An entry that an answer attended to. An `inverse` entry was read from its tail's side."""

    triple: Triple
    inverse: bool
    id: EntryId
    weight: float
    layers: dict[LayerIndex, float]


@dataclass
class EvidenceRecorder:
    """A Recorder that adds up, for each sequence of a batch, what the token to come is read from."""

    last: torch.Tensor
    """int64 (B,): the position that predicts the first answer token."""
    passes: dict[LayerIndex, list[tuple[Ids, Floats]]] = field(default_factory=lambda: defaultdict(list))

    @torch.no_grad()
    def record(self, layer: LayerIndex, reading: Reading) -> None:
        """Keep ids (B, k) and weights (B, k) of the predicting position, mean over attention heads."""
        batch, tokens = reading.rows.shape[:2]
        items = torch.arange(batch, device=reading.rows.device)
        at = self.last if tokens > 1 else torch.zeros_like(self.last)
        probabilities = (reading.logits[items, at] - reading.total[items, at][..., None]).exp()
        weights = (probabilities * reading.share[items, at][..., None]).mean(dim=1)
        ids = np.broadcast_to(reading.block.ids, (batch, reading.block.ids.shape[1]))
        self.passes[layer].append((ids, weights.float().cpu().numpy()))

    def weights(self, item: int, tokens: int) -> list[Weight]:
        """Of sequence `item`, whose answer has so many tokens: entries by falling weight."""
        sums: dict[int, dict[LayerIndex, float]] = defaultdict(lambda: defaultdict(float))
        for layer, passes in self.passes.items():
            used = passes[: max(tokens, 1)]
            for ids, weights in used:
                for id_, weight in zip(ids[item].tolist(), weights[item].tolist(), strict=True):
                    if id_:
                        sums[id_][layer] += weight / len(used)
        found = [
            Weight(EntryId(id_), sum(layers.values()) / len(self.passes), dict(layers)) for id_, layers in sums.items()
        ]
        return sorted(found, key=lambda weight: -weight.weight)

    def first(self, item: int) -> dict[LayerIndex, list[EntryId]]:
        """Of sequence `item`: by KB layer, the entries by falling weight where the first answer token was chosen."""
        found = {}
        for layer, passes in self.passes.items():
            ids, weights = passes[0]
            found[layer] = [
                EntryId(int(ids[item, slot])) for slot in np.argsort(-weights[item], kind="stable")[:RANKED]
            ]
        return found


def strongest(weights: Sequence[Weight], count: int) -> list[Weight]:
    """The first `count` of those that reach LEAST_WEIGHT, but always the first."""
    return [weight for place, weight in enumerate(weights[:count]) if place == 0 or weight.weight >= LEAST_WEIGHT]
