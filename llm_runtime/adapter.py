"""The adapter: what one model needs to read any collection of one encoder.

A safetensors file with its config beside it. Form `direct`, design (2) and (3): a KB layer's query
is projected straight into the encoder's space, normalised and given a learned temperature, so that
the row is all that a store needs.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from atlasdb_contract.errors import InvalidArgument, NotFound
from atlasdb_contract.ids import LayerIndex

CONFIG_FILE = "adapter.json"
WEIGHTS_FILE = "adapter.safetensors"
FORM = "direct"


@dataclass(frozen=True)
class AdapterConfig:
    """What the weights were made for."""

    encoder: str
    dimension: int
    """D: of the encoder."""
    layers: tuple[int, ...]
    """KB layers, from 0."""
    heads: int
    """H: attention heads of the model."""
    head_size: int
    """d: what each attention head gives out."""
    hidden: int
    """Width of the model's hidden states."""
    scale: float = 10.0
    """C of design (2): how many tokens' worth of attention a Block starts with."""
    length: int = 512
    """k of design (2) in training. It stays at that value, so that a longer Block of the same facts weighs the same."""
    form: str = FORM

    def __post_init__(self) -> None:
        if self.form != FORM:
            raise InvalidArgument(f"adapter form {self.form!r} is not known; this runtime reads {FORM!r}")
        if not self.layers:
            raise InvalidArgument("an adapter needs at least one KB layer")


class KBLayer(nn.Module):
    """The weights of one KB layer."""

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.query = nn.Linear(config.hidden, config.heads * config.dimension, bias=False)
        self.value = nn.Linear(config.dimension, config.heads * config.head_size)
        self.log_temperature = nn.Parameter(torch.full((config.heads,), math.log(10.0)))
        self.offset = nn.Parameter(torch.zeros(config.heads))

    def rows(self, hidden: Tensor) -> Tensor:
        """Absorbed KB queries: hidden states (B, T, hidden) to float32 (B, T, H, D), temperature included."""
        c = self.config
        query = self.query(hidden).view(*hidden.shape[:-1], c.heads, c.dimension).float()
        return nn.functional.normalize(query, dim=-1) * self.log_temperature.float().exp()[:, None]

    def bias(self) -> Tensor:
        """log C - log k and what training added: float32 (H,)."""
        return self.offset.float() + math.log(self.config.scale) - math.log(self.config.length)

    def output(self, mean_value: Tensor) -> Tensor:
        """Mean values (B, T, H, D) through each attention head's own W_V: float32 (B, T, H, d)."""
        c = self.config
        weight = self.value.weight.float().view(c.heads, c.head_size, c.dimension)
        out = torch.einsum("bthe,hde->bthd", mean_value, weight)
        return out + self.value.bias.float().view(c.heads, c.head_size)


class Adapter(nn.Module):
    """All KB layers of a model, with the means that keys and values are centred by (design (3))."""

    key_mean: Tensor
    value_mean: Tensor

    def __init__(self, config: AdapterConfig) -> None:
        super().__init__()
        self.config = config
        self.kb_layers = nn.ModuleDict({str(layer): KBLayer(config) for layer in config.layers})
        self.register_buffer("key_mean", torch.zeros(config.dimension))
        self.register_buffer("value_mean", torch.zeros(config.dimension))

    def kb_layer(self, layer: LayerIndex) -> KBLayer | None:
        """The weights of a layer; None where it is not a KB layer."""
        found = dict(self.kb_layers.items()).get(str(layer))
        return found if isinstance(found, KBLayer) else None

    def centre_keys(self, keys: Tensor) -> Tensor:
        """Keys (…, D) less the training mean."""
        return keys.float() - self.key_mean.float()

    def centre_values(self, values: Tensor) -> Tensor:
        """Values (…, D) less the training mean, at unit variance in each dimension."""
        return (values.float() - self.value_mean.float()) * math.sqrt(self.config.dimension)

    def save(self, folder: Path, extra: Mapping[str, Any] | None = None) -> None:
        """Write config and weights (bfloat16, means float32) into `folder`; `extra` is kept in the config."""
        folder.mkdir(parents=True, exist_ok=True)
        state = {
            name: (t.float() if name.endswith("_mean") else t.bfloat16()).contiguous()
            for name, t in self.state_dict().items()
        }
        save_file(state, folder / WEIGHTS_FILE)
        text = json.dumps({**asdict(self.config), **(extra or {})}, indent=2)
        (folder / CONFIG_FILE).write_text(text + "\n", encoding="utf-8")


def load_adapter(folder: Path) -> Adapter:
    """Read an adapter. NotFound where files are missing, InvalidArgument where they do not fit each other."""
    path = folder / CONFIG_FILE
    if not path.is_file() or not (folder / WEIGHTS_FILE).is_file():
        raise NotFound(
            f"{folder} holds no adapter: {CONFIG_FILE} and {WEIGHTS_FILE} are needed; `atlas-llm train` writes them"
        )
    try:
        raw = json.loads(path.read_text(encoding="utf-8"))
        known = {field.name: raw[field.name] for field in fields(AdapterConfig) if field.name in raw}
        config = AdapterConfig(**{**known, "layers": tuple(known["layers"])})
    except (ValueError, KeyError, TypeError) as error:
        raise InvalidArgument(f"{path} is not an adapter's config: {error}") from error
    adapter = Adapter(config)
    try:
        adapter.load_state_dict({name: t.float() for name, t in load_file(folder / WEIGHTS_FILE).items()})
    except RuntimeError as error:
        raise InvalidArgument(f"{folder / WEIGHTS_FILE} does not fit {CONFIG_FILE}: {error}") from error
    return adapter.eval()
