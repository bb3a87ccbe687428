"""What the wide instructions give is what plain arithmetic gives, to the bit."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numba import njit

from atlasdb.tree import simd


@njit
def dot(vector: np.ndarray, row: np.ndarray) -> int:
    return simd.dot(vector, row)


@njit
def by_loop(vector: np.ndarray, row: np.ndarray) -> int:
    return simd._dot_by_loop(vector, row)


@njit
def weigh(code: np.ndarray, planes: np.ndarray) -> tuple[int, int]:
    return simd.weigh(code, planes)


@pytest.mark.parametrize("size", [1, 63, 64, 65, 128, 384, 1000, 4096])
@pytest.mark.parametrize("low", [-128, 127])
def test_products_are_exact_at_every_length_and_at_the_ends_of_the_range(size: int, low: int) -> None:
    rng = np.random.default_rng(size)
    some = rng.integers(-128, 128, (4, size + 3)).astype(np.int8)
    ends = np.full((2, size + 3), low, np.int8)
    for one in (*some, *ends):
        for other in (*some, *ends):
            for start in range(3):
                left, right = one[start : start + size], other[start : start + size]
                wanted = int(left.astype(np.int64) @ right.astype(np.int64))
                assert dot(left, right) == by_loop(left, right) == wanted


@settings(max_examples=50, deadline=None)
@given(st.sampled_from([1, 2, 4, 8, 16, 64]), st.integers(0, 1 << 30))
def test_bits_are_counted(words: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    code = rng.integers(0, 1 << 64, words, np.uint64)
    planes = rng.integers(0, 1 << 64, (4, words), np.uint64)
    both = np.unpackbits((code & planes).view(np.uint8), axis=1).sum(axis=1)
    assert weigh(code, planes) == (np.unpackbits(code.view(np.uint8)).sum(), both @ [1, 2, 4, 8])
