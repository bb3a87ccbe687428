"""Compaction: what is dead goes, the file gets smaller, and nobody who reads or writes meanwhile notices."""

import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from worlds import BARE, MAP_BYTES, Stores, damage, facts, vectors

from atlasdb.engine.database import Database
from atlasdb.store import copying
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import Cancelled, FailedPrecondition, ResourceExhausted
from atlasdb_contract.types import Triple, Vectors
from atlasdb_contract.upkeep import CompactProgress

ROWS = quantise(np.random.default_rng(0).standard_normal((4, 16)).astype(np.float32))


def compacted(database: Database, **options: object) -> CompactProgress:
    *_, last = database.compact(**options)
    return last


def long_facts(count: int, start: int = 0) -> list[Triple]:
    """Each with a tail of its own, so that a value goes with its entry."""
    return [Triple(f"head {i // 3}", f"relation {i % 3}", f"tail {i} {'x' * 200}") for i in range(start, start + count)]


def given(count: int, start: int = 0) -> tuple[Vectors, Vectors]:
    rng = np.random.default_rng(start)
    return tuple(Vectors(rng.integers(-127, 128, (count, 16), np.int8), np.full(count, 0.01, np.float32)) for _ in "kv")


def fill(database: Database, count: int, start: int = 0) -> list[int]:
    return list(database.insert("facts", long_facts(count, start), *given(count, start)).result().ids)


def setsum(database: Database) -> str:
    return database.stats("facts").collections[0].setsum


def fetched(database: Database) -> list[list[float]]:
    block = database.fetch("facts", ROWS, 20, exact=True)
    return [block.ids.tolist(), block.scores.round(5).tolist(), block.values.data.tolist()]


def contents(database: Database) -> list[object]:
    return [(entry.id, entry.triple) for chunk in database.scan("facts") for entry in chunk]


def test_the_file_is_smaller_and_holds_the_same(stores: Stores, database: Database) -> None:
    ids = fill(database, 9000)
    database.delete("facts", ids[1000:8500]).result()
    before = (setsum(database), contents(database), fetched(database))
    planned = compacted(database, dry_run=True)
    done = compacted(database)
    assert done.dead_entries == 7500
    assert (setsum(database), contents(database), fetched(database)) == before
    size = (stores.folder / "atlas.mdb").stat().st_size
    assert size < done.file_bytes / 3
    assert planned.after_bytes < planned.file_bytes / 2
    assert planned.disk_bytes >= size
    assert damage(database) == []
    assert damage(stores.open()) == []


def test_ids_stay_and_what_was_deleted_can_come_again(database: Database) -> None:
    ids = fill(database, 9000)
    database.build("facts")
    database.delete("facts", ids[:8000]).result()
    compacted(database)
    again = fill(database, 100)
    assert min(again) > max(ids)
    assert database.get("facts", [ids[8500]])[0].triple == long_facts(1, 8500)[0]
    assert database.get("facts", ids[:8000:500]) == []
    assert database.delete("facts", ids[:10]).result() == (0, 10)
    assert damage(database) == []


@pytest.mark.parametrize("seed", range(4))
def test_any_deletions_leave_the_rest_as_it_was(database: Database, seed: int) -> None:
    rng = np.random.default_rng(seed)
    ids = np.array([*fill(database, 3000), *fill(database, 3000, 3000)])
    if seed % 2:
        database.build("facts")
    starts = rng.integers(0, len(ids), 12)
    doomed = np.unique(np.concatenate([*(ids[s : s + int(rng.integers(1, 900))] for s in starts), ids[::7]]))
    database.delete("facts", doomed.tolist()).result()
    fill(database, 50, 1000)
    before = (setsum(database), contents(database), fetched(database))
    compacted(database)
    assert (setsum(database), contents(database), fetched(database)) == before
    assert damage(database) == []
    compacted(database)
    assert (setsum(database), contents(database), fetched(database)) == before


