"""The arithmetic of reading a Block: two attentions and their exact merge. Pure functions on tensors.

Shapes, throughout: B sequences, T query tokens, S key tokens, H attention heads, d head size,
k entries of a Block, D the encoder's dimension. All results are float32 (design (2), (3), (5)).
"""

import torch
from torch import Tensor


def token_attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float,
    softcap: float | None = None,
    causal: bool = True,
) -> tuple[Tensor, Tensor]:
    """Ordinary attention with its log-sum-exp.

    `query` (B, H, T, d); `key`, `value` (B, G, S, d) with H a multiple of G; `mask` boolean (True is
    seen) or additive, broadcast to (B, H, T, S); None with `causal` is the square causal mask.
    Returns output (B, T, H, d) and log-sum-exp (B, T, H).
    """
    groups = query.shape[1] // key.shape[1]
    if groups > 1:
        key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    scores = torch.matmul(query.float(), key.float().transpose(-1, -2)) * scaling
    if softcap is not None:
        scores = torch.tanh(scores / softcap) * softcap
    lowest = torch.finfo(scores.dtype).min
    if mask is None:
        if causal and scores.shape[-2] > 1:
            seen = torch.ones(scores.shape[-2:], dtype=torch.bool, device=scores.device).tril()
            scores = scores.masked_fill(~seen, lowest)
    elif mask.dtype == torch.bool:
        scores = scores.masked_fill(~mask, lowest)
    else:
        scores = (scores + mask.float()).clamp_min(lowest)
    total = torch.logsumexp(scores, dim=-1)
    output = torch.matmul(torch.exp(scores - total[..., None]), value.float())
    return output.transpose(1, 2), total.transpose(1, 2)


def block_logits(rows: Tensor, keys: Tensor, bias: Tensor, present: Tensor | None) -> Tensor:
    """Logits of a Block's entries for every row: design (2) with the projection absorbed (3).

    `rows` (B, T, H, D) with the temperature in them; `keys` (B or 1, k, D), centred; `bias` (H,);
    `present` boolean (B or 1, k), False for the padding of a short Block. Returns (B, T, H, k).
    """
    batch, tokens, heads, _ = rows.shape
    if keys.shape[0] == 1:
        logits = rows.float() @ keys[0].float().T
    else:
        flat = rows.float().reshape(batch, tokens * heads, -1)
        logits = torch.bmm(flat, keys.float().transpose(1, 2)).view(batch, tokens, heads, -1)
    logits = logits + bias.float()[:, None]
    if present is not None:
        logits = logits.masked_fill(~present[:, None, None, :], torch.finfo(torch.float32).min)
    return logits


def block_read(logits: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
    """Attention over a Block alone: one exponential for both results.

    `logits` (B, T, H, k), `values` (B or 1, k, D). Returns the mean value (B, T, H, D) and the
    log-sum-exp (B, T, H).
    """
    batch, tokens, heads, k = logits.shape
    highest = logits.detach().amax(dim=-1, keepdim=True)
    weights = torch.exp(logits - highest)
    mass = weights.sum(dim=-1, keepdim=True)
    if values.shape[0] == 1:
        read = weights @ values[0].float()
    else:
        flat = weights.reshape(batch, tokens * heads, k)
        read = torch.bmm(flat, values.float()).view(batch, tokens, heads, -1)
    return read / mass, (highest + mass.log())[..., 0]


def fuse(output: Tensor, total: Tensor, kb_output: Tensor, kb_total: Tensor) -> tuple[Tensor, Tensor]:
    """One softmax over [block | tokens] from two that were taken apart: design (5).

    Outputs (B, T, H, d) and log-sum-exps (B, T, H) of each. Returns the merged output and the share
    of the block in it, (B, T, H).
    """
    share = torch.sigmoid(kb_total - total)
    return output + share[..., None] * (kb_output - output), share
