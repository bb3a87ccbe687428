"""Recall as it is sampled in the background: beside a float64 reference, in whole and while a collection changes."""

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest
from worlds import BARE, D, Stores

from atlasdb.engine import sampler
from atlasdb.engine.database import Database
from atlasdb.engine.meters import Asked, Sample
from atlasdb.engine.sampler import measure
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Beams, Block, Triple, Vectors

COUNT, NAME = 6000, "facts"


def world(seed: int = 0) -> tuple[list[Triple], Vectors]:
    """Distinct triples, five to a head, with random keys."""
    keys = np.random.default_rng(seed).standard_normal((COUNT, D)).astype(np.float32)
    triples = [Triple(f"head {n // 5}", f"relation {n % 5}", f"tail {n}") for n in range(COUNT)]
    return triples, quantise(keys / np.linalg.norm(keys, axis=1, keepdims=True))


def filled(database: Database, keys: Vectors, triples: list[Triple], split: int) -> None:
    """All up to `split` in a tree, the others in the delta, some of either deleted."""
    database.create_collection(NAME, BARE)
    for start, stop in ((0, split), (split, COUNT)):
        part = slice(start, stop)
        database.insert(NAME, triples[part], keys.take(part), keys.take(part)).result()
        if start == 0:
            database.build(NAME)
    database.delete(NAME, list(range(1, COUNT, 7))).result()


def rows(seed: int, count: int = 3) -> Vectors:
    return quantise(8 * np.random.default_rng(seed).standard_normal((count, D)))


def reference(keys: Vectors, asked: Vectors, block: Block) -> Sample:
    """In float64, by the block's entries: its share of the exact block's mass, and of its entries."""
    there = np.setdiff1d(np.arange(1, COUNT + 1), np.arange(1, COUNT, 7))
    logits = asked.floats().astype(np.float64) @ keys.floats()[there - 1].astype(np.float64).T
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = (powers / powers.sum(axis=1, keepdims=True)).sum(axis=0)
    best = np.argsort(-scores)[: len(block.ids)]
    chosen = np.isin(there, block.ids)
    return Sample(scores[chosen].sum() / scores[best].sum(), chosen[best].mean())


@pytest.mark.parametrize("split", [5500, COUNT])
def test_samples_are_what_a_float64_reference_says(stores: Stores, split: int) -> None:
    triples, keys = world()
    database = stores.open()
    filled(database, keys, triples, split)
    recalls = []
    for seed, beams in enumerate([Beams(1, 1), Beams(1, 2), Beams(), Beams(64, 1200)]):
        asked = rows(seed)
        sample = measure(database._engine, Asked(NAME, asked, 16, beams), lambda: None)
        wanted = reference(keys, asked, database.fetch(NAME, asked, 16, beams))
        assert sample is not None
        assert sample.mass == pytest.approx(wanted.mass, rel=1e-4)
        assert sample.recall == pytest.approx(wanted.recall)
        recalls.append(sample.recall)
    assert recalls[0] < 1, "beams so narrow lose something, or this test tests nothing"


def test_what_changes_between_the_slices_is_not_seen(stores: Stores) -> None:
    """Inserts and deletes meanwhile leave a sample as it would have been; a build ends it without one."""
    triples, keys = world()
    database = stores.open()
    filled(database, keys, triples, 5500)
    asked, beams = rows(5), Beams(1, 1)
    wanted = measure(database._engine, Asked(NAME, asked, 16, beams), lambda: None)
    best = database.fetch(NAME, asked, 16, exact=True)
    changes: list[Callable[[], object]] = [
        lambda: database.delete(NAME, best.ids[:4].tolist()).result(),
        lambda: database.insert(NAME, [Triple("new", "new", "new")], best.keys.take([0]), best.keys.take([0])).result(),
    ]

    def change() -> None:
        if changes:
            changes.pop()()

    assert measure(database._engine, Asked(NAME, asked, 16, beams), change) == wanted
    assert not changes
    changes.append(lambda: database.build(NAME))
    assert measure(database._engine, Asked(NAME, asked, 16, beams), change) is None


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_fetches_are_sampled_in_the_background_and_shown_in_stats(stores: Stores) -> None:
    triples, keys = world()
    database = stores.open()
    filled(database, keys, triples, COUNT)
    asked, beams = rows(0), Beams(1, 1)
    wanted = reference(keys, asked, database.fetch(NAME, asked, 16, beams))
    assert database.stats(NAME).collections[0].recall.samples == 0
    database.sample_recall(60_000)

    def sampled() -> bool:
        database.fetch(NAME, asked, 16, beams)
        return database.stats(NAME).collections[0].recall.samples >= 3

    until(sampled)
    recall = database.stats(NAME).collections[0].recall
    assert recall.recall == pytest.approx(wanted.recall)
    assert recall.mass == pytest.approx(wanted.mass, rel=1e-4)


def test_the_sampler_is_off_where_it_is_asked_to_be_and_ends_with_the_store(stores: Stores) -> None:
    triples, keys = world()
    others = set(threading.enumerate())
    database = stores.open()
    filled(database, keys, triples, COUNT)
    database.sample_recall(0)
    database.fetch(NAME, rows(0), 4)
    assert not samplers() - others
    database.sample_recall(1e9)
    database.fetch(NAME, rows(0), 4)
    assert samplers() - others
    stores.close()
    assert not samplers() - others


def samplers() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name == "atlasdb-sampler"}


def test_a_sample_rests_between_its_pieces_of_work(stores: Stores) -> None:
    """Of the time that a sample takes, the thread computes a small share."""
    triples, keys = world()
    database = stores.open()
    filled(database, keys, triples, COUNT)
    measure(database._engine, Asked(NAME, rows(0), 16, Beams()), lambda: None)
    waited: list[float] = []
    rest = sampler.resting(sampler.SHARE, lambda seconds: waited.append(seconds) is not None)
    began = time.thread_time()
    measure(database._engine, Asked(NAME, rows(1), 16, Beams()), rest)
    rest()
    spent = time.thread_time() - began
    assert len(waited) > COUNT // 4096
    assert sum(waited) >= 0.9 * spent * (1 / sampler.SHARE - 1)
