from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasdb.tree import build, rank
from atlasdb.tree.descend import PostingRequest, PostingView, descend, drive, scan
from atlasdb.tree.image import TreeImage
from atlasdb.tree.place import nearest
from atlasdb_contract.codec import quantise
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Beams, Vectors

EVERYTHING = Beams(root=1 << 20, inter=1 << 20)


class World:
    """A built tree with its postings in memory; entry i has the id i + 1 and the value id i + 1001."""

    def __init__(self, count: int, heads: int, seed: int, dimension: int = 24) -> None:
        rng = np.random.default_rng(seed)
        owner = rng.integers(0, heads, count)
        centres = rng.normal(size=(heads, dimension))
        self.keys = quantise(centres[owner] + 0.4 * rng.normal(size=(count, dimension)))
        self.owner = owner.astype(np.uint64)
        self.plan = build.plan(self.keys, self.owner, seed)
        self.image = TreeImage.of(Generation(1), self.plan.roots, self.plan.inter, self.plan.guides)
        self.rng = rng

    def rows(self, number: int) -> Vectors:
        return quantise(3 * self.rng.normal(size=(number, self.keys.dimension)))

    def posting(self, positions: np.ndarray) -> PostingView:
        ids = (positions + 1).astype(np.uint64)
        return PostingView(ids, ids + np.uint64(1000), self.keys.take(positions))

    def read(self, request: PostingRequest) -> list[PostingView]:
        return [self.posting(np.flatnonzero(self.plan.node_of == node)) for node in request.nodes]

    def every_posting(self) -> Iterator[PostingView]:
        for start in range(0, len(self.keys), 100):
            yield self.posting(np.arange(start, min(start + 100, len(self.keys))))


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
    assert_best(drive(descend(world.image, asked, k, EVERYTHING), world.read), world, asked, k)
    assert_best(scan(world.every_posting, asked, k), world, asked, k)


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
    first = scan(world.every_posting, rows, 20)
    gone = np.sort(first.ids[:15])
    alive = np.setdiff1d(np.arange(600), gone.astype(np.int64) - 1)
    for found in (
        scan(world.every_posting, rows, 20, gone),
        drive(descend(world.image, rows, 20, EVERYTHING, gone), world.read),
    ):
        assert not np.isin(found.ids, gone).any()
        assert_best(found, world, rows, 20, alive)
    everything = np.arange(1, 601, dtype=np.uint64)
    assert len(scan(world.every_posting, rows, 20, everything).ids) == 0


def test_generation_zero_is_an_exact_scan() -> None:
    world = World(300, 50, 2)
    rows = world.rows(4)
    asked: list[int] = []

    def read(request: PostingRequest) -> list[PostingView]:
        asked.extend(request.nodes.tolist())
        return list(world.every_posting())

    found = drive(descend(TreeImage.flat(24), rows, 10), read)
    assert asked == [0]
    assert_best(found, world, rows, 10)


def test_a_tree_of_nothing_answers_with_nothing() -> None:
    keys = quantise(np.zeros((0, 24)))
    plan = build.plan(keys, np.zeros(0, np.uint64))
    image = TreeImage.of(Generation(1), plan.roots, plan.inter, plan.guides)
    rows = World(5, 2, 0).rows(2)
    for found in (drive(descend(image, rows, 10), lambda _: []), scan(list, rows, 10)):
        assert len(found.ids) == len(found.keys) == len(found.scores) == 0
        assert found.keys.dimension == 24
    assert nearest(image, rows).tolist() == [0, 0]


def test_costs_are_counted_and_beams_are_kept() -> None:
    world = World(3000, 600, 3)
    found = drive(descend(world.image, world.rows(2), 10, Beams(root=5, inter=7)), world.read)
    assert found.cost.postings_read == 7 + 1  # the newcomers'
    assert found.cost.root_scored == len(world.image.roots)
    assert 0 < found.cost.inter_scored < len(world.image.guides)
    assert 10 <= found.cost.entries_scored < 600
    assert found.cost.bytes_read == found.cost.entries_scored * (24 + 4 + 16)


def test_a_long_stream_keeps_the_best_though_scores_shift(monkeypatch: pytest.MonkeyPatch) -> None:
    """Early entries lose their worth when a later one takes a row's whole softmax: a second pass finds the best."""
    monkeypatch.setattr(rank, "POOL", 16)
    monkeypatch.setattr(rank, "BATCH", 10)
    rng = np.random.default_rng(5)
    strong = np.zeros((60, 8))
    strong[:, 0] = 4 + 0.01 * rng.random(60)
    weak = np.zeros((60, 8))
    weak[:, 1] = 1 + 0.01 * rng.random(60)
    last = np.zeros((1, 8))
    last[0, 0] = 30
    world = World(1, 1, 0)
    world.keys = quantise(np.concatenate([strong, weak, last]))
    rows = quantise(np.eye(8)[:2])
    passes = 0

    def postings() -> Iterator[PostingView]:
        nonlocal passes
        passes += 1
        for start in range(0, 121, 10):
            yield world.posting(np.arange(start, min(start + 10, 121)))

    assert_best(scan(postings, rows, 2), world, rows, 2)
    assert passes == 2


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 300), st.integers(1, 6), st.integers(1, 12), st.integers(0, 99))
def test_a_small_pool_changes_nothing(count: int, rows: int, k: int, seed: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(rank, "POOL", 8)
        patch.setattr(rank, "BATCH", 16)
        world = World(count, 40, seed)
        asked = world.rows(rows)
        assert_best(scan(world.every_posting, asked, k), world, asked, k)


def test_an_entry_of_a_known_head_is_placed_beside_it() -> None:
    world = World(4000, 700, 7)
    nodes = nearest(world.image, world.keys)
    joined = nodes != world.image.newcomers
    assert np.mean(joined) > 0.7
    assert np.mean(nodes[joined] == world.plan.node_of[joined]) > 0.9


def test_newcomers_are_found_however_narrow_the_beams() -> None:
    world = World(3000, 500, 8)
    strangers = quantise(world.rng.normal(size=(40, 24)) * np.array([1.0] * 4 + [9.0] * 20))
    nodes = nearest(world.image, strangers)
    new = np.flatnonzero(nodes == world.image.newcomers)
    assert len(new) > 20
    delta = PostingView(new.astype(np.uint64) + np.uint64(9000), new.astype(np.uint64), strangers.take(new))

    def read(request: PostingRequest) -> list[PostingView]:
        assert request.nodes[-1] == world.image.newcomers
        return [*world.read(request), delta]

    for position in new:
        rows = strangers.take([position])
        found = drive(descend(world.image, rows, 1, Beams(root=1, inter=1)), read)
        assert found.ids[0] == position + 9000
