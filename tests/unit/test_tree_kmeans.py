import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasdb.tree import kmeans, whiten
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats


def clusters(count: int, centres: int, seed: int, dimension: int = 12, noise: float = 0.1) -> Floats:
    rng = np.random.default_rng(seed)
    owner = np.arange(count) % centres
    vectors = rng.normal(size=(centres, dimension))[owner] + noise * rng.normal(size=(count, dimension))
    return kmeans.unit(vectors.astype(np.float32))


def test_clusters_that_are_there_are_found() -> None:
    vectors = clusters(2000, 10, 1)
    centroids = kmeans.fit(vectors, 20, seed=0)
    fits = (vectors @ centroids.T).max(axis=1)
    assert fits.min() > 0.9
    assert np.allclose(np.linalg.norm(centroids, axis=1), 1, atol=1e-5)


@settings(max_examples=50, deadline=None)
@given(st.integers(1, 200), st.integers(1, 60), st.integers(0, 99))
def test_there_are_as_many_centroids_as_asked_or_as_vectors(count: int, wanted: int, seed: int) -> None:
    vectors = clusters(count, 7, seed)
    assert len(kmeans.fit(vectors, wanted, seed)) == min(count, wanted)


def test_equal_vectors_are_no_harm() -> None:
    same = np.ones((100, 4), np.float32) / 2
    assert np.allclose(kmeans.fit(same, 10, 0), same[:10])


def test_the_principal_direction_is_that_of_the_largest_spread() -> None:
    rng = np.random.default_rng(2)
    vectors = (rng.normal(size=(300, 6)) * [1, 1, 5, 1, 1, 1] + 7).astype(np.float32)
    assert abs(kmeans.principal(vectors)[2]) > 0.99
    assert not kmeans.principal(np.ones((3, 6), np.float32)).any()


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 60), st.integers(0, 99))
def test_vectors_are_lined_up_once_each(count: int, seed: int) -> None:
    assert np.array_equal(np.sort(kmeans.lined_up(clusters(count, 5, seed))), np.arange(count))


def test_near_vectors_stand_side_by_side() -> None:
    order = kmeans.lined_up(clusters(600, 12, 7))
    assert (np.diff(order % 12) != 0).sum() < 80


def test_sums_equal_a_loop() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(50, 4)).astype(np.float32)
    owner = rng.integers(0, 9, 50)
    expected = np.zeros((10, 4))
    for vector, number in zip(vectors, owner, strict=True):
        expected[number] += vector
    np.testing.assert_allclose(kmeans.sums(vectors, owner, 10), expected, atol=1e-5)


def test_the_metric_weighs_down_what_heads_share() -> None:
    rng = np.random.default_rng(6)
    heads = rng.normal(size=(500, 8)).repeat(8, axis=0)
    keys = heads.copy()
    keys[:, 0] += 5 * rng.normal(size=len(keys))
    starts = np.arange(0, 4001, 8)
    metric = whiten.measure(quantise(keys), np.arange(4000), starts, 0)
    strengths = np.diag(metric.whitener)
    assert strengths[0] < 0.9 * strengths[1:].min()
    assert np.allclose(metric.whitener, metric.whitener.T, atol=1e-5)
    alone = whiten.measure(quantise(keys), np.arange(4000), np.arange(4001), 0)
    assert np.array_equal(alone.whitener, np.eye(8))
