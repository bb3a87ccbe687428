"""The knowledge that a forward pass may attend to: set by a context manager, cleared always, never nested."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from atlasdb_contract.errors import FailedPrecondition
from atlasdb_contract.ids import LayerIndex
from atlasdb_contract.types import Ids


@dataclass(frozen=True)
class BlockTensors:
    """Blocks of a batch on the model's device, centred by the adapter.

    `keys`, `values` float32 (B or 1, k, D); `present` boolean (B or 1, k), None when all are;
    `ids` u64 (B or 1, k), 0 where not present.
    """

    keys: Tensor
    values: Tensor
    present: Tensor | None
    ids: Ids


class BlockSource(Protocol):
    """Where a KB layer's Block comes from."""

    def block(self, layer: LayerIndex, rows: Tensor) -> BlockTensors | None:
        """The Block for rows (B, T, H, D); None: this pass reads nothing here."""


@dataclass(frozen=True)
class Reading:
    """What one KB layer read in one pass.

    `rows` (B, T, H, D); `logits` (B, T, H, k) of the Block's entries; `total` (B, T, H): their
    log-sum-exp; `share` (B, T, H): the Block's part of the whole attention.
    """

    block: BlockTensors
    rows: Tensor
    logits: Tensor
    total: Tensor
    share: Tensor


class Recorder(Protocol):
    """Watches the reading: for evidence, losses and measurements."""

    def record(self, layer: LayerIndex, reading: Reading) -> None:
        """Called once for each KB layer that read, in the order of the layers."""


@dataclass(frozen=True)
class Knowledge:
    """What is attended to, and who watches."""

    source: BlockSource
    recorder: Recorder | None = None


_current: ContextVar[Knowledge | None] = ContextVar("knowledge", default=None)


def current() -> Knowledge | None:
    """The knowledge of this forward pass, if any."""
    return _current.get()


@contextmanager
def attending(source: BlockSource, recorder: Recorder | None = None) -> Iterator[None]:
    """Let every hooked model in this context attend to `source`. FailedPrecondition when nested."""
    if _current.get() is not None:
        raise FailedPrecondition("a forward pass attends to one source; leave the outer `attending` first")
    token = _current.set(Knowledge(source, recorder))
    try:
        yield
    finally:
        _current.reset(token)
