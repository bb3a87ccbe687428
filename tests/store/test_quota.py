"""What a collection may hold: nothing beyond it comes in, and nothing else is touched."""

import pytest
from worlds import BARE, Stores, facts, vectors

from atlasdb.engine.database import Database
from atlasdb_contract.errors import InvalidArgument, NotFound, ResourceExhausted
from atlasdb_contract.types import InsertAck, Quota


def insert(database: Database, count: int, start: int = 0, name: str = "facts") -> InsertAck:
    triples = facts(count, start)
    return database.insert(name, triples, *vectors(triples)).result()


def test_an_insert_beyond_the_quota_of_entries_is_refused_whole(database: Database) -> None:
    database.set_quota("facts", entries=100)
    assert insert(database, 60).created == 60
    with pytest.raises(ResourceExhausted, match="'facts' holds 60 of at most 100 entries, and 50 more came"):
        insert(database, 50, 60)
    assert insert(database, 40, 60).created == 40
    assert insert(database, 100).existing == 100
    assert database.count("facts") == 100


def test_deletes_and_a_larger_quota_let_inserts_in_again(stores: Stores, database: Database) -> None:
    database.set_quota("facts", entries=10)
    insert(database, 10)
    database.delete("facts", [1, 2, 3]).result()
    assert insert(database, 3, 100).created == 3
    assert database.set_quota("facts", entries=12).quota == Quota(12, 0)
    database = stores.open()
    assert insert(database, 2, 200).created == 2
    with pytest.raises(ResourceExhausted):
        insert(database, 1, 300)
    database.set_quota("facts", entries=0)
    assert insert(database, 100, 300).created == 100


def test_a_quota_of_bytes_is_of_the_pages_that_stats_show(database: Database) -> None:
    database.set_quota("facts", size=300_000)
    taken = 0
    while sum(database.stats("facts").collections[0].table_bytes.values()) < 250_000:
        taken += insert(database, 100, taken).created
    with pytest.raises(ResourceExhausted, match=r"would take [\d,]+ bytes with this insert, and may take 300,000"):
        insert(database, 1000, taken)
    [stats] = database.stats("facts").collections
    assert stats.entries == taken > 500
    assert sum(stats.table_bytes.values()) <= stats.max_bytes == 300_000
    assert database.set_quota("facts", entries=7).quota == Quota(7, 300_000)
    with pytest.raises(ResourceExhausted, match="at most 7 entries"):
        insert(database, 1, taken)


def test_one_collections_quota_is_no_other_ones(database: Database) -> None:
    """Though they share a commit."""
    database.create_collection("small", BARE, quota=Quota(entries=5))
    triples = facts(20)
    acks = [database.insert(name, triples, *vectors(triples)) for name in ("facts", "small", "facts") * 5]
    errors = [ack.exception() for ack in acks]
    assert [isinstance(error, ResourceExhausted) for error in errors] == [False, True, False] * 5
    assert (database.count("facts"), database.count("small")) == (20, 0)


def test_what_can_be_no_quota_is_refused(database: Database) -> None:
    for wrong in (-1, 1 << 63):
        with pytest.raises(InvalidArgument, match="out of range"):
            database.set_quota("facts", size=wrong)
    with pytest.raises(NotFound):
        database.set_quota("nowhere", entries=1)
