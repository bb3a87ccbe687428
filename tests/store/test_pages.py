"""The file's structure: damage that LMDB would crash on, or follow in silence, is named before LMDB opens the file;
what belongs to one collection stops no other."""

from pathlib import Path

import lmdb
import numpy as np
import pytest
from worlds import BARE, Stores, facts, vectors

from atlasdb.engine.database import Database
from atlasdb.store import pages
from atlasdb.store.errors import mapped_errors
from atlasdb_contract.errors import DataLoss

PAGE = pages.BYTES


@pytest.fixture
def closed(stores: Stores) -> Path:
    """The file of a store with two collections, trees, deltas and freed pages."""
    database = stores.open()
    for name in ("one", "two"):
        database.create_collection(name, BARE)
        for stop in (300, 700):
            database.insert(name, facts(stop), *vectors(facts(stop))).result()
            database.build(name)
        database.insert(name, facts(800), *vectors(facts(800))).result()
    stores.close()
    stores.sound = False
    return stores.folder / "atlas.mdb"


def change(file: Path, at: int, content: bytes) -> None:
    with open(file, "r+b") as opened:
        opened.seek(at)
        opened.write(content)


def test_a_sound_file_has_no_fault_and_every_page_is_accounted_for(closed: Path) -> None:
    found = pages.look(closed, keep="00000001/")
    assert (found.faults, found.heads) == ([], {})
    assert set(found.places) >= {"00000001/entries", "00000001/postings"}


def test_a_damaged_table_closes_its_collection_alone(closed: Path, stores: Stores) -> None:
    found = pages.look(closed)
    assert found.faults == []
    change(closed, found.roots["00000002/postings"] * PAGE + 10, b"\x07")
    database = stores.open()
    with pytest.raises(DataLoss, match=r"page \d+ \(table 00000002/postings\).*restore it from a copy"):
        database.count("two")
    with pytest.raises(DataLoss):
        database.insert("two", facts(1), *vectors(facts(1))).result()
    with pytest.raises(DataLoss):
        database.drop_collection("two")
    keys, _ = vectors(facts(800))
    assert len(database.fetch("one", keys.take([3]), 800).ids) == 800
    assert database.insert("one", facts(900), *vectors(facts(900))).result().created == 100
    told = {one.name: one.damage for one in database.stats().collections}
    assert (told["one"], len(told["two"])) == ((), 1)
    assert any("table 00000002/postings" in what for what in sentences(database))


def sentences(database: Database) -> list[str]:
    return [what for _, step in database.verify() for what in step.damage]


def test_a_damaged_record_of_the_registry_is_read_from_its_copy(closed: Path, stores: Stores) -> None:
    content = bytearray(closed.read_bytes())
    at, whole = 0, 0
    while (at := content.find(b"collection/two", at + 1)) >= 0:
        if content[at - 5 : at] != b"copy/":
            content[at + 60] ^= 1
            whole += 1
    assert whole
    closed.write_bytes(content)
    database = stores.open()
    assert (database.count("one"), database.count("two")) == (800, 800)


def test_the_head_of_a_long_record_is_mended(closed: Path, stores: Stores) -> None:
    places = pages.look(closed, keep="00000001/").places["00000001/postings"]
    page = max(place.page for place in places.values())
    change(closed, page * PAGE, bytes(16))
    assert list(pages.look(closed).heads) == [page]
    database = stores.open()
    assert sentences(database) == []
    assert pages.look(closed).heads == {}
    stores.sound = True


@pytest.mark.parametrize("page", [0, 1])
def test_a_damaged_head_of_the_file_is_named(closed: Path, stores: Stores, page: int) -> None:
    change(closed, page * PAGE, bytes(PAGE))
    with pytest.raises(DataLoss, match=f"page {page} is not the head of an LMDB file; restore it from a copy"):
        stores.open()


def test_a_commit_that_was_taken_back_by_a_flipped_bit_is_noticed(closed: Path, stores: Stores) -> None:
    commit = PAGE + 16 + 24 + 2 * 48 + 8
    number = int.from_bytes(closed.read_bytes()[commit : commit + 8], "little")
    change(closed, commit, (number ^ 4).to_bytes(8, "little"))
    with pytest.raises(DataLoss, match="disagree about the last commit"):
        stores.open()


