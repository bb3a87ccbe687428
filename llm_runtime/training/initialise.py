"""Where a small reader starts: in the encoder's own space.

Token embeddings are the encoder's vectors of each token's text, reduced by PCA; queries start as the
way back, values as the way in. Grounding then passes 80% within some fifty steps; from random
weights it takes hundreds to reach half of that (docs/training.md).
"""

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from transformers import LlamaConfig, LlamaForCausalLM
from transformers.models.llama.modeling_llama import LlamaAttention

from atlasdb_contract.ids import LayerIndex
from atlasdb_contract.types import CollectionConfig
from llm_runtime.adapter import Adapter, AdapterConfig
from llm_runtime.training.graph import FactGraph

SPECIAL_TOKENS = 4


def model_config(vocabulary: int) -> LlamaConfig:
    """A 7.8M-parameter Llama: hidden 256, 6 layers, 4 attention heads, feed-forward 688, tied embeddings."""
    return LlamaConfig(
        vocab_size=vocabulary,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=6,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=512,
        rms_norm_eps=1e-6,
        tie_word_embeddings=True,
        pad_token_id=0,
        bos_token_id=1,
        eos_token_id=2,
    )


def adapter_config(config: LlamaConfig, dimension: int, layers: tuple[int, ...], length: int) -> AdapterConfig:
    """The adapter that fits a model."""
    return AdapterConfig(
        encoder=CollectionConfig().encoder,
        dimension=dimension,
        layers=layers,
        heads=config.num_attention_heads,
        head_size=config.hidden_size // config.num_attention_heads,
        hidden=config.hidden_size,
        length=length,
    )


def principal_axes(vectors: npt.NDArray[np.float16], width: int, seed: int) -> Tensor:
    """The `width` directions of largest variance of (N, D) vectors: float32 (D, width)."""
    chosen = np.random.default_rng(seed).permutation(len(vectors))[:20000]
    sample = vectors[chosen].astype(np.float32)
    _, directions = np.linalg.eigh(np.cov((sample - sample.mean(0)).T))
    return torch.from_numpy(np.ascontiguousarray(directions[:, ::-1][:, :width], np.float32))


@torch.no_grad()
def initialise(model: LlamaForCausalLM, adapter: Adapter, graph: FactGraph, tokens: Tensor, seed: int) -> None:
    """Set weights of a fresh model and adapter in place. `tokens` float32 (V, D): each token's vector."""
    generator = torch.Generator().manual_seed(seed)
    width = model.config.hidden_size
    key_sample = graph.key_vectors[np.unique(graph.key_of)]
    value_sample = graph.value_vectors
    adapter.key_mean.copy_(torch.from_numpy(key_sample.mean(0, dtype=np.float32)))
    adapter.value_mean.copy_(torch.from_numpy(value_sample.mean(0, dtype=np.float32)))
    axes = principal_axes(key_sample, width, seed)

    def noise(like: Tensor, size: float) -> Tensor:
        return torch.randn(like.shape, generator=generator) * size

    embedding = model.model.embed_tokens.weight
    embedding.normal_(std=0.1, generator=generator)
    text = tokens[SPECIAL_TOKENS:]
    embedding[SPECIAL_TOKENS:] = ((text - text.mean(0)) @ axes) * 2 + noise(embedding[SPECIAL_TOKENS:], 0.02)
    for index, block in enumerate(model.model.layers):
        attention, mlp = block.self_attn, block.mlp
        for linear in (attention.q_proj, attention.k_proj, attention.v_proj, mlp.gate_proj, mlp.up_proj):
            linear.weight.normal_(std=0.6 / width**0.5, generator=generator)
        attention.o_proj.weight.normal_(std=0.2 / width**0.5, generator=generator)
        mlp.down_proj.weight.normal_(std=0.2 / mlp.down_proj.in_features**0.5, generator=generator)
        if index == 1:
            _pass_on(attention, 1.0, 0.5)
            attention.q_proj.weight.mul_(0.3)
            attention.k_proj.weight.mul_(0.3)
        if index in adapter.config.layers:
            _pass_on(attention, 0.5, 0.5)
            kb = adapter.kb_layer(LayerIndex(index))
            assert kb is not None
            kb.query.weight.copy_(axes.repeat(adapter.config.heads, 1) * 0.1)
            kb.query.weight.add_(noise(kb.query.weight, 0.003))
            kb.value.weight.copy_(axes.T * 0.15)
            kb.value.bias.zero_()


def _pass_on(attention: LlamaAttention, value: float, output: float) -> None:
    """Let an attention layer carry the mean of what it sees, unmixed."""
    eye = torch.eye(attention.v_proj.weight.shape[0])
    attention.v_proj.weight.copy_(eye * value)
    attention.o_proj.weight.copy_(eye * output)
