from contextlib import suppress
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasdb.tree import build, kernels, rank, scoring
from atlasdb.tree import descend as descending
from atlasdb.tree.descend import Candidates, descend
from atlasdb.tree.image import SLOT_COLUMNS, Columns, Forest, Tree, slots_in_memory
from atlasdb.tree.rank import scan
from atlasdb.tree.slots import Slots
from atlasdb.tree.soundness import Unsound
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Beams, Ids, Vectors

EVERYTHING = Beams(root=1 << 12, inter=1 << 12)
NONE = np.zeros(0, np.uint64)


class World:
    """Entries in two trees and a delta, in memory; entry i has the id i + 1 and the value id i + 1001.

    `texts`: how many distinct keys there are, at most; 0: one for each entry.
    """

    def __init__(self, count: int, heads: int, seed: int, dimension: int = 24, trees: int = 2, texts: int = 0) -> None:
        self.rng = rng = np.random.default_rng(seed)
        owner = rng.integers(0, heads, count)
        centres = rng.normal(size=(heads, dimension))
        self.keys = quantise(centres[owner] + 0.4 * rng.normal(size=(count, dimension)))
        if texts:
            chosen = rng.integers(0, min(texts, count), count)
            self.keys, owner = self.keys.take(chosen), owner[chosen]
        self.owner = owner.astype(np.uint64)
        cuts = [0, *np.sort(rng.integers(0, count + 1, trees)).tolist(), count]
        self.kept: list[list[np.ndarray]] = []
        self.trees = [self._tree(start, stop) for start, stop in pairwise(cuts[:-1]) if stop > start]
        self.delta = self.in_delta(np.arange(cuts[-2], count))

    def slots(self, positions: np.ndarray) -> Slots:
        ids = (positions + 1).astype(np.uint64)
        return Slots.single(ids, ids + np.uint64(1000), self.owner[positions], self.keys.take(positions))

    def in_delta(self, positions: np.ndarray) -> Columns:
        arrays, columns = slots_in_memory(self.slots(positions))
        self.kept.append(arrays)
        return columns

    def _tree(self, start: int, stop: int) -> Tree:
        given = self.slots(np.arange(start, stop))
        tree = Tree.of(build.plan(given, 0, threads=1), given)
        self.kept.append(tree.keep[1])
        return tree

    def forest(self, dead: Ids = NONE) -> Forest:
        return Forest.of(self.keys.dimension, self.trees, self.delta, dead)

    def rows(self, number: int) -> Vectors:
        return quantise(3 * self.rng.normal(size=(number, self.keys.dimension)))


