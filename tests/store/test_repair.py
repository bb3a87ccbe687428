"""Repair puts right what parity, texts or other records say; what nobody can know it names, and drops nothing."""

import os
from collections.abc import Callable
from pathlib import Path

import lmdb
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from worlds import BARE, MAP_BYTES, Stores, damage, facts, vectors

from atlasdb import format as fmt
from atlasdb import matrices, parity
from atlasdb.engine.database import Database
from atlasdb.engine.read import EntryFields
from atlasdb_contract.types import CollectionConfig, Triple

WHOLE = EntryFields(texts=True, keys=True, values=True)


def content(database: Database, name: str = "facts") -> list[tuple[object, ...]]:
    """All that a collection holds."""
    found = []
    for chunk in database.scan(name, fields=WHOLE):
        for entry in chunk:
            assert entry.key
            assert entry.value
            vectors = (entry.key.data.tobytes(), entry.value.data.tobytes())
            found.append((entry.id, entry.triple.identity, entry.inverse, *vectors))
    return found


def change(folder: Path, table: str, how: Callable[[bytearray], None], at: bytes = b"", collection: int = 1) -> None:
    """Do something to the first record of a closed store's table from the key `at` on, where it lies."""
    with lmdb.open(os.fspath(folder / "atlas.mdb"), subdir=False, max_dbs=20, map_size=MAP_BYTES) as env:
        db = env.open_db(f"{collection:08x}/{table}".encode())
        with env.begin(db, write=True) as txn, txn.cursor() as cursor:
            assert cursor.set_range(at)
            record = bytearray(cursor.value())
            how(record)
            cursor.put(cursor.key(), bytes(record))


def repaired(database: Database, dry_run: bool = False) -> tuple[list[str], list[str]]:
    steps = [step for _, step in database.repair(dry_run=dry_run)]
    return [s for step in steps for s in step.restored], [s for step in steps for s in step.lost]


@pytest.fixture
def filled(stores: Stores) -> Stores:
    """Vectors that came from a client, a tree and a delta; nobody can make a key of it again."""
    database = stores.open()
    database.create_collection("facts", BARE)
    for some in (facts(900), facts(1200)):
        database.insert("facts", some, *vectors(some)).result()
        if len(some) == 900:
            database.build("facts")
    database.delete("facts", [5, 77, 1100]).result()
    return stores


@pytest.mark.parametrize("at", [0.0, 0.3, 0.7, 0.99])
@pytest.mark.parametrize("table", ["entries", "values", "postings", "nodes"])
def test_one_short_run_of_damage_is_put_right_to_the_bit(filled: Stores, table: str, at: float) -> None:
    before, stats = content(filled.open()), filled.open().stats().collections[0]
    filled.close()

    def spoil(record: bytearray) -> None:
        start = int(at * (len(record) - 8))
        record[start : start + 8] = bytes(byte ^ 0x5A for byte in record[start : start + 8])

    change(filled.folder, table, spoil)
    database = filled.open()
    assert damage(database) != []
    told = repaired(database, dry_run=True)
    assert damage(database) != []
    assert repaired(database) == told
    assert (len(told[0]), told[1]) == (1, [])
    assert damage(database) == []
    assert content(database) == before
    after = database.stats().collections[0]
    assert (after.setsum, after.damage) == (stats.setsum, ())
    assert damage(filled.open()) == []


def spoil_all_over(record: bytearray) -> None:
    for at in range(40, len(record), 97):
        record[at] ^= 0xFF


def test_an_exact_fetch_tells_of_a_damaged_slot_that_looks_worse_than_it_is(filled: Stores) -> None:
    filled.sound = False
    filled.close()

    def spoil(record: bytearray) -> None:
        at = matrices.slot_offsets(300, 300).keys
        record[at + 16 * 3 : at + 16 * 4] = bytes(16)

    change(filled.folder, "postings", spoil, fmt.POSTING_KEY.pack(0, 0))
    database = filled.open()
    row = vectors(facts(1, 903))[0]
    block = database.fetch("facts", row, 1, exact=True)
    assert block.ids.tolist() != [904]
    assert block.cost.entries_out == 1
    assert len(database.stats().collections[0].damage) == 1


