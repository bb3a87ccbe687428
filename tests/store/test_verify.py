"""Verify tells each kind of damage; a fetch or a read that meets a damaged record says which."""

import os
import time
from collections.abc import Callable
from dataclasses import replace

import lmdb
import numpy as np
import pytest
from worlds import MAP_BYTES, Stores, damage, facts, vectors

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.engine.database import Database
from atlasdb.engine.read import EntryFields
from atlasdb_contract.errors import DataLoss, InvalidArgument
from atlasdb_contract.types import Triple

Load = Callable[..., tuple[int, ...]]
TABLES = ("entries", "values", "index", "postings", "nodes", "tombstones")


@pytest.fixture
def broken(stores: Stores, database: Database, load: Load) -> Callable[[str, Callable[[lmdb.Cursor], None]], Database]:
    """A built store with something done to one of its tables while it was closed."""
    load(facts(200))
    database.build("facts")
    load(facts(220))
    database.delete("facts", [7, 210]).result()
    stores.sound = False

    def broken(table: str, change: Callable[[lmdb.Cursor], None]) -> Database:
        stores.close()
        with lmdb.open(os.fspath(stores.folder / "atlas.mdb"), subdir=False, max_dbs=9, map_size=MAP_BYTES) as env:
            db = env.open_db(f"00000001/{table}".encode())
            with env.begin(db, write=True) as txn, txn.cursor() as cursor:
                assert cursor.first()
                change(cursor)
        return stores.open()

    return broken


