"""Small random models of many families, unmodified from transformers."""

from typing import Any

import torch
import transformers
from transformers import PreTrainedModel

from llm_runtime.adapter import Adapter, AdapterConfig

SMALL: dict[str, Any] = {
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "pad_token_id": 0,
    "bos_token_id": 1,
    "eos_token_id": 2,
}
FAMILIES: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {}),
    "mistral": ("Mistral", {"sliding_window": None}),
    "qwen2": ("Qwen2", {}),
    "qwen3": ("Qwen3", {}),
    "qwen3_moe": ("Qwen3Moe", {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 16}),
    "phi3": ("Phi3", {}),
    "gemma": ("Gemma", {}),
    "gemma2": ("Gemma2", {"sliding_window": 16, "query_pre_attn_scalar": 8}),
    "granite": ("Granite", {}),
    "olmo2": ("Olmo2", {}),
    "smollm3": ("SmolLM3", {}),
    "glm4": ("Glm4", {}),
    "cohere2": ("Cohere2", {"sliding_window": 16}),
}


def implementations(family: str) -> tuple[str, ...]:
    """Attention implementations that a family runs with; its favourite first."""
    return ("eager",) if family == "gemma2" else ("sdpa", "eager")


def small_model(family: str, attention: str = "") -> PreTrainedModel:
    """A random model of `family`, the same at every call."""
    name, extra = FAMILIES[family]
    config = getattr(transformers, f"{name}Config")(**{**SMALL, **extra})
    config._attn_implementation = attention or implementations(family)[0]
    torch.manual_seed(7)
    model: PreTrainedModel = getattr(transformers, f"{name}ForCausalLM")(config)
    return model.eval()


def random_adapter(model: PreTrainedModel, layers: tuple[int, ...] = (1, 3), dimension: int = 16) -> Adapter:
    """An adapter with random weights that fits `model`."""
    config = model.config
    torch.manual_seed(11)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    adapter = Adapter(
        AdapterConfig(
            encoder="none",
            dimension=dimension,
            layers=layers,
            heads=config.num_attention_heads,
            head_size=size,
            hidden=config.hidden_size,
            length=8,
        )
    )
    return adapter.eval()
