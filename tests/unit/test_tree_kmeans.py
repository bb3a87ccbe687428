import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasdb.tree import kmeans, listing, whiten
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
    grouped = kmeans.fit_grouped(lambda at: vectors[at], count, wanted, seed, refine=1)
    assert grouped.starts[-1] == len(grouped.centroids) <= count + len(grouped.tops)
    assert np.isfinite(grouped.centroids).all()


def test_equal_vectors_are_no_harm() -> None:
    same = np.ones((100, 4), np.float32) / 2
    assert np.allclose(kmeans.fit(same, 10, 0), same[:10])


def test_two_levels_fit_about_as_well_as_one() -> None:
    vectors = clusters(4000, 500, 2, noise=0.4)
    flat = kmeans.fit(vectors, 200, 0)
    grouped = kmeans.fit_grouped(lambda at: vectors[at], 4000, 200, 0, refine=2).centroids
    fits = [float((vectors @ centroids.T).max(axis=1).mean()) for centroids in (flat, grouped)]
    assert fits[1] > fits[0] - 0.02


def test_sums_equal_a_loop() -> None:
    rng = np.random.default_rng(3)
    vectors = rng.normal(size=(50, 4)).astype(np.float32)
    owner = rng.integers(0, 9, 50)
    expected = np.zeros((10, 4))
    for vector, number in zip(vectors, owner, strict=True):
        expected[number] += vector
    np.testing.assert_allclose(kmeans.sums(vectors, owner, 10), expected, atol=1e-5)


def test_spread_equals_its_definition() -> None:
    rng = np.random.default_rng(4)
    vectors, centroids = (kmeans.unit(rng.normal(size=(n, 6)).astype(np.float32)) for n in (40, 15))
    found = listing.spread(vectors @ centroids.T, centroids @ centroids.T, 4)
    for vector, chosen in zip(vectors, found, strict=True):
        residuals = vector - centroids
        taken: list[int] = []
        for _ in range(4):
            axes = [residuals[j] / np.linalg.norm(residuals[j]) for j in taken]
            parallel = np.max([(residuals @ axis) ** 2 for axis in axes] or [np.zeros(15)], axis=0)
            cost = (residuals**2).sum(axis=1) + listing.SPREAD * parallel * bool(taken)
            cost[taken] = np.inf
            taken.append(int(cost.argmin()))
        assert chosen.tolist() == taken


def test_links_are_distinct_and_begin_with_the_nearest(monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = clusters(900, 60, 5, noise=0.5)
    roots = kmeans.fit_grouped(lambda at: vectors[at], 900, 50, 0, refine=1)
    links = listing.links(lambda at: vectors[at], 900, roots)
    assert np.array_equal(links[:, 0], kmeans.nearest(vectors, roots.centroids))
    assert all(len(set(row)) == listing.LINKS for row in links.tolist())
    for module in (kmeans, listing):
        monkeypatch.setattr(module, "REACH", 10)
    some = listing.links(lambda at: vectors[at], 900, roots)
    assert all(len(set(row)) == listing.LINKS for row in some.tolist())


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
