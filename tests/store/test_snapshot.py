"""Snapshots: whole, checked, and restored to exactly what they were made of."""

import json
import threading
from pathlib import Path

import numpy as np
import pytest
from worlds import BARE, MAP_BYTES, Stores, damage, facts, vectors

from atlasdb.engine.database import Database
from atlasdb.restore import restore
from atlasdb.store import copying
from atlasdb_contract.errors import AlreadyExists, Cancelled, DataLoss, FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.upkeep import Snapshot


def made(database: Database, name: str = "one") -> Snapshot:
    *_, last = database.create_snapshot(name)
    assert last.snapshot is not None
    return last.snapshot


def wrong_with(database: Database, name: str = "one") -> tuple[str, ...]:
    *_, last = database.verify_snapshot(name)
    return last.damage


def fill(database: Database, count: int, start: int = 0) -> None:
    database.insert("facts", facts(count, start), *vectors(facts(count, start))).result()


def setsum(database: Database) -> str:
    return database.stats("facts").collections[0].setsum


def test_a_snapshot_is_restored_to_what_it_was_made_of(stores: Stores, database: Database, tmp_path: Path) -> None:
    fill(database, 3000)
    before = setsum(database)
    snapshot = made(database)
    assert [(held.name, held.entries, held.setsum) for held in snapshot.collections] == [("facts", 3000, before)]
    assert database.list_snapshots() == [snapshot]
    fill(database, 1000, 5000)
    assert wrong_with(database) == ()
    assert restore(stores.folder, "one", tmp_path / "other", force=False) == 3000
    with Database.open(tmp_path / "other", MAP_BYTES) as other:
        assert setsum(other) == before
        assert damage(other) == []
    stores.close()
    with pytest.raises(FailedPrecondition, match="--force"):
        restore(stores.folder, "one", stores.folder, force=False)
    restore(stores.folder, "one", stores.folder, force=True)
    assert setsum(stores.open()) == before


def test_a_running_servers_store_is_not_replaced(stores: Stores, database: Database) -> None:
    fill(database, 10)
    made(database)
    with pytest.raises(FailedPrecondition, match="in use by the server"):
        restore(stores.folder, "one", stores.folder, force=True)


def test_names_are_checked(database: Database) -> None:
    made(database)
    with pytest.raises(AlreadyExists):
        made(database)
    with pytest.raises(InvalidArgument):
        made(database, "../up")
    with pytest.raises(NotFound, match="there are: one"):
        wrong_with(database, "two")
    assert database.delete_snapshot("one") > 0
    with pytest.raises(NotFound):
        database.delete_snapshot("one")
    assert database.list_snapshots() == []
    assert made(database, "").name[:2] == "20"


def test_a_stopped_one_leaves_nothing(stores: Stores, database: Database) -> None:
    fill(database, 100)
    with pytest.raises(Cancelled):
        list(database.create_snapshot("one", cancelled=lambda: True))
    assert list((stores.folder / "snapshots").iterdir()) == []
    (stores.folder / "snapshots" / "two.part").mkdir()
    stores.open()
    assert list((stores.folder / "snapshots").iterdir()) == []


@pytest.mark.parametrize("seed", range(3))
def test_a_damaged_snapshot_is_named_and_not_restored(stores: Stores, database: Database, seed: int) -> None:
    fill(database, 2000)
    made(database)
    file = stores.folder / "snapshots" / "one" / "atlas.mdb"
    content = bytearray(file.read_bytes())
    content[int(np.random.default_rng(seed).integers(len(content)))] ^= 1
    file.write_bytes(content)
    assert wrong_with(database)[0].startswith("one: ")
    before = setsum(database)
    stores.close()
    with pytest.raises(DataLoss, match="nothing was restored"):
        restore(stores.folder, "one", stores.folder, force=True)
    assert setsum(stores.open()) == before


def test_another_setsum_in_the_manifest_is_found(stores: Stores, database: Database) -> None:
    fill(database, 100)
    made(database)
    manifest = stores.folder / "snapshots" / "one" / "snapshot.json"
    content = json.loads(manifest.read_text())
    content["collections"][0]["setsum"] = "00" * 32
    manifest.write_text(json.dumps(content))
    assert "setsum" in wrong_with(database)[0]


def test_one_moment_of_all_collections(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(copying, "STEP_BYTES", 1 << 15)
    database.create_collection("twin", BARE)
    stop = threading.Event()

    def write() -> None:
        start = 0
        while not stop.is_set():
            for name in ("facts", "twin"):
                database.insert(name, facts(30, start), *vectors(facts(30, start))).result()
            start += 30

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for name in ("one", "two"):
            counts = {held.name: held.entries for held in made(database, name).collections}
            assert counts["facts"] - counts["twin"] in (0, 30)
            assert wrong_with(database, name) == ()
    finally:
        stop.set()
        thread.join()
