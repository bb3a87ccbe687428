"""The merge of two attentions is one softmax; checked against float64."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from llm_runtime.fusion import block_logits, block_read, fuse, token_attention


def _reference(
    query: np.ndarray, key: np.ndarray, value: np.ndarray, seen: np.ndarray, scaling: float,
    rows: np.ndarray, keys: np.ndarray, values: np.ndarray, bias: np.ndarray, present: np.ndarray,
) -> np.ndarray:  # fmt: skip
    """One softmax over [block | tokens], in float64, one query at a time."""
    batch, heads, tokens, size = query.shape
    groups = heads // key.shape[1]
    out = np.zeros((batch, tokens, heads, size))
    for b, h, t in np.ndindex(batch, heads, tokens):
        own = key[b, h // groups] @ query[b, h, t] * scaling
        kb = keys[b] @ rows[b, t, h] + bias[h]
        logits = np.concatenate([np.where(present[b], kb, -np.inf), np.where(seen[b, t], own, -np.inf)])
        p = np.exp(logits - logits.max())
        p /= p.sum()
        out[b, t, h] = p @ np.concatenate([values[b], value[b, h // groups]])
    return out


@settings(max_examples=25, deadline=None, derandomize=True)
@given(
    batch=st.integers(1, 3),
    tokens=st.integers(1, 6),
    groups=st.sampled_from([1, 2]),
    k=st.integers(1, 9),
    pad=st.integers(0, 2),
    seed=st.integers(0, 10**6),
)
def test_fused_attention_is_one_softmax_over_block_and_tokens(
    batch: int, tokens: int, groups: int, k: int, pad: int, seed: int
) -> None:
    random = np.random.default_rng(seed)
    heads, size, before = 4, 8, 3
    query = random.normal(size=(batch, heads, tokens, size))
    key, value = (random.normal(size=(batch, heads // groups, before + tokens, size)) for _ in range(2))
    rows, keys = random.normal(size=(batch, tokens, heads, size)) * 3, random.normal(size=(batch, k, size))
    values, bias = random.normal(size=(batch, k, size)), random.normal(size=heads)
    present = np.arange(k)[None] < random.integers(1, k + 1, batch)[:, None]
    at = np.arange(before + tokens)
    seen = np.broadcast_to(at[None, :] <= before + np.arange(tokens)[:, None], (batch, tokens, before + tokens)).copy()
    seen[:, :, : min(pad, before)] = False
    scaling = size**-0.5
    want = _reference(query, key, value, seen, scaling, rows, keys, values, bias, present)

    def t(array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).float()

    own, total = token_attention(t(query), t(key), t(value), torch.from_numpy(seen)[:, None], scaling)
    logits = block_logits(t(rows), t(keys), t(bias), torch.from_numpy(present))
    read, kb_total = block_read(logits, t(values))
    got, share = fuse(own, total, read, kb_total)
    np.testing.assert_allclose(got.numpy(), want, atol=1e-5)
    assert ((share >= 0) & (share <= 1)).all()


def test_one_shared_block_reads_like_a_copy_for_each_sequence() -> None:
    torch.manual_seed(0)
    rows, keys, values = torch.randn(3, 5, 2, 8), torch.randn(1, 7, 8), torch.randn(1, 7, 8)
    shared = block_read(block_logits(rows, keys, torch.zeros(2), None), values)
    copied = block_read(block_logits(rows, keys.repeat(3, 1, 1), torch.zeros(2), None), values.repeat(3, 1, 1))
    for one, other in zip(shared, copied, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("kind", ["bool", "additive", "none"])
def test_masks_of_every_kind_hide_the_same_tokens(kind: str) -> None:
    torch.manual_seed(0)
    query, key, value = (torch.randn(2, 2, 4, 8) for _ in range(3))
    seen = torch.ones(4, 4, dtype=torch.bool).tril()
    lowest = torch.finfo(torch.float32).min
    masks = {"bool": seen, "additive": torch.zeros(4, 4).masked_fill(~seen, lowest), "none": None}
    got, _ = token_attention(query, key, value, masks[kind], 0.3)
    want = torch.nn.functional.scaled_dot_product_attention(query, key, value, is_causal=True, scale=0.3)
    torch.testing.assert_close(got.transpose(1, 2), want, atol=1e-6, rtol=1e-5)


def test_overflowing_logits_stay_finite() -> None:
    logits = torch.tensor([[[[1e4, -1e4, 1e4]]]])
    read, total = block_read(logits, torch.eye(3)[None])
    assert torch.isfinite(read).all()
    assert torch.isfinite(total).all()
