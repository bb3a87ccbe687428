"""What is told of a tree: heads of several trees are counted once, nodes by their size."""

import numpy as np
import pytest

from atlasdb.tree.summary import SKETCH, Summary, added, heads_among


def hashes(first: int, count: int) -> np.ndarray:
    """Of numbered heads: as uniform as a SipHash."""
    every = np.random.default_rng(0).integers(0, 1 << 64, first + count, np.uint64, endpoint=False)
    return np.repeat(every[first:], 3)


def summary(first: int, count: int) -> Summary:
    return Summary.of(hashes(first, count), np.ones(count, np.int64))


def test_one_tree_is_counted_exactly() -> None:
    assert heads_among([]) == (0, False)
    assert heads_among([summary(0, 50_000)]) == (50_000, False)


def test_few_heads_are_counted_exactly_over_trees() -> None:
    assert heads_among([summary(0, 600), summary(300, 600)]) == (900, False)
    assert heads_among([summary(0, SKETCH), summary(0, 10)]) == (SKETCH, False)


@pytest.mark.parametrize("shared", [0, 10_000, 40_000])
def test_many_heads_are_estimated_over_trees(shared: int) -> None:
    heads, estimated = heads_among([summary(0, 40_000), summary(40_000 - shared, 50_000), summary(10, 30)])
    assert estimated
    assert heads == pytest.approx(90_000 - shared, rel=0.12)


def test_a_small_tree_beside_a_large_one_changes_little() -> None:
    assert heads_among([summary(0, 40_000), summary(0, 2)])[0] in range(40_000, 40_003)


def test_nodes_are_counted_by_their_size() -> None:
    told = Summary.of(hashes(0, 4), np.array([1, 1, 2, 3, 4, 5, 8, 9, 16, 17]))
    assert (told.sizes, told.largest) == ((2, 1, 2, 2, 2, 1), 17)
    assert added([told.sizes, (1, 1), ()]) == (3, 2, 2, 2, 2, 1)
    assert added([]) == ()
