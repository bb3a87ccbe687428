"""The identity index against a plain set of pairs, with limits so small that every path is taken."""

from collections.abc import Iterator

import numpy as np
import pytest
from worlds import Stores

from atlasdb.store.index import Index, Space
from atlasdb.store.opened import Txn
from atlasdb.store.store import Store
from atlasdb_contract.types import CollectionConfig, Ids


@pytest.fixture
def store(stores: Stores, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    for name, limit in [
        ("RUN_PAIRS", 64),
        ("LEAF_PAIRS", 8),
        ("STEP_LEAVES", 3),
        ("SWEEP_PAIRS", 100),
        ("_SMALL", 100),
    ]:
        monkeypatch.setattr(f"atlasdb.store.index.{name}", limit)
    store = Store(stores.folder, 1 << 28)
    store.create("c", CollectionConfig("none", 4), 0.0, if_missing=False)
    yield store
    store.drop("c")
    store.close()


class World:
    """The index of one space beside what it should hold."""

    def __init__(self, store: Store, space: Space) -> None:
        self.store = store
        self.space = space
        self.pairs: list[tuple[int, int]] = []
        self.dead: set[int] = set()

    def index(self, txn: Txn) -> Index:
        tables = self.store.environment.tables(self.store.records()[0].id)
        return Index(txn, tables, self.space, lambda ids: np.array([i not in self.dead for i in ids.tolist()]))

    def add(self, hashes: Ids) -> None:
        ids = np.arange(len(hashes), dtype=np.uint64) + np.uint64(len(self.pairs) + 1)
        self.pairs += zip(hashes.tolist(), ids.tolist(), strict=True)
        order = np.argsort(hashes, kind="stable")

        def job(write: object) -> None:
            index = self.index(write.txn)  # type: ignore[attr-defined]
            index.append(hashes[order], ids[order])
            index.step()

        self.store.submit(job).result()

    def check(self, rng: np.random.Generator) -> None:
        known = np.array([pair[0] for pair in self.pairs], np.uint64)
        absent = rng.integers(0, 1 << 63, 20, dtype=np.uint64) | np.uint64(1)
        wanted = rng.permutation(np.unique(np.concatenate([rng.permutation(known)[:200], absent])))
        with self.store.environment.reading() as txn:
            positions, ids = self.index(txn).find(wanted)
        got = {(int(wanted[p]), i) for p, i in zip(positions.tolist(), ids.tolist(), strict=True) if i not in self.dead}
        asked = set(wanted.tolist())
        assert got == {(h, i) for h, i in self.pairs if h in asked and i not in self.dead}

    def records(self) -> int:
        with self.store.environment.reading() as txn:
            return len(list(self.index(txn).pairs()))


def test_every_pair_is_found_and_no_other(store: Store) -> None:
    rng = np.random.default_rng(1)
    worlds = [World(store, space) for space in Space]
    for step in range(120):
        for world in worlds:
            size = int(rng.choice([1, 2, 5, 40, 90]))
            world.add(rng.integers(0, 1 << 64, size, dtype=np.uint64) & ~np.uint64(1))
            if step % 5 == 0:
                world.check(rng)
    assert all(world.records() < 2 * len(world.pairs) / 8 + 20 for world in worlds)


def test_equal_hashes_are_all_found_and_the_dead_among_them_dropped(store: Store) -> None:
    rng = np.random.default_rng(2)
    world = World(store, Space.TRIPLES)
    for _ in range(150):
        world.add(rng.integers(0, 8, 3, dtype=np.uint64) * np.uint64(2))
        world.dead |= set(rng.integers(1, len(world.pairs) + 1, 3).tolist())
        world.check(rng)
    assert world.records() < 60


def test_extreme_hashes_have_their_place(store: Store) -> None:
    world = World(store, Space.VALUES)
    top = np.uint64((1 << 64) - 1)
    for _ in range(30):
        world.add(np.array([0, 1, 1 << 63, top - np.uint64(1), top], np.uint64))
    world.check(np.random.default_rng(3))
