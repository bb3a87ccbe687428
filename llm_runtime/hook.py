"""KB attention inside an unmodified transformers model.

`attach` changes no modelling code. It gives the model an attention implementation of ours, which is
the model's own wherever there is nothing to read: outside `attending`, and in layers without KB
attention. A forward pre-hook on each KB layer's attention hands over the hidden states that the
rows are made from. The mask function is registered beside the attention function: without it
transformers makes no mask, and padding breaks in silence.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.masking_utils import ALL_MASK_ATTENTION_FUNCTIONS
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from atlasdb_contract.errors import FailedPrecondition, InvalidArgument
from atlasdb_contract.ids import LayerIndex
from llm_runtime.adapter import Adapter, KBLayer
from llm_runtime.context import Reading, current
from llm_runtime.fusion import block_logits, block_read, fuse, token_attention

BASES = ("sdpa", "eager")
_HIDDEN = "_atlas_hidden"
_LAYER = "_atlas_kb_layer"

AttentionFunction = Callable[..., tuple[Tensor, Tensor | None]]


def _no_eager(module: nn.Module, *_: Any, **__: Any) -> tuple[Tensor, Tensor | None]:
    raise FailedPrecondition(f"{type(module).__name__} has no eager attention; load the model with sdpa")


def _own_attention(base: str, module: nn.Module) -> AttentionFunction:
    """The implementation the model would have used; eager ones live in each family's own module."""
    eager: AttentionFunction = getattr(sys.modules[type(module).__module__], "eager_attention_forward", _no_eager)
    function: AttentionFunction = ALL_ATTENTION_FUNCTIONS.get_interface(base, eager)
    return function


def _forward(base: str) -> AttentionFunction:
    def attention(
        module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **options: Any
    ) -> tuple[Tensor, Tensor | None]:
        knowledge = current()
        kb: KBLayer | None = getattr(module, _LAYER, None)
        if knowledge is None or kb is None:
            return _own_attention(base, module)(module, query, key, value, attention_mask, **options)
        layer = LayerIndex(int(module.layer_idx))  # type: ignore[arg-type]
        rows = kb.rows(module.__dict__.pop(_HIDDEN))
        block = knowledge.source.block(layer, rows)
        if block is None:
            return _own_attention(base, module)(module, query, key, value, attention_mask, **options)
        scaling = options.get("scaling") or query.shape[-1] ** -0.5
        causal = bool(getattr(module, "is_causal", True))
        own, total = token_attention(query, key, value, attention_mask, scaling, options.get("softcap"), causal)
        logits = block_logits(rows, block.keys, kb.bias(), block.present)
        mean_value, kb_total = block_read(logits, block.values)
        merged, share = fuse(own, total, kb.output(mean_value), kb_total)
        if knowledge.recorder is not None:
            knowledge.recorder.record(layer, Reading(block, rows, logits, kb_total, share))
        return merged.to(query.dtype), None

    return attention


def _register() -> None:
    """One implementation of ours for each base; done once, at import."""
    for base in BASES:
        AttentionInterface.register(f"atlas_{base}", _forward(base))
        AttentionMaskInterface.register(f"atlas_{base}", ALL_MASK_ATTENTION_FUNCTIONS[base])


_register()


def attention_modules(model: PreTrainedModel) -> dict[LayerIndex, nn.Module]:
    """The self-attention module of each decoder layer, by `layer_idx`."""
    found = {
        LayerIndex(int(module.layer_idx)): module  # type: ignore[arg-type]
        for module in model.modules()
        if isinstance(getattr(module, "layer_idx", None), int) and hasattr(module, "scaling")
    }
    if not found:
        raise InvalidArgument(f"{type(model).__name__} has no attention layers that the hook knows")
    return found


def _check(model: PreTrainedModel, adapter: Adapter, modules: dict[LayerIndex, nn.Module]) -> None:
    text = model.config.get_text_config()
    heads = text.num_attention_heads
    size = getattr(text, "head_dim", None) or text.hidden_size // heads
    have = (text.hidden_size, heads, size)
    want = (adapter.config.hidden, adapter.config.heads, adapter.config.head_size)
    if have != want:
        raise InvalidArgument(f"the adapter is for hidden size, heads, head size {want}; the model has {have}")
    missing = [layer for layer in adapter.config.layers if layer not in modules]
    if missing:
        raise InvalidArgument(f"the adapter reads at layers {missing}; the model has {len(modules)} attention layers")


@contextmanager
def attached(model: PreTrainedModel, adapter: Adapter) -> Iterator[None]:
    """Let `model` read through `adapter` until the context ends; then it is as it was.

    InvalidArgument where they do not fit. A model's own implementation must be one of BASES.
    """
    base = model.config._attn_implementation
    if base not in BASES:
        raise FailedPrecondition(
            f"the model runs attention {base!r}; load it with attn_implementation one of {', '.join(BASES)}"
        )
    modules = attention_modules(model)
    _check(model, adapter, modules)

    def keep_hidden(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        if current() is not None:
            module.__dict__[_HIDDEN] = kwargs["hidden_states"] if "hidden_states" in kwargs else args[0]

    handles = []
    for layer in adapter.config.layers:
        module = modules[LayerIndex(layer)]
        module.__dict__[_LAYER] = adapter.kb_layer(LayerIndex(layer))
        handles.append(module.register_forward_pre_hook(keep_hidden, with_kwargs=True))
    model.set_attn_implementation(f"atlas_{base}")
    try:
        yield
    finally:
        model.set_attn_implementation(base)
        for handle in handles:
            handle.remove()
        for layer in adapter.config.layers:
            modules[LayerIndex(layer)].__dict__.pop(_LAYER, None)
            modules[LayerIndex(layer)].__dict__.pop(_HIDDEN, None)
