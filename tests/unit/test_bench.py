"""What the benches' figures rest on: worlds, the peers' blocks, and where the entries of a loaded world are."""

from pathlib import Path

import numpy as np
import pytest

from atlasdb.engine.database import Database
from atlasdb_contract.codec import quantise

BENCH = Path(__file__).parents[2] / "bench"
D = 32


@pytest.fixture(autouse=True)
def benches(monkeypatch):
    monkeypatch.syspath_prepend(str(BENCH))


@pytest.fixture
def world():
    """300 heads, one to four keys each, every fifth of which two entries have; fetches about 40 of the keys."""
    from world import World

    rng = np.random.default_rng(0)
    heads = np.repeat(np.arange(300), rng.integers(1, 5, 300))
    keys = rng.normal(size=(300, D))[heads] + 0.5 * rng.normal(size=(len(heads), D))
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    texts = np.repeat(np.arange(len(keys)), 1 + (np.arange(len(keys)) % 5 == 0))
    gold = rng.choice(len(keys), 40, replace=False)
    rows = (20 * (keys[gold][:, None] + 0.05 * rng.normal(size=(40, 4, D)))).astype(np.float32)
    data = quantise(keys.astype(np.float32)).take(texts)
    return World(data, heads[texts].astype(np.int32), texts.astype(np.int32), rows, gold.astype(np.int32))


def test_a_cut_world_has_the_entries_asked_for_and_whole_heads(world) -> None:
    cut = world.cut(200)
    assert len(cut) == 200
    assert np.isin(world.gold, cut.texts).all()
    whole = [np.count_nonzero(cut.heads == head) == np.count_nonzero(world.heads == head) for head in set(cut.heads)]
    assert whole.count(False) <= 1


def test_distinct_keys_choose_the_entries_that_all_keys_would(world) -> None:
    from methods import Distinct

    distinct = Distinct.of(world)
    keys = world.keys.floats()
    for rows in world.rows:
        powers = np.exp(keys @ rows.T)
        scores = (powers / powers.sum(axis=0)).sum(axis=1)
        best = np.sort(scores)[::-1][:16]
        block = distinct.chosen(np.arange(len(distinct)), rows, 16)
        assert len(np.unique(block)) == 16
        np.testing.assert_allclose(scores[block], best, rtol=1e-4)


def test_the_exact_blocks_judge_themselves_perfect(world) -> None:
    from methods import fetches
    from truth import Truth

    asked = list(fetches(world, "last"))
    truth = Truth.of(world, asked, 16)
    judged = truth.judge(world, asked, list(truth.ids), 16)
    assert judged == pytest.approx({"recall": 1, "mass": 1, "gold": 1, "gold_exact": 1}, abs=2e-3)
    half = truth.judge(world, asked, [ids[8:] for ids in truth.ids], 16)
    assert half["recall"] == pytest.approx(0.5)
    assert half["mass"] < 0.5


def test_a_loaded_world_knows_where_its_entries_are(world, tmp_path) -> None:
    from loading import NAME, fill

    loaded = fill(tmp_path, world)
    with Database.read(tmp_path) as database:
        entries = [entry for some in database.scan(NAME) for entry in some]
    assert len(entries) == len(world)
    assert [f"tail {loaded.position[entry.id]}" for entry in entries] == [entry.triple.tail for entry in entries]


def test_a_synthetic_world_is_as_large_as_asked_and_the_same_for_a_seed(world, tmp_path) -> None:
    pytest.importorskip("faiss")
    from moved import Material, Synthesis

    material = Material.of(world)
    one, two = (Synthesis(material, 3).world(tmp_path / name, 2000, 50) for name in ("one", "two"))
    assert len(one) == 2000
    assert np.isin(one.gold, one.texts).all()
    np.testing.assert_array_equal(one.keys.data, two.keys.data)
    np.testing.assert_array_equal(one.rows, two.rows)
    same = {(int(text), bytes(key)) for text, key in zip(one.texts, one.keys.data, strict=True)}
    assert len(same) == len(np.unique(one.texts))
