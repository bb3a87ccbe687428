import threading
from collections.abc import Callable

import numpy as np
import pytest
from worlds import BARE, Stores, damage, facts, vectors

from atlasdb.engine import build as building
from atlasdb.engine.database import Database
from atlasdb.store import postings
from atlasdb_contract.errors import Cancelled, FailedPrecondition, NotFound
from atlasdb_contract.types import Progress

Load = Callable[..., tuple[int, ...]]


def generations(database: Database) -> set[int]:
    """Those that have records."""
    with database._engine.store.view("facts") as view:
        return {
            int.from_bytes(bytes(key)[:4], "big")
            for table in (view.tables.postings, view.tables.nodes)
            for key, _ in view.txn.cursor(table)
        }


def everything(database: Database) -> set[int]:
    """The ids that an exact fetch can see."""
    keys, _ = vectors(facts(1))
    return set(database.fetch("facts", keys, 4096, exact=True).ids.tolist())


def test_a_build_makes_a_new_generation_of_the_same_entries(database: Database, load: Load) -> None:
    load(facts(1000))
    database.delete("facts", range(10, 60)).result()
    seen: list[Progress] = []
    assert database.build("facts", seed=3, progress=seen.append) == 1
    stats = database.stats().collections[0]
    assert (stats.entries, stats.tombstones, stats.delta_entries, stats.generation) == (950, 0, 0, 1)
    assert 0 < stats.root_nodes <= stats.inter_nodes <= 950
    assert everything(database) == {*range(1, 10), *range(60, 1001)}
    assert generations(database) == {1}
    assert seen[-1].generation == 1
    assert damage(database) == []


@pytest.mark.parametrize("count", [0, 1, 2, 17])
def test_the_smallest_collections_can_be_built(database: Database, load: Load, count: int) -> None:
    if count:
        load(facts(count))
    assert [database.build("facts") for _ in range(2)] == [1, 2]
    load(facts(count + 3))
    assert everything(database) == set(range(1, count + 4))


def test_inserts_and_deletes_go_on_during_a_build(database: Database, load: Load) -> None:
    load(facts(1500))
    done = threading.Event()
    deleted: set[int] = set()
    errors: list[Exception] = []

    def write() -> None:
        rng, last = np.random.default_rng(5), 1500
        try:
            while not done.is_set() or last < 1700:
                load(facts(20, start=last))
                last += 20
                ids = sorted(set(rng.integers(1, last, 5).tolist()) - deleted)
                assert database.delete("facts", ids).result() == (len(ids), 0)
                deleted.update(ids)
                assert len(everything(database)) == database.count("facts")
        except Exception as error:  # noqa: BLE001 - told in the test's thread
            errors.append(error)

    writer = threading.Thread(target=write)
    writer.start()
    built = [database.build("facts", seed) for seed in range(3)]
    done.set()
    writer.join()
    assert errors == []
    assert built == [1, 2, 3]
    assert database.stats().collections[0].tombstones < len(deleted)
    assert damage(database) == []


def test_what_is_inserted_during_a_build_stays_in_the_delta(database: Database, load: Load) -> None:
    load(facts(200))
    grown = [200]

    def progress(step: Progress) -> None:
        if grown[0] < 400:
            load(facts(30, start=grown[0]))
            database.delete("facts", [grown[0] + 2]).result()
            grown[0] += 30

    database.build("facts", progress=progress)
    gone = {first + 2 for first in range(200, grown[0], 30)}
    assert everything(database) == set(range(1, grown[0] + 1)) - gone
    assert database.stats().collections[0].delta_entries > 0
    assert damage(database) == []


def test_what_is_inserted_while_a_build_reads_is_left_to_the_next(
    monkeypatch: pytest.MonkeyPatch, database: Database, load: Load
) -> None:
    monkeypatch.setattr(building, "READ_RECORDS", 1)
    for start in range(0, 900, 300):
        load(facts(300, start=start))
    load(facts(50, start=900))
    grown = [950]

    def progress(step: Progress) -> None:
        if step.stage == "read":
            load(facts(40, start=grown[0]))
            grown[0] += 40

    database.build("facts", progress=progress)
    assert grown[0] > 950
    (stats,) = database.stats().collections
    assert (stats.entries, stats.delta_entries) == (grown[0], grown[0] - 950)
    assert everything(database) == set(range(1, grown[0] + 1))
    assert damage(database) == []


@pytest.mark.parametrize("stage", ["read", "write nodes", "write postings"])
def test_a_cancelled_build_leaves_the_old_tree(database: Database, load: Load, stage: str) -> None:
    load(facts(600))
    database.build("facts")
    reached: list[str] = []

    def progress(step: Progress) -> None:
        reached.append(step.stage)

    with pytest.raises(Cancelled, match="the build of 'facts' was stopped"):
        database.build("facts", cancelled=lambda: stage in reached, progress=progress)
    assert generations(database) == {1}
    assert database.stats().collections[0].generation == 1
    assert len(everything(database)) == 600
    assert database.build("facts") == 2


def test_leftovers_of_a_crashed_build_are_cleared_at_the_next_open(
    monkeypatch: pytest.MonkeyPatch, stores: Stores, database: Database, load: Load
) -> None:
    load(facts(300))
    store = database._engine.store
    with monkeypatch.context() as patched:
        patched.setattr(store, "clear_generations", lambda _: None)  # the process ends in the flip
        patched.setattr("atlasdb.store.changes.Changes.flip", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            database.build("facts")
    assert generations(database) == {0, 1}
    again = stores.open()
    assert generations(again) == {0}
    assert len(everything(again)) == 300


def test_one_build_at_a_time(database: Database, load: Load) -> None:
    load(facts(50))
    refused: list[str] = []

    def progress(step: Progress) -> None:
        with pytest.raises(FailedPrecondition, match="a build of 'facts' is running") as caught:
            database.build("facts")
        refused.append(str(caught.value))

    database.build("facts", progress=progress)
    assert refused


def test_a_collection_dropped_during_its_build_stays_dropped(database: Database, load: Load) -> None:
    load(facts(200))
    dropped: list[int] = []

    def progress(step: Progress) -> None:
        if step.stage.startswith("write") and not dropped:
            dropped.append(database.drop_collection("facts"))
            database.create_collection("facts", BARE)

    with pytest.raises((FailedPrecondition, NotFound), match="facts"):
        database.build("facts", progress=progress)
    assert dropped == [200]
    assert database.count("facts") == 0


def test_deltas_grow_in_few_records(database: Database, load: Load) -> None:
    for number in range(200):
        load(facts(1, start=number))
    database.build("facts")
    for number in range(200, 700):
        load(facts(1, start=number))
    with database._engine.store.view("facts") as view:
        records = list(postings.of_delta(view.txn, view.tables, view.record.folded))
    assert len(records) == -(-500 // postings.DELTA_SLOTS)