def test_writers_and_readers_go_on(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "STEP_BYTES", 1 << 16)
    ids = fill(database, 6000)
    database.delete("facts", ids[:4000]).result()
    stop, failed = threading.Event(), []
    acked: list[int] = []

    def write() -> None:
        start = 10_000
        while not stop.is_set():
            acked.extend(fill(database, 40, start))
            database.delete("facts", [acked.pop(0)]).result()
            database.insert("facts", long_facts(5, 0), *given(5, 0)).result()
            start += 40

    def read() -> None:
        while not stop.is_set():
            assert len(database.fetch("facts", ROWS, 8).ids) == 8
            assert database.get("facts", [ids[5000]])

    def run(work: object) -> None:
        try:
            work()
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=run, args=(work,)) for work in (write, read, read)]
    for thread in threads:
        thread.start()
    held = [compacted(database).held_seconds for _ in range(3)]
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert all(0 < each < 5 for each in held)
    assert {entry.id for chunk in database.scan("facts") for entry in chunk} >= set(acked)
    assert damage(database) == []


def test_a_stopped_one_goes_on_where_it_was(
    stores: Stores, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(copying, "STEP_BYTES", 1 << 16)
    fill(database, 6000)
    before = contents(database)
    first = database.compact(cancelled=lambda: len(steps) > 3)
    steps: list[CompactProgress] = []
    with pytest.raises(Cancelled):
        list(map(steps.append, first))
    database.delete("facts", [before[0][0]]).result()
    fill(database, 100, 7000)
    expected = contents(database)
    assert len([step for step in database.compact() if step.stage == "copying"]) > 1
    assert contents(database) == expected
    assert damage(database) == []
    with pytest.raises(Cancelled):
        list(database.compact(cancelled=lambda: True))
    assert contents(stores.open()) == expected
    assert [file.name for file in stores.folder.glob("atlas.mdb.*")] == []


def test_a_full_disk_refuses_before_anything_is_copied(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(database, 1000)
    monkeypatch.setattr(copying, "RESERVE_BYTES", 1 << 60)
    with pytest.raises(ResourceExhausted, match=r"needs .* MB on the disk"):
        compacted(database)
    assert compacted(database, dry_run=True).disk_bytes > 0


def test_two_at_once_are_refused(database: Database) -> None:
    fill(database, 1000)
    first: Iterator[CompactProgress] = database.compact()
    next(first)
    with pytest.raises(FailedPrecondition, match="being made"):
        next(database.compact())
    first.close()


def test_collections_come_and_go_meanwhile(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "STEP_BYTES", 1 << 16)
    fill(database, 3000)
    database.create_collection("gone", BARE)
    database.insert("gone", facts(300), *vectors(facts(300))).result()
    steps = database.compact()
    next(steps)
    database.drop_collection("gone")
    database.create_collection("new", BARE)
    database.insert("new", facts(300), *vectors(facts(300))).result()
    for _ in steps:
        pass
    assert {one.name: one.entries for one in database.list_collections()} == {"facts": 3000, "new": 300}
    assert len(database.fetch("new", ROWS, 5).ids) == 5
    assert damage(database) == []


@pytest.mark.parametrize("dropped", [False, True])
def test_a_quiet_store_compacts_itself(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dropped: bool) -> None:
    monkeypatch.setattr("atlasdb.engine.upkeep.LEAST_GAIN", 1 << 16)
    monkeypatch.setattr("atlasdb.engine.upkeep.QUIET_SECONDS", 0.05)
    with Database.open(tmp_path / "data", MAP_BYTES, compact_above=0.3) as database:
        database.create_collection("facts", BARE)
        ids = fill(database, 6000)
        size = database.stats().file_bytes
        if dropped:
            database.drop_collection("facts")
        else:
            database.delete("facts", ids[:5500]).result()
        for _ in range(200):
            if database.stats().file_bytes < size / 2:
                break
            threading.Event().wait(0.05)
        assert database.stats().file_bytes < size / 2
        assert damage(database) == []
