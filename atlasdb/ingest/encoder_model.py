"""The encoder's network: a BERT read straight from its safetensors file, its output pooled; f of design (1).

Written out because importing transformers takes three times as long as all else that a worker does to start, and
200 MB in each. A test compares it with transformers' BertModel.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor
from torch.nn.functional import embedding, gelu, layer_norm, linear, normalize, scaled_dot_product_attention

from atlasdb.ingest.encoder_wire import Floats

MAX_TOKENS: Final = 256
"""Tokens of a text that its vector is made from."""


class Affine:
    """x W^T + b."""

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight, self._bias = weight, bias

    def __call__(self, x: Tensor) -> Tensor:
        """(..., in) to (..., out)."""
        return linear(x, self._weight, self._bias)


class Norm:
    """Layer norm over the last axis."""

    def __init__(self, weight: Tensor, bias: Tensor, epsilon: float) -> None:
        self._weight, self._bias, self._epsilon = weight, bias, epsilon

    def __call__(self, x: Tensor) -> Tensor:
        """The same shape."""
        return layer_norm(x, self._weight.shape, self._weight, self._bias, self._epsilon)


class Layer:
    """One transformer layer: attention, then feed-forward, each added to its input and normed after."""

    def __init__(self, weights: dict[str, Tensor], prefix: str, heads: int, epsilon: float) -> None:
        def pair(name: str) -> tuple[Tensor, Tensor]:
            return weights[f"{prefix}.{name}.weight"], weights[f"{prefix}.{name}.bias"]

        qkv = [pair(f"attention.self.{name}") for name in ("query", "key", "value")]
        self._heads = heads
        self._qkv = Affine(torch.cat([weight for weight, _ in qkv]), torch.cat([bias for _, bias in qkv]))
        self._attended = Affine(*pair("attention.output.dense"))
        self._attention_norm = Norm(*pair("attention.output.LayerNorm"), epsilon)
        self._widen = Affine(*pair("intermediate.dense"))
        self._narrow = Affine(*pair("output.dense"))
        self._norm = Norm(*pair("output.LayerNorm"), epsilon)

    def __call__(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """States (N, L, D) to states (N, L, D); `mask` (N, 1, 1, L) is true at tokens to attend to."""
        n, length, width = x.shape
        q, k, v = self._qkv(x).view(n, length, 3, self._heads, -1).permute(2, 0, 3, 1, 4)
        attended = scaled_dot_product_attention(q, k, v, attn_mask=mask)
        x = self._attention_norm(x + self._attended(attended.transpose(1, 2).reshape(n, length, width)))
        return self._norm(x + self._narrow(gelu(self._widen(x))))


class Model:
    """The network and its tokenizer."""

    def __init__(self, directory: Path, dtype: str) -> None:
        config = json.loads((directory / "config.json").read_text(encoding="utf-8"))
        self.dtype: Final = fastest_dtype() if dtype == "auto" else dtype
        kind = getattr(torch, self.dtype)
        weights = {
            name: t.to(kind) for name, t in load_file(directory / "model.safetensors").items() if t.is_floating_point()
        }
        epsilon = config["layer_norm_eps"]
        token_type = weights["embeddings.token_type_embeddings.weight"][0]
        self._words = weights["embeddings.word_embeddings.weight"]
        self._places = weights["embeddings.position_embeddings.weight"] + token_type
        self._norm = Norm(weights["embeddings.LayerNorm.weight"], weights["embeddings.LayerNorm.bias"], epsilon)
        self._layers = [
            Layer(weights, f"encoder.layer.{i}", config["num_attention_heads"], epsilon)
            for i in range(config["num_hidden_layers"])
        ]
        self._tokenizer = Tokenizer.from_file(str(directory / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(MAX_TOKENS)

    def tokens(self, texts: Sequence[str]) -> list[list[int]]:
        """Token ids of each text, [CLS] and [SEP] among them, MAX_TOKENS at most."""
        return [encoding.ids for encoding in self._tokenizer.encode_batch_fast(list(texts))]

    def encode(self, batch: Sequence[Sequence[int]]) -> Floats:
        """Unit vectors of one batch of tokenized texts, each the mean of its tokens' states: float32 (N, D)."""
        with torch.inference_mode():
            ids, mask = padded(batch)
            x = self._norm(embedding(ids, self._words) + self._places[: ids.shape[1]])
            for layer in self._layers:
                x = layer(x, None if mask is None else mask[:, None, None, :])
            states = x.float() if mask is None else x.float() * mask.unsqueeze(2)
            # The sum points where the mean does, and its length goes.
            vectors: Floats = normalize(states.sum(1), dim=1).numpy()
        return vectors


def use_one_thread() -> None:
    """Keeps torch to one thread in this process; before anything is computed."""
    torch.set_num_threads(1)
    torch.set_num_interop_threads(1)


def padded(batch: Sequence[Sequence[int]]) -> tuple[Tensor, Tensor | None]:
    """Token ids (N, L), and true where they are no padding (N, L), or None where all texts are of one length."""
    longest = max(map(len, batch))
    ids = torch.tensor([[*row, *[0] * (longest - len(row))] for row in batch])
    if all(len(row) == longest for row in batch):
        return ids, None
    lengths = torch.tensor([len(row) for row in batch])
    return ids, torch.arange(longest) < lengths.unsqueeze(1)


def fastest_dtype() -> str:
    """bfloat16 where the CPU multiplies it natively, else float32: emulated, bfloat16 takes ten times as long."""
    native = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    return "bfloat16" if any(getattr(torch.cpu, name, bool)() for name in native) else "float32"