def flip(cursor: lmdb.Cursor) -> None:
    """One bit in the middle of the record."""
    record = bytearray(cursor.value())
    record[len(record) // 2] ^= 1
    cursor.put(cursor.key(), bytes(record))


@pytest.mark.parametrize("table", TABLES)
def test_a_flipped_bit_is_told_with_its_table(broken: Callable[..., Database], table: str) -> None:
    sentences = damage(broken(table, flip))
    assert any(f"a record of the table {table} fails its checksum: key " in sentence for sentence in sentences)


def test_reads_that_meet_damage_name_it_and_others_go_on(broken: Callable[..., Database]) -> None:
    database = broken("entries", flip)
    named, found = [], 0
    for number in range(1, 221):
        try:
            found += len(database.get("facts", [number]))
        except DataLoss as error:
            named.append(str(error))
            assert f"the entry {number} fails its checksum" in named[-1]
    assert (len(named), found) == (1, 217)


def flip_a_key(cursor: lmdb.Cursor) -> None:
    """One bit of a key in a tree."""
    assert cursor.last()
    record = bytearray(cursor.value())
    count, entries = matrices.slot_counts(16, cursor.key(), bytes(record))
    record[matrices.slot_offsets(count, entries).keys + 16 * count - 5] ^= 1
    cursor.put(cursor.key(), bytes(record))


@pytest.mark.parametrize("exact", [False, True])
def test_a_fetch_hands_out_no_damaged_slot(broken: Callable[..., Database], exact: bool) -> None:
    database = broken("postings", flip_a_key)
    keys, _ = vectors(facts(200))
    missed = set()
    for position in range(200):
        block = database.fetch("facts", keys.take([position]), 3, exact=exact)
        assert len(block.ids) == 3
        if position + 1 not in block.ids and position + 1 != 7:
            missed.add(position + 1)
    assert len(missed) == 1
    assert block.cost.entries_out == 1
    [one] = database.stats().collections
    assert one.entries_out == 1
    assert any("damaged, and left out of fetches: postings: generation 1" in told for told in one.damage)


def test_what_is_left_out_is_known_after_a_restart(broken: Callable[..., Database], stores: Stores) -> None:
    database = broken("postings", flip_a_key)
    keys, _ = vectors(facts(200))
    for position in range(200):
        database.fetch("facts", keys.take([position]), 3)
    before = database.stats().collections[0].damage
    after = stores.open().stats().collections[0]
    assert (after.damage, after.entries_out) == (before, 1)


def flip_a_value(cursor: lmdb.Cursor) -> None:
    """One bit of a vector."""
    record = bytearray(cursor.value())
    record[matrices.value_offsets(7).vectors + 3] ^= 4
    cursor.put(cursor.key(), bytes(record))


def test_entries_of_a_damaged_value_are_left_out(broken: Callable[..., Database]) -> None:
    database = broken("values", flip_a_value)
    keys, _ = vectors(facts(220))
    of_it = {i + 1 for i in range(0, 220, 7)} - {7, 210}
    for position in range(0, 220, 5):
        block = database.fetch("facts", keys.take([position]), 4096)
        assert set(block.ids.tolist()) == set(range(1, 221)) - {7, 210} - of_it
        assert block.cost.entries_out == len(of_it)


def test_a_build_makes_sound_trees_where_nodes_are_damaged(broken: Callable[..., Database]) -> None:
    database = broken("nodes", flip)
    assert damage(database) != []
    database.build("facts")
    assert damage(database) == []
    keys, _ = vectors(facts(1))
    assert len(database.fetch("facts", keys, 4096).ids) == 218


def test_a_build_that_meets_a_damaged_slot_names_it_and_changes_nothing(broken: Callable[..., Database]) -> None:
    database = broken("postings", flip_a_key)
    before = damage(database)
    with pytest.raises(DataLoss, match="table postings fails its checksum: key generation 1, slot 0"):
        database.build("facts")
    assert damage(database) == before


def test_a_damaged_value_does_not_stop_inserts(broken: Callable[..., Database]) -> None:
    database = broken("values", flip)
    new = [Triple(f"new {i}", "relation", f"tail never seen {i}") for i in range(5)]
    keys, values = vectors(new)
    ids = database.insert("facts", new, keys, values).result().ids
    found = database.get("facts", ids, EntryFields(values=True))
    assert [entry.value.data.tolist() for entry in found if entry.value] == [row[None].tolist() for row in values.data]


def test_a_damaged_value_is_named(broken: Callable[..., Database]) -> None:
    database = broken("values", flip_a_value)
    with pytest.raises(DataLoss, match=r"the value \d is missing or fails its checksum"):
        database.get("facts", range(1, 7), EntryFields(values=True))


@pytest.mark.parametrize(
    ("table", "told"),
    [
        (
            "entries",
            ["the registry counts 218 entries; there are 0", "slots of postings without an entry: "],
        ),
        ("values", ["entries without their value: "]),
        ("index", ["entries that the index of triples lacks: "]),
        ("postings", ["entries in no posting: "]),
        ("tombstones", ["the registry counts 2 tombstones; there are 0"]),
    ],
)
def test_a_missing_record_is_told(broken: Callable[..., Database], table: str, told: list[str]) -> None:
    sentences = damage(broken(table, lambda cursor: cursor.delete()))
    for part in told:
        assert any(part in sentence for sentence in sentences), sentences


def test_a_slot_that_differs_from_its_entry_is_told(broken: Callable[..., Database]) -> None:
    def change(cursor: lmdb.Cursor) -> None:
        key = cursor.key()
        slots = matrices.open_slots(16, key, cursor.value())
        moved = replace(slots, value_ids=np.roll(slots.value_ids, 1))
        cursor.put(key, bytes(matrices.seal_slots(key, moved)))

    assert any("entries that differ from their slot" in sentence for sentence in damage(broken("postings", change)))


def test_an_unsound_tree_is_told(broken: Callable[..., Database]) -> None:
    def change(cursor: lmdb.Cursor) -> None:
        assert cursor.set_range(fmt.NODE_KEY.pack(1, fmt.Level.INTER, 0))
        key = cursor.key()
        nodes, vectors = matrices.open_nodes(16, key, cursor.value())
        nodes = nodes.copy()
        nodes["links"] += 60_000
        cursor.put(key, bytes(matrices.seal_nodes(key, nodes, vectors)))

    assert damage(broken("nodes", change)) != []


def test_a_place_that_leads_elsewhere_is_told(broken: Callable[..., Database]) -> None:
    def change(cursor: lmdb.Cursor) -> None:
        key = fmt.NODE_KEY.pack(1, fmt.Level.PLACES, 0)
        assert cursor.set_key(key)
        places = matrices.open_places(key, cursor.value()).copy()
        places[[3, 9]] = places[[9, 3]]
        cursor.put(key, matrices.seal_places(key, places))

    told = damage(broken("nodes", change))
    assert any("entries of generation 1 that its places lead elsewhere: 2, with the ids 4, 10" in one for one in told)


def test_a_verification_that_was_cut_off_goes_on_and_finds_the_same(broken: Callable[..., Database]) -> None:
    database = broken("postings", flip_a_key)
    whole = damage(database)
    steps = list(database.verify())
    assert whole
    for cut in range(1, len(steps)):
        before = [sentence for _, step in steps[:cut] for sentence in step.damage]
        cursor = steps[cut - 1][1].cursor
        after = [sentence for _, step in database.verify(cursor=cursor) for sentence in step.damage]
        assert {*before, *after} == set(whole)


def test_a_verification_reads_no_faster_than_asked(database: Database, load: Load) -> None:
    load(facts(600))
    began = time.monotonic()
    assert [sentence for _, step in database.verify(bytes_per_second=200_000) for sentence in step.damage] == []
    assert time.monotonic() - began > 0.2
    with pytest.raises(InvalidArgument, match="would never end"):
        list(database.verify(bytes_per_second=1))


def test_what_is_no_cursor_is_refused(database: Database) -> None:
    for cursor in (b"x", b"\x92\xa1a\xc4\x01\x00", b"\xc0"):
        with pytest.raises(InvalidArgument, match="no cursor of a verification"):
            list(database.verify(cursor=cursor))


def test_inserts_deletes_and_builds_beside_a_verification_are_no_damage(database: Database, load: Load) -> None:
    load(facts(2000))
    database.build("facts")
    steps = database.verify()
    sentences = []
    for number, (_, step) in enumerate(steps):
        sentences += step.damage
        load(facts(10, start=2000 + 10 * number))
        database.delete("facts", [number * 3 + 1]).result()
        if number in (3, 6):
            database.build("facts")
    assert sentences == []
