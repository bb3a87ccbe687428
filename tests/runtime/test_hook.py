"""KB attention in unmodified models: nothing changes without a store, and everything is right with one."""

import numpy as np
import pytest
import torch
from families import FAMILIES, implementations, random_adapter, small_model
from transformers import PreTrainedModel

from atlasdb_contract.errors import FailedPrecondition, InvalidArgument
from atlasdb_contract.ids import LayerIndex
from llm_runtime.adapter import Adapter, load_adapter
from llm_runtime.context import Reading, attending, current
from llm_runtime.fusion import token_attention
from llm_runtime.hook import attached
from llm_runtime.source import WholeStore

TOKENS = torch.tensor([[1, 5, 9, 13, 17, 21], [1, 6, 10, 14, 18, 22]])


class Seen:
    """Counts what was read."""

    def __init__(self) -> None:
        self.layers: list[LayerIndex] = []

    def record(self, layer: LayerIndex, reading: Reading) -> None:
        self.layers.append(layer)
        assert torch.isfinite(reading.logits).all()


def store(adapter: Adapter, entries: int = 12) -> WholeStore:
    random = torch.Generator().manual_seed(3)
    keys, values = (torch.randn(entries, adapter.config.dimension, generator=random) for _ in range(2))
    return WholeStore(keys, values, np.arange(1, entries + 1, dtype=np.uint64))


def logits(model: PreTrainedModel, tokens: torch.Tensor, mask: torch.Tensor | None = None) -> torch.Tensor:
    with torch.inference_mode():
        out: torch.Tensor = model(input_ids=tokens, attention_mask=mask).logits
    return out


@pytest.mark.parametrize(("family", "attention"), [(f, a) for f in FAMILIES for a in implementations(f)])
def test_without_a_store_logits_are_the_models_own_to_the_bit(family: str, attention: str) -> None:
    model = small_model(family, attention)
    before = logits(model, TOKENS)
    with attached(model, random_adapter(model)):
        assert torch.equal(logits(model, TOKENS), before)
    assert torch.equal(logits(model, TOKENS), before)
    assert model.config._attn_implementation == attention


@pytest.mark.parametrize("family", FAMILIES)
def test_every_family_reads_at_its_kb_layers(family: str) -> None:
    model, seen = small_model(family), Seen()
    adapter = random_adapter(model)
    before = logits(model, TOKENS)
    with attached(model, adapter), attending(store(adapter), seen):
        after = logits(model, TOKENS)
    assert seen.layers == [1, 3]
    assert torch.isfinite(after).all()
    assert not torch.allclose(after, before, atol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_store_that_weighs_nothing_leaves_the_model_as_it_was(family: str) -> None:
    model = small_model(family, "eager")
    adapter = random_adapter(model)
    for layer in adapter.config.layers:
        kb = adapter.kb_layer(LayerIndex(layer))
        assert kb is not None
        torch.nn.init.constant_(kb.offset, -60.0)
    before = logits(model, TOKENS)
    with attached(model, adapter), attending(store(adapter)):
        torch.testing.assert_close(logits(model, TOKENS), before, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_left_padding_and_batching_change_no_answer(family: str) -> None:
    model = small_model(family)
    adapter = random_adapter(model)
    short = TOKENS[:1, :4]
    padded = torch.cat([torch.zeros(1, 2, dtype=torch.long), short], dim=1)
    batch = torch.cat([padded, TOKENS[1:]])
    mask = (torch.arange(6) >= torch.tensor([[2], [0]])).long()
    with attached(model, adapter), attending(store(adapter)), torch.inference_mode():
        position = (mask.cumsum(1) - 1).clamp_min(0)
        together = model(input_ids=batch, attention_mask=mask, position_ids=position).logits
        alone = model(input_ids=short).logits
        other = model(input_ids=TOKENS[1:]).logits
    torch.testing.assert_close(together[:1, 2:], alone, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(together[1:], other, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("family", FAMILIES)
def test_tokens_one_by_one_with_a_cache_read_like_all_at_once(family: str) -> None:
    model = small_model(family)
    adapter = random_adapter(model)
    with attached(model, adapter), attending(store(adapter)), torch.inference_mode():
        whole = model(input_ids=TOKENS).logits
        cached = model(input_ids=TOKENS[:, :3], use_cache=True)
        name = "cache" if "cache" in cached else "past_key_values"  # its name until transformers 5.23
        parts = [cached.logits]
        for at in range(3, TOKENS.shape[1]):
            cached = model(input_ids=TOKENS[:, at : at + 1], **{name: cached[name]}, use_cache=True)
            parts.append(cached.logits)
    torch.testing.assert_close(torch.cat(parts, dim=1), whole, atol=1e-5, rtol=1e-4)


def test_soft_capped_scores_are_capped_before_the_softmax() -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(1, 2, 3, 8) * 5 for _ in range(3))
    got, _ = token_attention(query, key, value, None, 1.0, softcap=2.0)
    scores = torch.tanh(query.double() @ key.double().transpose(-1, -2) / 2.0) * 2.0
    scores = scores.masked_fill(~torch.ones(3, 3, dtype=torch.bool).tril(), -torch.inf)
    torch.testing.assert_close(got.transpose(1, 2).double(), scores.softmax(-1) @ value.double(), atol=1e-5, rtol=1e-5)


def test_an_adapter_of_another_shape_is_refused_with_both_shapes() -> None:
    model = small_model("llama")
    adapter = random_adapter(small_model("phi3"), layers=(9,))
    with pytest.raises(InvalidArgument, match="layers"), attached(model, adapter):
        pass


def test_attending_does_not_nest_and_always_ends() -> None:
    adapter = random_adapter(small_model("llama"))
    with pytest.raises(FailedPrecondition), attending(store(adapter)), attending(store(adapter)):
        pass
    assert current() is None


def test_an_adapter_survives_its_file(tmp_path) -> None:  # type: ignore[no-untyped-def]
    adapter = random_adapter(small_model("llama"))
    adapter.save(tmp_path, {"prompt": "{question}"})
    again = load_adapter(tmp_path)
    assert again.config == adapter.config
    for (name, one), (_, other) in zip(adapter.state_dict().items(), again.state_dict().items(), strict=True):
        torch.testing.assert_close(one, other, atol=1e-2, rtol=1e-2, msg=name)
    (tmp_path / "adapter.json").write_text('{"encoder": 1}')
    with pytest.raises(InvalidArgument, match=r"adapter\.json"):
        load_adapter(tmp_path)
