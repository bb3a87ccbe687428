"""The harness sees what it looks for: entries lost and come back, steps out of order, writes that were not synced."""

import pickle
from pathlib import Path

import numpy as np
import pytest

from atlasdb.engine.database import Database

from .ledger import CONFIG, MAIN, MAP_BYTES, Create, Delete, Insert, Ledger, Step, triple, vectors
from .recording import MODES, SECTOR, Disk, FolderSynced, Mark, Named, Synced, Write, events

STEPS: list[Step] = [Create(MAIN), Insert(MAIN, (1, 2, 3)), Delete(MAIN, (2,)), Insert(MAIN, (4,)), Delete(MAIN, (4,))]


def taken(database: Database, steps: list[Step]) -> None:
    """Do steps to a store."""
    for step in steps:
        match step:
            case Create(name):
                database.create_collection(name, CONFIG)
            case Insert(name, facts):
                database.insert(name, [triple(fact) for fact in facts], *vectors(facts)).result()
            case Delete(name, ids):
                database.delete(name, ids).result()


@pytest.mark.parametrize("acknowledged", range(len(STEPS) + 1))
@pytest.mark.parametrize("done", range(len(STEPS) + 1))
def test_a_store_is_right_with_what_was_acknowledged_and_perhaps_what_follows(
    tmp_path: Path, done: int, acknowledged: int
) -> None:
    ledger = Ledger()
    for step in STEPS[:acknowledged]:
        ledger.apply(step)
    with Database.open(tmp_path, MAP_BYTES) as database:
        taken(database, STEPS[:done])
        problems = ledger.adopt(database, STEPS[acknowledged:])
    assert (problems == []) == (done >= acknowledged), problems


def test_steps_are_not_taken_out_of_order(tmp_path: Path) -> None:
    ledger = Ledger()
    for step in STEPS[:2]:
        ledger.apply(step)
    with Database.open(tmp_path, MAP_BYTES) as database:
        taken(database, [*STEPS[:2], STEPS[3]])
        assert ledger.adopt(database, STEPS[2:]) != []


def test_what_was_never_put_in_is_told(tmp_path: Path) -> None:
    ledger = Ledger()
    for step in STEPS[:2]:
        ledger.apply(step)
    with Database.open(tmp_path, MAP_BYTES) as database:
        taken(database, STEPS[:1])
        database.insert(MAIN, [triple(1), triple(2), triple(3)], *vectors([1, 2, 30])).result()
        assert "has vectors that are not those of its triple" in ledger.adopt(database, [])[0]


def test_only_what_was_synced_is_sure() -> None:
    disk = Disk()
    one, two = Write(0, 0, b"a" * 2 * SECTOR), Write(0, 3 * SECTOR - 7, b"b" * SECTOR)
    for event in (Named((("f", 0),)), FolderSynced(), one, Synced(0, None), two):
        disk.take(event)
    seen: dict[str, set[bytes]] = {mode: set() for mode in MODES}
    for seed in range(40):
        for mode in MODES:
            image = bytes(disk.image(mode, np.random.default_rng(seed))["f"])
            assert image[: 2 * SECTOR] == one.data
            seen[mode].add(image[2 * SECTOR :].replace(b"\0", b""))
    assert seen["dropped"] == {b""}
    assert seen["all"] == {two.data}
    assert seen["some writes"] == {b"", two.data}
    assert seen["torn"] == {b"", b"b" * 7, b"b" * (SECTOR - 7), two.data}
    disk.take(Synced(0, two))
    assert bytes(disk.image("dropped", np.random.default_rng(0))["f"])[-SECTOR:] == two.data


def test_a_name_is_sure_when_its_folder_was_synced() -> None:
    disk = Disk()
    for number, name in enumerate(["f", "g"]):
        disk.take(Named(((name, number),)))
        disk.take(Write(number, 0, name.encode()))
        disk.take(Synced(number, None))
    disk.take(FolderSynced())
    before, after = {"f": b"f", "g": b"g"}, {"f": b"g"}
    disk.take(Named((("g", None), ("f", 1))))
    images = {mode: [disk.image(mode, np.random.default_rng(seed)) for seed in range(20)] for mode in MODES}
    assert all(image == before for image in images["dropped"])
    assert all(image == after for image in images["all"])
    for mode in ("some writes", "torn"):
        assert before in images[mode]
        assert after in images[mode]
        assert all(image in (before, after) for image in images[mode])
    disk.take(FolderSynced())
    assert disk.image("dropped", np.random.default_rng(0)) == after


def escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


def test_a_recording_is_read_in_order_with_calls_that_others_interrupt(tmp_path: Path) -> None:
    file, new, marks, lock = b"/s/atlas.mdb", b"/s/atlas.mdb.new", b"/s/marks", b"/s/atlas.mdb-lock"
    mark = escaped(pickle.dumps(("ack",)))
    lines = [
        f'1 openat(AT_FDCWD<{escaped(b"/")}>, "{escaped(new)}", O_RDWR|O_CREAT, 0644) = 7<{escaped(new)}>',
        f'1 openat(AT_FDCWD<{escaped(b"/")}>, "{escaped(lock)}", O_RDWR|O_CREAT, 0644) = 9<{escaped(lock)}>',
        f'1 rename("{escaped(new)}", "{escaped(file)}") = 0',
        f"1 fsync(5<{escaped(b'/s')}>) = 0",
        f'1 openat(AT_FDCWD<{escaped(b"/")}>, "{escaped(file)}", O_WRONLY|O_DSYNC) = 8<{escaped(file)}>',
        f"2 lseek(7<{escaped(file)}>, 4096, SEEK_SET) = 4096",
        f'2 writev(7<{escaped(file)}>, [{{iov_base="{escaped(b"ab")}", iov_len=2}}, '
        f'{{iov_base="{escaped(b"c")}", iov_len=1}}], 2 <unfinished ...>',
        f'1 write(3<{escaped(marks)}>, "{mark}", 20) = 20',
        "2 <... writev resumed>) = 3",
        f"2 fdatasync(7<{escaped(file)}> <unfinished ...>",
        f'1 write(3<{escaped(marks)}>, "{mark}", 20) = 20',
        "2 <... fdatasync resumed>) = 0",
        f'2 pwrite64(8<{escaped(file)}>, "{escaped(b"meta")}", 4, 32 <unfinished ...>',
        f'1 write(3<{escaped(marks)}>, "{mark}", 20) = 20',
        "2 <... pwrite64 resumed>) = 4",
        f'1 openat(AT_FDCWD<{escaped(b"/")}>, "{escaped(new)}", O_RDWR|O_CREAT, 0644) = 4<{escaped(new)}>',
        f'1 unlink("{escaped(new)}") = -1 EACCES (Permission denied)',
        f'1 unlink("{escaped(new)}") = 0',
    ]
    log = tmp_path / "log"
    log.write_text("\n".join(lines) + "\n")
    acked, meta = Mark(("ack",)), Write(0, 32, b"meta")
    assert events(log, Path("/s"), "atlas.mdb", Path(marks.decode())) == [
        Named((("atlas.mdb.new", 0),)),
        Named((("atlas.mdb.new", None), ("atlas.mdb", 0))),
        FolderSynced(),
        Write(0, 4096, b"abc"),
        acked,
        acked,
        Synced(0, None),
        meta,
        acked,
        Synced(0, meta),
        Named((("atlas.mdb.new", 1),)),
        Named((("atlas.mdb.new", None),)),
    ]