def test_no_flipped_bit_in_a_leaf_goes_unnoticed(closed: Path) -> None:
    """Of the nodes' heads and of the numbers of pages; keys and records have their checksums."""
    leaf = pages.look(closed).roots["00000001/nodes"]
    content = closed.read_bytes()
    memory = content[leaf * PAGE : (leaf + 1) * PAGE]
    lower = int.from_bytes(memory[12:14], "little")
    offsets = np.frombuffer(memory, "<u2", (lower - 16) // 2, 16)
    scratch = closed.with_name("scratch")
    for offset in offsets[:2].tolist():
        size = int.from_bytes(memory[offset + 6 : offset + 8], "little")
        for at in (*range(16), *range(offset, offset + 8), *range(offset + 8 + size, offset + 16 + size)):
            if at in (8, 9) or memory[offset + 4] & 1 == 0:
                continue
            for bit in range(0, 8, 3):
                broken = bytearray(content)
                broken[leaf * PAGE + at] ^= 1 << bit
                scratch.write_bytes(broken)
                found = pages.look(scratch)
                sized = offset <= at < offset + 4
                assert found.faults or found.heads or sized, (at - offset, bit)


def node_of(file: Path, page: int, key: bytes) -> int:
    """Where in the file a page has the node of a key; its data lie behind 8 bytes and the key."""
    memory = file.read_bytes()[page * PAGE : (page + 1) * PAGE]
    for offset in np.frombuffer(memory, "<u2", (int.from_bytes(memory[12:14], "little") - 16) // 2, 16).tolist():
        if memory[offset + 8 :][: len(key)] == key:
            return page * PAGE + int(offset)
    raise AssertionError(key)


def roots(file: Path) -> tuple[int, int]:
    """The first pages of the list of free pages and of the main table."""
    content = file.read_bytes()
    metas = [content[page * PAGE + 16 : page * PAGE + 152] for page in (0, 1)]
    last = max(metas, key=lambda meta: int.from_bytes(meta[128:136], "little"))
    return int.from_bytes(last[64:72], "little"), int.from_bytes(last[112:120], "little")


def test_a_damaged_list_of_free_pages_stops_writes_alone(closed: Path, stores: Stores) -> None:
    free, _ = roots(closed)
    change(closed, free * PAGE + 12, b"\xff\xff")
    database = stores.open()
    keys, _ = vectors(facts(800))
    for name in ("one", "two"):
        assert sorted(database.fetch(name, keys.take([3]), 800, exact=True).ids) == list(range(1, 801))
    for write in (lambda: database.delete("one", [1]).result(), lambda: database.build("two")):
        with pytest.raises(DataLoss, match=rf"nothing can be written: .*: page {free} \(table free pages\)"):
            write()
    assert any(f"page {free} (table free pages)" in what for what in sentences(database))
    assert any(f"page {free} (table free pages)" in what for _, step in database.repair() for what in step.lost)


def test_a_table_that_lost_its_name_closes_its_collection_and_nothing_is_dropped(closed: Path, stores: Stores) -> None:
    _, main = roots(closed)
    at = node_of(closed, main, b"00000002/values") + 8
    change(closed, at, b"00000003/values")
    database = stores.open()
    with pytest.raises(DataLoss, match="the table 00000002/values of a collection is missing"):
        database.count("two")
    assert database.count("one") == 800
    stores.close()
    change(closed, at, b"00000002/values")
    assert stores.open().count("two") == 800


def test_of_two_tables_that_claim_a_page_the_one_that_was_led_astray_is_closed(closed: Path, stores: Stores) -> None:
    found = pages.look(closed, keep="0000000")
    key, *_ = found.places["00000001/entries"]
    theirs = next(iter(found.places["00000002/postings"].values()))
    at = node_of(closed, found.roots["00000001/entries"], key) + 8 + len(key)
    change(closed, at, (theirs.page + 1).to_bytes(8, "little"))
    database = stores.open()
    with pytest.raises(DataLoss, match=f"page {theirs.page + 1} .table 00000001/entries. is to begin a long record"):
        database.count("one")
    keys, _ = vectors(facts(800))
    assert len(database.fetch("two", keys.take([3]), 800).ids) == 800


def test_damage_under_an_open_store_is_kept_from_lmdb_once_it_is_looked_over(closed: Path, stores: Stores) -> None:
    database = stores.open()
    assert database.count("two") == 800
    change(closed, pages.look(closed).roots["00000002/postings"] * PAGE + 10, b"\x07")
    assert any("table 00000002/postings" in what for what in sentences(database))
    with pytest.raises(DataLoss, match="restore it from a copy"):
        database.fetch("two", vectors(facts(1))[0], 3)
    assert database.count("one") == 800


@mapped_errors()
def delete_with_damage() -> None:
    """As py-lmdb's deletes do it: the error lies under a SystemError."""
    raise SystemError("<method 'delete' of 'Cursor' objects>") from lmdb.CorruptedError("Located page was wrong type")


def test_what_lmdb_finds_in_a_delete_is_damage_too() -> None:
    with pytest.raises(DataLoss, match="wrong type"):
        delete_with_damage()
