from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasdb.tree import build
from atlasdb.tree.check import problems
from atlasdb.tree.image import TreePlan
from atlasdb.tree.slots import Slots
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import Cancelled
from atlasdb_contract.types import Progress, Vectors


def wrong(plan: TreePlan) -> list[str]:
    return problems(plan.root_starts, plan.links, plan.starts, len(plan.order))


def slots_of(keys: Vectors, owner: np.ndarray) -> Slots:
    """A slot for each key; entry i has the id i + 1 and the value id i + 1001."""
    ids = np.arange(1, len(keys) + 1, dtype=np.uint64)
    return Slots.single(ids, ids + np.uint64(1000), owner, keys)


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
    plan = build.plan(slots_of(keys, owner), seed)
    assert wrong(plan) == []
    assert np.array_equal(np.sort(plan.order), np.arange(count))
    nodes, roots = len(plan.starts) - 1, len(plan.root_starts) - 1
    assert (len(plan.nodes), len(plan.links), len(plan.roots)) == (nodes, nodes, roots)
    assert (plan.root_starts.dtype, plan.links.dtype, plan.starts.dtype, plan.order.dtype) == tuple("lill")
    assert len(plan.codes) == count
    assert not count or plan.codes.max() < len(plan.residuals)
    assert np.array_equal(plan.ids, plan.order + 1)
    assert np.array_equal(plan.value_ids, plan.ids + 1000)


@pytest.mark.parametrize("count", range(51))
def test_smallest_collections_have_a_tree(count: int) -> None:
    assert wrong(build.plan(slots_of(*some_keys(count, 7, count)))) == []


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 600), st.integers(1, 100), st.integers(0, 99))
def test_a_node_has_entries_of_one_head_and_small_heads_one_node(count: int, heads: int, seed: int) -> None:
    keys, owner = some_keys(count, heads, seed)
    plan = build.plan(slots_of(keys, owner), seed)
    node_of = np.empty(count, np.int64)
    node_of[plan.order] = np.repeat(np.arange(len(plan.links)), np.diff(plan.starts))
    for head in np.unique(owner):
        own = np.unique(node_of[owner == head])
        assert set(owner[np.isin(node_of, own)]) == {head}
        assert len(own) == 1 or (owner == head).sum() > 2 * build.NODE_SLOTS


def test_a_large_head_is_divided() -> None:
    keys, _ = some_keys(5000, 40, 1)
    plan = build.plan(slots_of(keys, np.zeros(5000, np.uint64)))
    assert np.diff(plan.starts).max() <= 2 * 5000**0.5
    assert wrong(plan) == []


