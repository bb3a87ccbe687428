"""A folder read beside its owner: each view has what was committed before it, collections come and go."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving import Connector, Spawner, Wire, random_vectors, triple

from atlasdb.engine.database import Database
from atlasdb.store import reading
from atlasdb.store.opened import TABLES
from atlasdb_contract.errors import FailedPrecondition, NotFound
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import knowledge_pb2 as kpb

MAP_BYTES = 1 << 30


@pytest.fixture
def owner(tmp_path: Path, spawn: Spawner, connect: Connector) -> Wire:
    """A server on the folder: LMDB wants the owner in another process."""
    return connect(spawn(tmp_path, "--map-bytes", str(MAP_BYTES), "--encoder-workers", "1").address)


@pytest.fixture
def reader(tmp_path: Path, owner: Wire) -> Iterator[Database]:
    with Database.read(tmp_path, MAP_BYTES) as database:
        yield database


def drop(owner: Wire, name: str) -> None:
    owner.knowledge.DropCollection(kpb.DropCollectionRequest(name=name))


def test_what_was_acked_is_in_the_next_fetch(owner: Wire, reader: Database) -> None:
    owner.create()
    keys = owner.fill(200)
    assert 1 in reader.fetch("facts", keys.take(slice(0, 1)), 4, exact=True).ids.tolist()
    assert reader.count("facts") == 200
    list(owner.admin.Build(apb.BuildRequest(collection="facts")))
    assert reader.fetch("facts", keys.take(slice(7, 8)), 1).ids.tolist() == [8]
    owner.knowledge.Delete(kpb.DeleteRequest(collection="facts", ids=[8]))
    block = reader.fetch("facts", keys.take(slice(7, 8)), 1)
    assert (block.generation, 8 in block.ids.tolist()) == (1, False)


def test_collections_are_found_and_lost(owner: Wire, reader: Database) -> None:
    with pytest.raises(NotFound):
        reader.count("facts")
    for turn in range(3):
        owner.create()
        owner.fill(10 + turn)
        assert reader.count("facts") == len(reader.get("facts", range(1, 100))) == 10 + turn
        drop(owner, "facts")
        with pytest.raises(NotFound):
            reader.fetch("facts", random_vectors(1), 1)


def test_a_reader_lets_go_of_dropped_collections(
    owner: Wire, reader: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "GONE_LIMIT", 3)
    environment = reader._engine.store.environment
    assert isinstance(environment, reading.ReadingEnvironment)
    owner.create("stays")
    keys = owner.fill(3000, "stays")
    list(owner.admin.Build(apb.BuildRequest(collection="stays")))
    held = []
    for turn in range(12):
        owner.create(f"passes-{turn}")
        assert reader.count(f"passes-{turn}") == 0
        wanted = 100 * turn
        assert reader.fetch("stays", keys.take(slice(wanted, wanted + 1)), 1).ids.tolist() == [wanted + 1]
        assert len(environment.known()) <= 3 + 2
        held.append(np.zeros(100_000))  # the map finds another place
        drop(owner, f"passes-{turn}")


def test_fetches_go_on_while_collections_come_and_go(
    owner: Wire, reader: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "GONE_LIMIT", 1)
    owner.create("stays")
    keys = owner.fill(100, "stays")
    done = threading.Event()
    wrong: list[object] = []

    def fetch_on() -> None:
        while not done.is_set():
            try:
                if (ids := reader.fetch("stays", keys.take(slice(5, 6)), 1, exact=True).ids.tolist()) != [6]:
                    wrong.append(ids)
                for name in ("passes-0", "passes-1"):
                    try:
                        reader.fetch(name, random_vectors(1), 1, exact=True)
                    except NotFound:
                        continue
            except Exception as error:  # noqa: BLE001 - looked at below
                wrong.append(error)

    threads = [threading.Thread(target=fetch_on) for _ in range(4)]
    for thread in threads:
        thread.start()
    for turn in range(20):
        name = f"passes-{turn % 2}"
        owner.create(name)
        owner.fill(5, name)
        drop(owner, name)
    done.set()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_reader_writes_nothing(owner: Wire, reader: Database, tmp_path: Path) -> None:
    owner.create()
    owner.fill(3)
    with pytest.raises(FailedPrecondition, match="only reads"):
        reader.drop_collection("facts")
    one = random_vectors(1)
    with pytest.raises(FailedPrecondition, match="only reads"):
        reader.insert("facts", [triple(9)], one, one).result()  # type: ignore[list-item]
    with pytest.raises(FailedPrecondition, match="only reads"):
        reader.build("facts")
    assert reader.stats("facts").collections[0].entries == 3
    assert len(TABLES) == len(reader.stats("facts").collections[0].table_bytes)


def test_a_killed_reader_holds_no_page_back(tmp_path: Path) -> None:
    """Once its owner is told: LMDB's table of readers has it no more."""
    program = (
        "import sys, time; from pathlib import Path; from atlasdb.engine.database import Database\n"
        f"database = Database.read(Path({str(tmp_path)!r}), {MAP_BYTES})\n"
        "with database._engine.store.environment.reading(): print('reads', flush=True); time.sleep(60)"
    )
    with Database.open(tmp_path, MAP_BYTES) as database:
        lmdb = database._engine.store.environment._lmdb
        with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "reads\n"
            assert str(process.pid) in lmdb.readers()
            process.kill()
        database.clear_dead_readers()
        assert str(process.pid) not in lmdb.readers()


