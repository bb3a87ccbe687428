"""Deltas fold themselves into trees, and hollow trees are rebuilt, while reads and writes go on."""

import time
from collections.abc import Callable

import numpy as np
import pytest
from worlds import Stores, damage, facts, vectors

from atlasdb.engine import upkeep
from atlasdb.engine.build import GROWTH, small_trees
from atlasdb.engine.database import Database
from atlasdb.store.registry import CollectionRecord, TreeRecord
from atlasdb_contract.ids import CollectionId, Generation
from atlasdb_contract.types import CollectionConfig

Load = Callable[..., tuple[int, ...]]


@pytest.fixture(autouse=True)
def _eager(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upkeep, "DELTA_SLOTS", 100)
    monkeypatch.setattr(upkeep, "QUIET_SECONDS", 0.05)
    monkeypatch.setattr(upkeep, "LEAST_DEAD", 50)


def record(database: Database) -> CollectionRecord:
    with database._engine.store.view("facts") as view:
        return view.record


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_a_delta_folds_itself_when_it_is_quiet(database: Database, load: Load) -> None:
    load(facts(99))
    time.sleep(0.3)
    assert record(database).trees == ()
    load(facts(250))
    until(lambda: record(database).delta_entries == 0)
    assert [tree.slots for tree in record(database).trees] == [250]
    assert damage(database) == []


def test_growth_leaves_few_trees_and_every_entry_is_found(database: Database, load: Load) -> None:
    for stop in range(120, 2400, 120):
        load(facts(120, start=stop - 120))
        until(lambda: record(database).delta_entries < 100)
    sizes = sorted(tree.slots for tree in record(database).trees)
    assert sum(sizes) == 2280
    assert len(sizes) <= 4
    keys, _ = vectors(facts(2280))
    for position in np.random.default_rng(0).integers(0, 2280, 60).tolist():
        exact, pruned = (database.fetch("facts", keys.take([position]), 1, exact=exact) for exact in (True, False))
        assert pruned.ids[0] == exact.ids[0] == position + 1
    assert damage(database) == []


def test_a_tree_of_the_dead_is_rebuilt(database: Database, load: Load) -> None:
    load(facts(400))
    database.build("facts")
    database.delete("facts", range(1, 201)).result()
    until(lambda: record(database).tombstones == 0)
    assert [tree.slots for tree in record(database).trees] == [200]
    database.delete("facts", range(1, 401)).result()
    until(lambda: record(database).trees == ())
    assert damage(database) == []


def test_a_build_that_is_asked_for_stops_the_fold(database: Database, load: Load) -> None:
    for start in range(0, 3000, 300):
        load(facts(300, start=start))
        assert database.build("facts") > 0
    assert [tree.slots for tree in record(database).trees] == [3000]


def test_a_drop_and_a_close_stop_the_fold(stores: Stores, database: Database, load: Load) -> None:
    load(facts(3000))
    database.drop_collection("facts")
    database.create_collection("facts", CollectionConfig("none", 16))
    load(facts(3000))
    again = stores.open()
    assert again.count("facts") == 3000
    assert damage(again) == []


def test_what_a_stopped_server_left_is_folded_by_the_next(
    monkeypatch: pytest.MonkeyPatch, stores: Stores, database: Database, load: Load
) -> None:
    with monkeypatch.context() as never:
        never.setattr(upkeep, "DELTA_SLOTS", 1 << 30)
        load(facts(300))
        stores.close()
    later = stores.open()
    until(lambda: record(later).delta_entries == 0)


def test_entries_that_trickle_in_are_folded_though_it_is_never_quiet(
    monkeypatch: pytest.MonkeyPatch, database: Database, load: Load
) -> None:
    monkeypatch.setattr(upkeep, "QUIET_SECONDS", 3600.0)
    monkeypatch.setattr(upkeep, "PACE_SECONDS", 0.1)
    monkeypatch.setattr(upkeep, "FOLD_SECONDS", 0.01)
    batches = iter(range(0, 100_000, 20))
    until(lambda: bool(load(facts(20, start=next(batches)))) and record(database).trees != ())
    assert damage(database) == []


def test_a_bulk_load_is_let_be_though_many_of_its_commits_follow_each_other_at_once(
    monkeypatch: pytest.MonkeyPatch, database: Database, load: Load
) -> None:
    monkeypatch.setattr(upkeep, "QUIET_SECONDS", 3600.0)
    monkeypatch.setattr(upkeep, "PACE_SECONDS", 0.02)
    monkeypatch.setattr(upkeep, "BULK_RATE", 1)
    for start in range(0, 3000, 100):
        load(facts(100, start=start))
        for _ in range(3):
            database.delete("facts", [10**9]).result()
    assert record(database).trees == ()
    assert record(database).delta_entries == 3000


def test_what_is_hollow_is_rebuilt_though_it_is_never_quiet(
    monkeypatch: pytest.MonkeyPatch, database: Database, load: Load
) -> None:
    load(facts(400))
    database.build("facts")
    monkeypatch.setattr(upkeep, "QUIET_SECONDS", 3600.0)
    database.delete("facts", range(1, 301)).result()
    until(lambda: record(database).tombstones == 0)


def test_a_delta_may_grow_for_a_while_but_for_a_bulk_load() -> None:
    assert upkeep.delta_limit(0.0, 10**7) == upkeep.DELTA_SLOTS
    assert upkeep.delta_limit(2000.0, 10**7) == 2000 * upkeep.FOLD_SECONDS
    assert upkeep.delta_limit(upkeep.BULK_RATE - 1, 0) == upkeep.LARGE_DELTA
    assert upkeep.delta_limit(upkeep.BULK_RATE - 1, 10**6) == 10**6 // 2
    assert upkeep.delta_limit(upkeep.BULK_RATE, 0) == upkeep.BULK_DELTA


def test_upkeep_that_fails_is_tried_again_and_does_not_stand_in_the_way(
    monkeypatch: pytest.MonkeyPatch, database: Database, load: Load
) -> None:
    tries: list[float] = []

    def failing(*_: object) -> None:
        tries.append(time.monotonic())
        raise MemoryError("no memory")

    monkeypatch.setattr(upkeep, "RETRY_SECONDS", 0.3)
    with monkeypatch.context() as broken:
        broken.setattr(upkeep, "fold", failing)
        load(facts(300))
        until(lambda: len(tries) == 3)
    assert tries[2] - tries[0] >= 0.6
    until(lambda: record(database).delta_entries == 0)


def test_a_fold_takes_in_the_trees_that_are_not_much_bigger() -> None:
    def chosen(delta: int, *sizes: int) -> list[int]:
        trees = tuple(TreeRecord(Generation(i + 1), 1, 1, size, size, 1, size) for i, size in enumerate(sizes))
        config = CollectionConfig("none", 4)
        record = CollectionRecord(CollectionId(1), "c", config, 0, (1, 2), trees=trees, delta_entries=delta)
        return [tree.slots for tree in small_trees(record)]

    assert chosen(100) == []
    assert chosen(100, GROWTH * 100) == []
    assert chosen(100, 300) == [300]
    assert chosen(100, 10_000, 300, 1000) == [300, 1000]
    assert chosen(100, 300, 1700) == [300]
