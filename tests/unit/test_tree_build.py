from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasdb.tree import build
from atlasdb.tree.check import problems
from atlasdb.tree.image import TreeImage, TreePlan
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import Cancelled
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Progress, Vectors


def image_of(plan: TreePlan) -> TreeImage:
    return TreeImage.of(Generation(1), plan.roots, plan.inter, plan.guides)


def some_keys(count: int, heads: int, seed: int, dimension: int = 16) -> tuple[Vectors, np.ndarray]:
    """Keys around their heads' centres, heads in no order."""
    rng = np.random.default_rng(seed)
    owner = rng.integers(0, heads, count)
    centres = rng.normal(size=(heads, dimension))
    return quantise(centres[owner] + 0.3 * rng.normal(size=(count, dimension))), owner.astype(np.uint64)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 400), st.integers(1, 120), st.integers(0, 99))
def test_every_plan_is_a_sound_tree(count: int, heads: int, seed: int) -> None:
    keys, owner = some_keys(count, heads, seed)
    plan = build.plan(keys, owner, seed)
    assert problems(image_of(plan), plan.node_of) == []
    assert plan.node_of.dtype == np.uint32
    assert plan.node_of.shape == (count,)


@pytest.mark.parametrize("count", range(51))
def test_smallest_collections_have_a_tree(count: int) -> None:
    keys, owner = some_keys(count, 7, count)
    plan = build.plan(keys, owner)
    assert problems(image_of(plan), plan.node_of) == []


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 600), st.integers(1, 100), st.integers(0, 99))
def test_entries_of_a_head_stand_together(count: int, heads: int, seed: int) -> None:
    keys, owner = some_keys(count, heads, seed)
    nodes = build.plan(keys, owner, seed).node_of
    for head in np.unique(owner):
        members = nodes[owner == head]
        if len(members) <= 2 * build.GUIDE_ENTRIES:
            assert len(np.unique(members)) == 1


def test_a_large_head_is_divided_and_postings_stay_small() -> None:
    keys, _ = some_keys(5000, 40, 1)
    plan = build.plan(keys, np.zeros(5000, np.uint64))
    assert plan.inter.counts.max() <= 4 * build.GUIDE_ENTRIES + 2 * 5000**0.5
    keys, owner = some_keys(5000, 1200, 2)
    plan = build.plan(keys, owner)
    assert plan.inter.counts.mean() == pytest.approx(build.POSTING_ENTRIES, rel=0.5)
    assert plan.inter.counts.max() <= 4 * build.POSTING_ENTRIES


def test_equal_keys_and_zero_keys_have_a_tree() -> None:
    for vectors in (np.ones((700, 8)), np.zeros((700, 8))):
        for heads in (np.zeros(700, np.uint64), np.arange(700, dtype=np.uint64)):
            plan = build.plan(quantise(vectors), heads)
            assert problems(image_of(plan), plan.node_of) == []


def test_the_same_seed_gives_the_same_plan() -> None:
    keys, owner = some_keys(2000, 300, 3)
    first, second = (build.plan(keys, owner, seed=5) for _ in range(2))
    assert np.array_equal(first.node_of, second.node_of)
    assert np.array_equal(first.guides.vectors.data, second.guides.vectors.data)


def test_a_build_reports_and_stops_when_told() -> None:
    keys, owner = some_keys(3000, 500, 4)
    seen: list[Progress] = []
    build.plan(keys, owner, progress=seen.append)
    assert {report.stage for report in seen} == {"guides", "clusters"}
    assert all(0 < report.done <= report.total for report in seen)
    stop: Callable[[Progress], None] = _stop
    with pytest.raises(Cancelled):
        build.plan(keys, owner, progress=stop)


def _stop(report: Progress) -> None:
    raise Cancelled("enough")


def test_damage_is_named() -> None:
    keys, owner = some_keys(500, 90, 6)
    plan = build.plan(keys, owner)
    image = image_of(plan)
    assert problems(image, plan.node_of[:-1]) == ["an INTER node's count is not the number of its entries"]
    image.guides.parents[-1] = len(plan.inter)
    (sentence,) = problems(image)
    assert "which is not there" in sentence