def bits(ids: Ids) -> Ids:
    """Deleted entries as a forest has them."""
    words = np.zeros(int(ids.max()) // 64 + 1, np.uint64)
    np.bitwise_or.at(words, (ids // np.uint64(64)).astype(np.int64), np.uint64(1) << (ids % np.uint64(64)))
    return words


def reference(keys: Vectors, rows: Vectors, k: int) -> tuple[np.ndarray, np.ndarray]:
    """(best positions, all scores) in float64."""
    logits = (rows.data.astype(np.float64) * rows.scales[:, None]) @ (
        keys.data * keys.scales.astype(np.float64)[:, None]
    ).T
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = (powers / powers.sum(axis=1, keepdims=True)).sum(axis=0)
    return np.argsort(-scores, kind="stable")[:k], scores


def assert_best(found: rank.Found, world: World, rows: Vectors, k: int, alive: np.ndarray | None = None) -> None:
    alive = np.arange(len(world.keys)) if alive is None else alive
    best, scores = reference(world.keys.take(alive), rows, k)
    positions = np.searchsorted(alive, found.ids.astype(np.int64) - 1)
    assert len(set(found.ids.tolist())) == min(k, len(alive))
    np.testing.assert_allclose(found.scores, scores[positions], rtol=2e-4, atol=1e-30)
    np.testing.assert_allclose(scores[positions], scores[best], rtol=1e-5, atol=1e-30)
    assert np.array_equal(found.value_ids, found.ids + np.uint64(1000))
    assert np.array_equal(found.keys.data, world.keys.data[found.ids.astype(np.int64) - 1])


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 500), st.integers(1, 90), st.integers(1, 9), st.integers(1, 40), st.integers(0, 99))
def test_descent_over_everything_equals_the_reference(count: int, heads: int, rows: int, k: int, seed: int) -> None:
    world = World(count, heads, seed)
    asked = world.rows(rows)
    assert_best(descend(world.forest(), asked, k, EVERYTHING), world, asked, k)
    assert_best(scan(world.forest(), asked, k), world, asked, k)


def test_products_are_exact() -> None:
    rng = np.random.default_rng(0)
    for dimension in (3, 64, 384, 1000):
        data = rng.integers(-127, 128, (50, dimension)).astype(np.int8)
        rows = rng.integers(-127, 128, (5, dimension)).astype(np.int8)
        found = rank.Rows(Vectors(rows, np.ones(5, np.float32))).dots(data)
        assert found.dtype == np.int32
        assert np.array_equal(found, data.astype(np.int64) @ rows.astype(np.int64).T)


def test_tombstones_are_never_returned() -> None:
    world = World(600, 100, 1)
    rows = world.rows(3)
    first = scan(world.forest(), rows, 20)
    gone = np.sort(first.ids[:15])
    alive = np.setdiff1d(np.arange(600), gone.astype(np.int64) - 1)
    for found in (
        scan(world.forest(bits(gone)), rows, 20),
        descend(world.forest(bits(gone)), rows, 20, EVERYTHING),
    ):
        assert not np.isin(found.ids, gone).any()
        assert_best(found, world, rows, 20, alive)
    everything = np.arange(1, 601, dtype=np.uint64)
    for found in (scan(world.forest(bits(everything)), rows, 20), descend(world.forest(bits(everything)), rows, 20)):
        assert len(found.ids) == 0


def crowded(world: World, crowd: int) -> Vectors:
    """A row, and one head of so many keys that are all better for it than those of a thousand others."""
    centre = 3 * world.rng.normal(size=24)
    near, far = centre + 0.05 * world.rng.normal(size=(crowd, 24)), world.rng.normal(size=(3000, 24))
    world.keys = quantise(np.concatenate([near, far]))
    world.owner = np.concatenate([np.zeros(crowd, np.uint64), 1 + np.arange(3000, dtype=np.uint64) // np.uint64(3)])
    world.trees = [world._tree(0, len(world.keys))]
    world.delta = Columns.none(SLOT_COLUMNS)
    return quantise(centre[None])


@pytest.mark.parametrize("crowd", [10, 900])
def test_deleted_entries_crowd_out_nobody(crowd: int) -> None:
    """That an entry is deleted is known only when its slot is compared: a whole deleted head must not fill a block."""
    world = World(1, 1, 0, trees=1)
    row = crowded(world, crowd)
    forest = world.forest(bits(np.arange(1, crowd + 1, dtype=np.uint64)))
    best = scan(forest, row, 64)
    found = descend(forest, row, 64)
    assert len(found.ids) == 64
    assert np.isin(best.ids[:16], found.ids).mean() > 0.9


def test_a_forest_of_nothing_answers_with_nothing() -> None:
    rows = World(5, 2, 0).rows(2)
    nothing = Forest.of(24, [], Columns.none(SLOT_COLUMNS), NONE)
    for found in (descend(nothing, rows, 10), scan(nothing, rows, 10)):
        assert len(found.ids) == len(found.keys) == len(found.scores) == 0
        assert found.keys.dimension == 24


def test_costs_are_counted_and_beams_are_kept() -> None:
    world = World(3000, 600, 3, trees=1)
    found = descend(world.forest(), world.rows(1), 10, Beams(root=5, inter=7))
    (tree,) = world.trees
    assert 1 <= found.cost.postings_read <= found.cost.inter_scored
    assert found.cost.root_scored == len(tree.roots)
    assert 7 <= found.cost.inter_scored < tree.node_count
    assert len(world.delta) < found.cost.entries_scored < len(world.delta) + len(tree.slots)
    assert found.cost.bytes_read > found.cost.entries_scored * (24 + scoring.SLOT_BYTES)


@pytest.mark.parametrize("inter", [1, (1 << 32) - 1])
def test_beams_beyond_all_there_is_cost_no_more_than_that(inter: int) -> None:
    """Nor is a walk lost where its gates alone would fill the table of what it has seen."""
    world = World(20_000, 20_000, 11, trees=1)
    (tree,) = world.trees
    roots = quantise(world.rng.normal(size=(tree.node_count, 24)))
    world.trees = [replace(tree, roots=roots, root_starts=np.arange(tree.node_count + 1))]
    found = descend(world.forest(), world.rows(2), 10, Beams(root=(1 << 32) - 1, inter=inter))
    assert found.cost.postings_read <= 2 * tree.node_count
    assert found.cost.inter_scored <= 4 * tree.node_count
    assert len(found.ids) == 10


def test_of_a_large_delta_only_what_is_near_the_peaks_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descending, "SURE", 20)
    world = World(4000, 4000, 4, trees=1)
    world.trees, world.delta = [], world.in_delta(np.arange(4000))
    rows = world.rows(3)
    rows = Vectors(rows.data, rows.scales * np.float32(4))
    candidates = Candidates(world.forest(), rows)
    candidates.add_delta()
    assert 20 < candidates.count < 3000
    assert_best(descend(world.forest(), rows, 3), world, rows, 3)


def test_rows_that_are_alike_walk_together() -> None:
    rng = np.random.default_rng(6)
    centres = rng.normal(size=(2, 32)).repeat(4, axis=0)
    near = quantise(centres + 0.05 * rng.normal(size=(8, 32)))
    for rows, groups in ((near.take(slice(0, 4)), [0]), (near, [0, 4]), (near.take([0, 4, 1]), [0, 4])):
        data, scales = kernels.representatives(rows.data, rows.scales, descending.ALIKE)
        np.testing.assert_allclose(data * scales[:, None], centres[groups], atol=0.2)


def test_numbers_that_lead_nowhere_are_not_followed() -> None:
    """ROOTs, links, slots and residuals of a damaged record name what is not there."""
    world = World(2000, 400, 9, trees=1)
    (tree,) = world.trees
    nodes, _ = tree.keep
    nodes[0]["links"][::3] = 1 << 30
    nodes[0]["first"][::5] = 1 << 40
    nodes[0]["count"][::7] = 0xFFFF
    nodes[0]["residuals"][::4] = 255
    starts = np.where(np.arange(len(tree.root_starts)) % 2, tree.root_starts, 1 << 29)
    world.trees = [replace(tree, root_starts=starts)]
    for _ in range(20):
        descend(world.forest(), world.rows(2), 10)


def test_spans_that_lead_out_of_a_record_are_not_followed() -> None:
    """Spans are read where they lie: in a file that is damaged while it is open they may say anything."""
    world = World(2000, 400, 9, trees=1)
    for arrays in world.kept:
        arrays[scoring.STARTS][1::3] = 0xFFFFFFF0
    for exact in (False, True):
        for _ in range(5):
            rows, forest = world.rows(2), world.forest(bits(np.arange(1, 2000, 7, dtype=np.uint64)))
            with suppress(Unsound):
                _ = rank.scan(forest, rows, 10, doubted=()) if exact else descend(forest, rows, 10)


def test_a_slot_that_changed_is_not_handed_out() -> None:
    world = World(300, 50, 2, trees=1)
    rows = world.rows(1)
    forest = world.forest()
    first = descend(forest, rows, 1, EVERYTHING)
    for arrays in world.kept:
        ids = arrays[scoring.IDS]
        ids[ids == first.ids[0]] += np.uint64(1 << 20)
    with pytest.raises(Unsound, match="fails its checksum"):
        descend(forest, rows, 1, EVERYTHING)


def test_a_damaged_scale_that_spoils_all_scores_of_a_scan_is_found() -> None:
    world = World(300, 50, 2, trees=1)
    rows, forest = world.rows(2), world.forest()
    for arrays in world.kept:
        arrays[scoring.SCALES][7] = np.nan
    with pytest.raises(Unsound, match="fails its checksum"):
        rank.scan(forest, rows, 1, doubted=())


def test_a_long_stream_keeps_the_best_though_scores_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Early entries lose their worth when a later one takes a row's whole softmax: a second pass finds the best."""
    monkeypatch.setattr(rank, "POOL", 16)
    rng = np.random.default_rng(5)
    strong = np.zeros((60, 8))
    strong[:, 0] = 4 + 0.01 * rng.random(60)
    weak = np.zeros((60, 8))
    weak[:, 1] = 1 + 0.01 * rng.random(60)
    last = np.zeros((1, 8))
    last[0, 0] = 30
    world = World(1, 1, 0)
    world.keys = quantise(np.concatenate([strong, weak, last]))
    world.owner = np.arange(121, dtype=np.uint64)
    records = [world.in_delta(np.arange(start, min(start + 10, 121))) for start in range(0, 121, 10)]
    forest = Forest.of(8, [], Columns.joined(records), NONE)
    rows = quantise(np.eye(8)[:2])
    filled = []
    fill = rank.Pool.fill
    monkeypatch.setattr(rank.Pool, "fill", lambda *args, **more: (filled.append(1), fill(*args, **more)))
    assert_best(scan(forest, rows, 2), world, rows, 2)
    assert len(filled) == 2


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 40), st.integers(1, 6), st.integers(1, 40), st.integers(0, 99))
def test_entries_of_one_key_are_taken_in_the_order_of_their_ids(
    count: int, texts: int, rows: int, k: int, seed: int
) -> None:
    world = World(count, 30, seed, texts=texts)
    asked = world.rows(rows)
    gone = np.flatnonzero(np.random.default_rng(seed).random(count) < 0.2)
    dead = bits((gone + 1).astype(np.uint64)) if len(gone) else NONE
    alive = np.setdiff1d(np.arange(count), gone)
    for found in (scan(world.forest(dead), asked, k), descend(world.forest(dead), asked, k, EVERYTHING)):
        if not len(alive):
            assert len(found.ids) == 0
            continue
        assert_best(found, world, asked, k, alive)
        for score in np.unique(found.scores):
            ids = found.ids[found.scores == score]
            assert np.array_equal(ids, np.sort(ids))
            same = np.isin(alive, _like(world, int(ids[-1]) - 1)) & (alive < int(ids[-1]))
            assert np.isin(alive[same] + 1, found.ids).all()


def _like(world: World, position: int) -> np.ndarray:
    """The entries that have the same key."""
    same = (world.keys.data == world.keys.data[position]).all(axis=1)
    return np.flatnonzero(same & (world.keys.scales == world.keys.scales[position]))


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 6), st.integers(1, 12), st.integers(0, 99))
def test_a_small_pool_changes_nothing(count: int, rows: int, k: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank, "POOL", 8)
        world = World(count, 40, seed)
        asked = world.rows(rows)
        assert_best(scan(world.forest(), asked, k), world, asked, k)
