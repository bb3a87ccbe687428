import os
import struct
import subprocess
import sys
from pathlib import Path

import lmdb
import pytest
from worlds import MAP_BYTES, Stores, facts, vectors

from atlasdb import format as fmt
from atlasdb.engine.database import Database
from atlasdb_contract.errors import DataLoss, FailedPrecondition, Unavailable


def rewrite(folder: Path, key: bytes, record: bytes, table: bytes | None = None) -> None:
    """Overwrite a record of a closed store."""
    with lmdb.open(os.fspath(folder / "atlas.mdb"), subdir=False, max_dbs=16, map_size=MAP_BYTES) as env:
        db = env.open_db(table) if table else None
        with env.begin(write=True) as txn:
            txn.put(key, record, db=db)
            if key == fmt.FORMAT_KEY:
                txn.delete(fmt.COPY_PREFIX + key)


def format_record(magic: bytes, version: int, features: int) -> bytes:
    return fmt.seal(fmt.FORMAT_KEY, struct.pack("<8sII", magic, version, features))


def test_a_second_opener_is_refused_naming_the_first(stores: Stores) -> None:
    stores.open()
    code = (
        "import pathlib, sys; from atlasdb.store.environment import Environment\n"
        "Environment(pathlib.Path(sys.argv[1]), 1 << 30)"
    )
    command = [sys.executable, "-c", code, os.fspath(stores.folder)]
    second = subprocess.run(command, capture_output=True, text=True, check=False)
    assert f"FailedPrecondition: {stores.folder} is in use by the server with pid {os.getpid()}" in second.stderr
    with pytest.raises(FailedPrecondition, match=f"pid {os.getpid()}"):
        Database.open(stores.folder)


def test_the_folder_is_free_again_after_close(stores: Stores) -> None:
    for _ in range(3):
        stores.open()


def test_a_closed_store_says_so(database: Database) -> None:
    database.close()
    database.close()
    with pytest.raises(Unavailable, match="closed"):
        database.count("facts")
    with pytest.raises(Unavailable, match="closed"):
        database.insert("facts", facts(1), *vectors(facts(1))).result()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (format_record(fmt.MAGIC, 77, 0), "format version 77; this atlasdb reads version 2"),
        (format_record(fmt.MAGIC, fmt.VERSION, 6), "features 0x6, unknown"),
        (format_record(b"OTHERDB", 1, 0), "not an atlasdb store"),
        (b"", "not an atlasdb store"),
    ],
)
def test_an_unknown_format_is_refused_by_name(stores: Stores, record: bytes, message: str) -> None:
    stores.open()
    stores.close()
    stores.sound = False
    rewrite(stores.folder, fmt.FORMAT_KEY, record)
    with pytest.raises(FailedPrecondition, match=message):
        stores.open()


def test_another_programs_lmdb_file_is_left_alone(stores: Stores) -> None:
    stores.sound = False
    stores.folder.mkdir()
    rewrite(stores.folder, b"theirs", b"data")
    with pytest.raises(FailedPrecondition, match="not an atlasdb store"):
        stores.open()


def test_a_file_that_is_not_lmdb_is_refused(stores: Stores) -> None:
    stores.sound = False
    stores.folder.mkdir()
    (stores.folder / "atlas.mdb").write_bytes(b"garbage" * 4096)
    with pytest.raises(FailedPrecondition, match="not an LMDB file"):
        stores.open()


def test_a_file_cut_short_is_refused(stores: Stores, database: Database) -> None:
    """LMDB would map it and the process die of SIGBUS."""
    database.insert("facts", facts(500), *vectors(facts(500))).result()
    stores.close()
    stores.sound = False
    file = stores.folder / "atlas.mdb"
    os.truncate(file, file.stat().st_size // 2)
    with pytest.raises(DataLoss, match="is cut short"):
        stores.open()


def test_a_folder_that_can_not_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FailedPrecondition, match="can't be used: Not a directory"):
        Database.open(tmp_path / "file" / "data")


def test_a_map_that_the_machine_refuses_is_halved(tmp_path: Path) -> None:
    code = (
        "import pathlib, resource, sys; resource.setrlimit(resource.RLIMIT_AS, (64 << 30, 64 << 30))\n"
        "from atlasdb.store.environment import Environment\n"
        "opened = Environment(pathlib.Path(sys.argv[1]), 1 << 40); print(opened.map_bytes); opened.close()"
    )
    command = [sys.executable, "-c", code, os.fspath(tmp_path)]
    out = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert 1 << 30 <= int(out) < 64 << 30