def test_what_nobody_can_know_is_named_and_stays(filled: Stores) -> None:
    filled.sound = False
    filled.close()
    first = fmt.POSTING_KEY.pack(0, 0)
    count = 300

    def spoil(record: bytearray) -> None:
        at = matrices.slot_offsets(count, count).keys
        for row in (3, 50, 200):
            record[at + 16 * row] ^= 1

    change(filled.folder, "postings", spoil, first)
    database = filled.open()
    restored, lost = repaired(database)
    assert restored == []
    assert [told.split(": ", 3)[3] for told in lost] == [
        "the key of entry 904: head 301 | relation 0 | tail 0",
        "the key of entry 951: head 316 | relation 2 | tail 5",
        "the key of entry 1101: head 366 | relation 2 | tail 1",
    ]
    assert database.count("facts") == 1197
    assert repaired(database) == (restored, lost)


@pytest.mark.parametrize("table", ["postings", "values"])
def test_vectors_are_made_again_from_their_texts(stores: Stores, table: str) -> None:
    database = stores.open()
    database.create_collection("people", CollectionConfig(encoder="hash", inverse="all"))
    database.insert("people", facts(120)).result()
    database.build("people")
    before, setsum = content(database, "people"), database.stats().collections[0].setsum
    stores.close()

    def spoil(record: bytearray) -> None:
        if table == "values":
            at, rows = matrices.value_offsets(matrices.value_count(16, b"", record)).vectors, 40
        else:
            at, rows = matrices.slot_offsets(*matrices.slot_counts(16, b"", record)).keys, 60
        for row in range(0, rows, 3):
            record[at + 16 * row] ^= 1

    change(stores.folder, table, spoil)
    database = stores.open()
    assert damage(database) != []
    restored, lost = repaired(database)
    assert (len(restored), lost) == (1, [])
    assert "made again from their texts" in restored[0]
    assert content(database, "people") == before
    assert database.stats().collections[0].setsum == setsum


@pytest.mark.parametrize("table", ["index", "nodes"])
def test_what_is_made_of_others_is_made_again(filled: Stores, table: str) -> None:
    before = content(filled.open())
    filled.close()
    change(filled.folder, table, spoil_all_over)
    database = filled.open()
    restored, lost = repaired(database)
    assert (len(restored), lost) == (1, [])
    assert damage(database) == []
    assert content(database) == before
    new = [*facts(1200), Triple("new", "relation", "tail 1")]
    assert database.insert("facts", new, *vectors(new)).result().created == 1 + 3


@given(st.integers(16, 5000), st.data())
def test_any_run_no_longer_than_a_chunk_is_restored(size: int, data: st.DataObject) -> None:
    body = np.random.default_rng(size).bytes(size)
    key, record = b"key", bytearray(parity.whole(size))
    record[parity.CHECK : size] = body[parity.CHECK :]
    sealed = bytes(parity.seal(key, record, size))
    assert len(sealed) <= 1.084 * size + 64
    length = parity.chunk(size)
    at = data.draw(st.integers(0, len(sealed) - 1))
    run = data.draw(st.binary(min_size=1, max_size=length))[: len(sealed) - at]
    broken = bytearray(sealed)
    broken[at : at + len(run)] = run
    assert parity.restored(key, broken) == sealed


def test_a_page_of_a_long_record_that_was_overwritten_is_restored() -> None:
    size = 1_700_000
    record = bytearray(parity.whole(size))
    record[parity.CHECK : size] = np.random.default_rng(0).bytes(size - parity.CHECK)
    sealed = bytes(parity.seal(b"key", record, size))
    assert len(sealed) < 1.01 * size
    for page in (0, 1, 200, len(sealed) // 4096 - 1, (len(sealed) + 16) // 4096):
        broken, start = bytearray(sealed), max(0, page * 4096 - 16)
        broken[start : page * 4096 + 4080] = bytes(len(broken[start : page * 4096 + 4080]))
        assert parity.restored(b"key", broken) == sealed
