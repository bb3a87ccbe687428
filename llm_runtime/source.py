"""Blocks from a store: when to fetch, and for which rows (design (4), "Fetch policies").

Two policies. `prompt` fetches once for each KB layer, with the rows of the last prompt token, and
keeps that Block for the whole answer. `step` fetches again for every token, as the papers do.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol

import numpy as np
import torch
from torch import Tensor

from atlasdb_contract.ids import LayerIndex
from atlasdb_contract.types import Beams, Block, FetchCost, Floats, Ids
from llm_runtime.adapter import Adapter
from llm_runtime.context import BlockSource, BlockTensors

Policy = Literal["prompt", "step"]
POLICIES: tuple[Policy, ...] = ("prompt", "step")


class Stream(Protocol):
    """What is needed of a client's fetch stream."""

    def send(self, rows: Floats, k: int, beams: Beams | None = None, exact: bool = False) -> int:
        """Send rows (R, D)."""

    def receive(self) -> Block:
        """The Block of the oldest rows sent."""


class PromptSource(BlockSource, Protocol):
    """A BlockSource that is told of each new batch of prompts."""

    def begin(self, mask: Tensor) -> None:
        """A new batch of prompts: `mask` (B, T), 1 where there is a token."""


@dataclass
class WholeStore:
    """A BlockSource that holds every entry in memory, for all sequences and layers alike: training, and full
    attention as a reference. `keys`, `values` float32 (N, D), centred."""

    keys: Tensor
    values: Tensor
    ids: Ids

    def begin(self, mask: Tensor) -> None:
        """Nothing depends on the prompt."""

    def block(self, layer: LayerIndex, rows: Tensor) -> BlockTensors:  # noqa: ARG002 - the same for all
        """Everything."""
        return BlockTensors(self.keys[None], self.values[None], None, self.ids[None])


@dataclass
class StoreSource:
    """A BlockSource over one fetch stream, for one batch of prompts at a time."""

    stream: Stream
    adapter: Adapter
    k: int
    policy: Policy = "prompt"
    beams: Beams = Beams()
    exact: bool = False
    costs: list[FetchCost] = field(default_factory=list)
    """One for each fetch so far."""
    _last: Tensor | None = None
    _kept: dict[LayerIndex, BlockTensors] = field(default_factory=dict)

    def begin(self, mask: Tensor) -> None:
        """A new batch of prompts: `mask` (B, T), 1 where there is a token. The last of each selects."""
        positions = torch.arange(mask.shape[1], device=mask.device)
        self._last = (mask * positions).argmax(dim=1)
        self._kept.clear()
        self.costs.clear()

    def block(self, layer: LayerIndex, rows: Tensor) -> BlockTensors | None:
        """The Blocks for rows (B, T, H, D): those kept from the prompt, or newly fetched ones."""
        kept = self._kept.get(layer)
        if kept is not None and self.policy == "prompt":
            return kept
        prefill = rows.shape[1] > 1 and self._last is not None
        at = self._last if prefill and self._last is not None else torch.full((len(rows),), -1, device=rows.device)
        selecting = rows[torch.arange(len(rows), device=rows.device), at].detach().float().cpu().numpy()
        for item in selecting:
            self.stream.send(item, self.k, self.beams, self.exact)
        blocks = [self.stream.receive() for _ in selecting]
        self.costs.extend(block.cost for block in blocks)
        if not any(len(block.ids) for block in blocks):
            return None
        tensors = self._kept[layer] = block_tensors(blocks, self.adapter, rows.device)
        return tensors


def block_tensors(blocks: Sequence[Block], adapter: Adapter, device: torch.device) -> BlockTensors:
    """Blocks of a batch as tensors, shorter ones padded."""
    k = max(len(block.ids) for block in blocks)
    shape = (len(blocks), k)
    dimension = adapter.config.dimension
    data = {name: np.zeros((*shape, dimension), np.int8) for name in ("keys", "values")}
    scales = {name: np.zeros(shape, np.float32) for name in ("keys", "values")}
    ids, present = np.zeros(shape, np.uint64), np.zeros(shape, bool)
    for row, block in enumerate(blocks):
        n = len(block.ids)
        ids[row, :n], present[row, :n] = block.ids, True
        for name in ("keys", "values"):
            vectors = getattr(block, name)
            data[name][row, :n], scales[name][row, :n] = vectors.data, vectors.scales
    keys, values = (
        torch.from_numpy(data[name]).to(device).float() * torch.from_numpy(scales[name]).to(device)[..., None]
        for name in ("keys", "values")
    )
    mask = None if present.all() else torch.from_numpy(present).to(device)
    return BlockTensors(adapter.centre_keys(keys), adapter.centre_values(values), mask, ids)
