"""What is told of a tree in stats: worked out when it is made, so that nobody has to go through it."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb_contract.types import Ids

SKETCH = 1024
"""Least hashes of heads that are kept: an estimate from them is 3% off, typically."""
_HASHES = float(1 << 64)


@dataclass(frozen=True, slots=True)
class Summary:
    """Of a tree, or of several. `heads`: distinct ones. `sizes[i]`: the INTER nodes that have more than 2 ** (i - 1)
    slots and at most 2 ** i; `largest`: the slots of the one that has most. `least` u64: the SKETCH least of its heads'
    hashes, or all; sorted."""

    heads: int
    sizes: tuple[int, ...]
    largest: int
    least: Ids

    @staticmethod
    def of(subjects: Ids, counts: npt.NDArray[np.integer]) -> "Summary":
        """`subjects` u64 (K,): the hash of the head of each slot; `counts` (B,): the slots of each node."""
        heads = np.unique(subjects)
        return Summary(len(heads), sizes_of(counts), int(counts.max(initial=0)), heads[:SKETCH])


def sizes_of(counts: npt.NDArray[np.integer]) -> tuple[int, ...]:
    """As of a Summary."""
    classes = np.ceil(np.log2(counts[counts > 0])).astype(np.int64)
    return tuple(np.bincount(classes).tolist())


def added(parts: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The sizes of several trees."""
    longest = max(map(len, parts), default=0)
    return tuple(sum(part[i] if i < len(part) else 0 for part in parts) for i in range(longest))


def heads_among(parts: Sequence[Summary]) -> tuple[int, bool]:
    """How many distinct heads there are in all of these, and whether that is an estimate."""
    if len(parts) < 2:
        return sum(part.heads for part in parts), False
    known = np.unique(np.concatenate([part.least for part in parts]))
    limits = [int(part.least[-1]) for part in parts if part.heads > len(part.least)]
    if not limits:
        return len(known), False
    limit = min(limits)
    heads = round((int((known <= np.uint64(limit)).sum()) - 1) / (limit / _HASHES))
    counts = [part.heads for part in parts]
    return min(max(heads, *counts), sum(counts)), True