def test_equal_keys_and_zero_keys_have_a_tree() -> None:
    for vectors in (np.ones((700, 8)), np.zeros((700, 8))):
        for heads in (np.zeros(700, np.uint64), np.arange(700, dtype=np.uint64)):
            plan = build.plan(slots_of(quantise(vectors), heads))
            assert wrong(plan) == []
            assert len(plan.order) == len(np.unique(heads))


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 30), st.integers(0, 99))
def test_equal_keys_of_a_head_are_one_slot_with_all_their_entries(
    count: int, heads: int, texts: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    text, owner = rng.integers(0, texts, count), rng.integers(0, heads, count).astype(np.uint64)
    keys = quantise(rng.normal(size=(texts, 8))).take(text)
    parts = np.split(rng.permutation(count), [count // 3])
    singles = slots_of(keys, owner)
    given = Slots.joined([_grouped(singles.take(np.sort(part))) for part in parts if len(part)])
    plan = build.plan(given)
    slots = plan.slots(given, 0, len(plan.order))
    assert wrong(plan) == []
    for i in range(len(slots)):
        ids = slots.ids[slots.starts[i] : slots.starts[i + 1]].astype(np.int64)
        same = np.flatnonzero((owner == slots.subjects[i]) & (text == text[ids[0] - 1]))
        assert ids.tolist() == (same + 1).tolist()
        assert np.array_equal(slots.keys.data[i], keys.data[ids[0] - 1])
    assert np.array_equal(slots.value_ids, slots.ids + np.uint64(1000))
    assert slots.entries == count


def _grouped(slots: Slots) -> Slots:
    """As a tree would have them."""
    return build.plan(slots).slots(slots, 0, len(build.plan(slots).order))


def test_a_node_is_the_mean_of_its_keys_as_a_row_sees_it() -> None:
    rng = np.random.default_rng(5)
    keys = quantise(rng.normal(size=(60, 12)))
    plan = build.plan(slots_of(keys, np.arange(60, dtype=np.uint64) // np.uint64(3)))
    floats = keys.floats()
    for node, (start, stop) in enumerate(zip(plan.starts, plan.starts[1:], strict=False)):
        mean = floats[plan.order[start:stop]].mean(axis=0) - floats.mean(axis=0)
        np.testing.assert_allclose(plan.nodes.floats()[node], mean, atol=0.03)


def test_near_nodes_stand_together() -> None:
    keys, _ = some_keys(3000, 40, 9)
    plan = build.plan(slots_of(keys, np.arange(3000, dtype=np.uint64)))
    vectors = plan.nodes.floats()
    beside = np.linalg.norm(np.diff(vectors, axis=0), axis=1).mean()
    anyone = np.linalg.norm(vectors - np.random.default_rng(0).permutation(vectors), axis=1).mean()
    assert beside < anyone / 3


def test_residuals_tell_most_of_how_keys_differ_from_their_node() -> None:
    """Heads share their relations: what those add is found again, and each slot has the nearest."""
    rng = np.random.default_rng(2)
    heads, relations = rng.normal(size=(900, 16)), rng.normal(size=(6, 16))
    vectors = (heads[:, None] + relations).reshape(-1, 16)
    keys = quantise(vectors + 0.05 * rng.normal(size=vectors.shape))
    plan = build.plan(slots_of(keys, np.repeat(np.arange(900, dtype=np.uint64), 6)))
    floats, book = keys.floats()[plan.order], plan.residuals.floats()
    means = np.add.reduceat(floats, plan.starts[:-1]) / np.diff(plan.starts)[:, None]
    residuals = floats - np.repeat(means, np.diff(plan.starts), axis=0)
    left = residuals - book[plan.codes]
    assert np.square(left).sum() < 0.05 * np.square(residuals).sum()
    nearest = np.square(residuals[:, None] - book).sum(axis=2).argmin(axis=1)
    assert (nearest == plan.codes).mean() > 0.999


def test_the_same_seed_gives_the_same_plan_whatever_the_threads() -> None:
    keys, owner = some_keys(8000, 3000, 3)
    first, second = (build.plan(slots_of(keys, owner), seed=5, threads=threads) for threads in (1, 3))
    for name in ("root_starts", "links", "starts", "order", "codes"):
        assert np.array_equal(getattr(first, name), getattr(second, name))
    assert np.array_equal(first.nodes.data, second.nodes.data)
    assert np.array_equal(first.roots.data, second.roots.data)


def test_a_build_reports_and_stops_when_told() -> None:
    keys, owner = some_keys(3000, 500, 4)
    seen: list[Progress] = []
    build.plan(slots_of(keys, owner), progress=seen.append)
    assert {report.stage for report in seen} == {"nodes", "ROOTs", "graph", "residuals"}
    assert all(0 < report.done <= report.total for report in seen)
    assert all(seen[-1].done == seen[-1].total for seen in (seen[:1], seen))
    stop: Callable[[Progress], None] = _stop
    with pytest.raises(Cancelled):
        build.plan(slots_of(keys, owner), progress=stop)


def test_a_build_stops_in_the_middle_of_its_graph() -> None:
    keys, owner = some_keys(6000, 4000, 4)

    def stop(report: Progress) -> None:
        if report.stage == "graph" and report.done > report.total // 2:
            raise Cancelled("enough")

    with pytest.raises(Cancelled):
        build.plan(slots_of(keys, owner), progress=stop)


def _stop(report: Progress) -> None:
    raise Cancelled("enough")


def test_damage_is_named() -> None:
    keys, owner = some_keys(500, 90, 6)
    plan = build.plan(slots_of(keys, owner))

    def said(**changed: np.ndarray) -> str:
        parts = {name: changed.get(name, getattr(plan, name)) for name in ("root_starts", "links", "starts")}
        return " ".join(problems(**parts, slots=500))

    def with_(table: np.ndarray, place: tuple[int, int], value: int) -> np.ndarray:
        table = table.copy()
        table[place] = value
        return table

    assert said() == ""
    assert "links name a node that is not there" in said(links=with_(plan.links, (3, 0), len(plan.links)))
    assert "ROOTs do not divide" in said(root_starts=plan.root_starts[:-1])
    assert "ROOTs do not divide" in said(root_starts=plan.root_starts[::-1])
    assert "linked to itself" in said(links=with_(plan.links, (3, 0), 3))
    assert "linked twice" in said(links=with_(plan.links, (3, 0), plan.links[3, 1]))
    assert "have a gap" in said(links=with_(plan.links, (3, 0), -1))
    assert "have a link from no other" in said(links=np.full_like(plan.links, -1))
    assert "do not divide 500 slots" in said(starts=plan.starts[:-1])
    assert "do not divide" in said(starts=np.concatenate([plan.starts[:2], plan.starts[1:-1]]))