def test_a_folder_without_a_store_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path, tmp_path / "missing"):
        with pytest.raises(FailedPrecondition, match="no store"):
            Database.read(path)
    assert list(tmp_path.iterdir()) == []


def test_a_view_keeps_its_moment(owner: Wire, reader: Database) -> None:
    """Also where its collection is dropped under it."""
    owner.create()
    keys = owner.fill(50)
    with reader._engine.store.view("facts") as view:
        drop(owner, "facts")
        owner.create("other")
        owner.fill(2000, "other", seed=1)
        assert view.record.entries == 50
        ids = np.arange(1, 51, dtype=np.uint64)
        entries = view.entries(ids)
        assert [entry.id for entry in entries] == list(range(1, 51))
        assert (view.keys(ids).data == keys.data).all()


def test_a_reader_follows_to_a_compacted_file(tmp_path: Path, owner: Wire, reader: Database) -> None:
    """At its next view; one that is open stays with the old file."""
    owner.create()
    keys = owner.fill(5000)
    for turn in range(3):
        with reader._engine.store.view("facts") as view:
            entries = view.record.entries
            owner.knowledge.Delete(
                kpb.DeleteRequest(collection="facts", ids=range(1 + 1000 * turn, 1001 + 1000 * turn))
            )
            list(owner.admin.Compact(apb.CompactRequest()))
            assert reader.count("facts") == entries - 1000
            assert view.keys(np.arange(4001, 5001, dtype=np.uint64)).data.tobytes() == keys.data[4000:].tobytes()
        wanted = 4000 + turn
        assert reader.fetch("facts", keys.take(slice(wanted, wanted + 1)), 1).ids.tolist() == [wanted + 1]
    owner.create("new")
    owner.fill(10, "new", seed=1)
    assert reader.count("new") == 10
    assert sorted(path.name for path in tmp_path.glob("atlas.mdb*")) == ["atlas.mdb", "atlas.mdb-lock"]


def test_reading_goes_on_while_files_are_swapped(owner: Wire, reader: Database) -> None:
    owner.create()
    keys = owner.fill(2000)
    stop, failed, done = threading.Event(), [], [0]

    def read() -> None:
        try:
            while not stop.is_set():
                at = done[0] % 2000
                assert reader.fetch("facts", keys.take(slice(at, at + 1)), 1, exact=True).ids.tolist() == [at + 1]
                done[0] += 1
        except BaseException as error:  # noqa: BLE001
            failed.append(error)

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(8):
        list(owner.admin.Compact(apb.CompactRequest()))
    stop.set()
    for thread in threads:
        thread.join()
    assert failed == []
    assert done[0] > 8
