import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasdb.tree import graph
from atlasdb.tree.kmeans import ignore
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Vectors


def some(count: int, seed: int, dimension: int = 24) -> Vectors:
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(count // 20 + 1, dimension))
    vectors = centres[rng.integers(0, len(centres), count)] + rng.normal(size=(count, dimension))
    return quantise(vectors / np.linalg.norm(vectors, axis=1, keepdims=True))


def one_root(count: int) -> tuple[np.ndarray, np.ndarray]:
    return np.arange(min(count, 4), dtype=np.int32)[None], np.zeros(count, np.int64)


def nearest(links: np.ndarray, gates: np.ndarray, vectors: np.ndarray, query: np.ndarray, beam: int) -> list[int]:
    """The slow reference of a walk: the `beam` nearest nodes that it meets, nearest first."""
    distance = ((vectors - query) ** 2).sum(axis=1)
    met = set(gates[gates >= 0].tolist())
    opened: set[int] = set()
    while True:
        best = sorted(met, key=lambda node: distance[node])[:beam]
        waiting = [node for node in best if node not in opened]
        if not waiting:
            return best
        opened.add(waiting[0])
        met.update(links[waiting[0]][links[waiting[0]] >= 0].tolist())


def test_walks_find_what_is_nearest() -> None:
    vectors = some(2000, 1)
    gates, own = one_root(2000)
    links = graph.linked(vectors, gates, own, 0, 2, ignore)
    floats = vectors.floats()
    rng = np.random.default_rng(2)
    found = 0
    for query in floats[rng.integers(0, 2000, 50)] + 0.1 * rng.normal(size=(50, 24)):
        exact = np.argsort(((floats - query) ** 2).sum(axis=1))[:10]
        found += len(np.intersect1d(exact, nearest(links, gates, floats, query, 40)[:10]))
    assert found >= 0.97 * 500


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 300), st.integers(0, 99))
def test_all_nodes_are_reached(count: int, seed: int) -> None:
    gates, own = one_root(count)
    links = graph.linked(some(count, seed), gates, own, seed, 1, ignore)
    assert graph.reached(links, gates).all()


def test_links_are_relative_neighbours_and_leave_room() -> None:
    vectors = some(1500, 3)
    gates, own = one_root(1500)
    links = graph.linked(vectors, gates, own, 0, 2, ignore)
    assert (links >= 0).sum(axis=1).max() <= graph.DEGREE
    assert (links[:, 0] >= 0).all()
    floats = vectors.floats()
    first = np.argsort(((floats[:, None] - floats[:200][None]) ** 2).sum(axis=2), axis=0)[1]
    assert np.mean([first[node] in links[node] for node in range(200)]) > 0.95


@pytest.mark.parametrize("lost", [1, 30, 199])
def test_what_no_link_leads_to_is_joined(lost: int) -> None:
    rng = np.random.default_rng(lost)
    links = np.full((200, 4), -1, np.int32)
    found = np.sort(rng.permutation(200)[lost:]).astype(np.int32)
    links[found[:-1], 0] = found[1:]
    apart = np.setdiff1d(np.arange(200), found)
    links[apart, 0] = rng.choice(found, lost)
    gates = np.array([[found[0], -1]], np.int32)
    assert graph.reached(links, gates).sum() == 200 - lost
    graph.join(links, gates)
    assert graph.reached(links, gates).all()
    assert (np.sort(links >= 0, axis=1)[:, ::-1] == (links >= 0)).all()


def test_batches_double_up_to_a_share() -> None:
    order = np.arange(100_000, dtype=np.int32)
    sizes = [len(batch) for batch in graph.batches(order, 100)]
    assert sum(sizes) == 100_000
    assert sizes[:3] == [100, 200, 400]
    assert max(sizes) == round(graph.SHARE * 100_100)
