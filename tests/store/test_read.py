from collections.abc import Callable

import numpy as np
from worlds import Stores, facts, vectors

from atlasdb.engine.database import Database
from atlasdb.engine.read import EntryFields
from atlasdb_contract.types import Triple

Load = Callable[..., tuple[int, ...]]


def ids(chunks: object) -> list[int]:
    return [entry.id for chunk in chunks for entry in chunk]  # type: ignore[attr-defined]


def test_get_answers_in_the_order_asked_and_leaves_out_the_missing(database: Database, load: Load) -> None:
    load(facts(5))
    assert [entry.id for entry in database.get("facts", [4, 99, 1, 0, -3, 1 << 70, 4])] == [4, 1, 4]


def test_an_entry_comes_back_as_it_was_given(database: Database) -> None:
    triple = Triple("Ünïcode 東京", "r\twith\ttabs", "x" * 100_000, source="s", metadata={"k": "v", "": ""})
    keys, values = vectors([triple])
    database.insert("facts", [triple], keys, values).result()
    (entry,) = database.get("facts", [1], EntryFields(keys=True, values=True))
    assert entry.triple == triple
    assert (entry.key_text, entry.value_text) == ("", "")
    for vector, given in ((entry.key, keys), (entry.value, values)):
        assert vector is not None
        np.testing.assert_array_equal(vector.data, given.data)
        np.testing.assert_array_equal(vector.scales, given.scales)


def test_scan_goes_through_all_in_id_order_in_chunks(database: Database, load: Load) -> None:
    load(facts(2500))
    chunks = list(database.scan("facts"))
    assert ids(chunks) == list(range(1, 2501))
    assert max(map(len, chunks)) <= 1024


def test_scan_continues_and_stops_where_asked(database: Database, load: Load) -> None:
    load(facts(50))
    assert ids(database.scan("facts", after=40)) == list(range(41, 51))
    assert ids(database.scan("facts", after=10, limit=5)) == [11, 12, 13, 14, 15]
    assert ids(database.scan("facts", after=50)) == []


def test_a_scan_after_the_last_entry_is_empty(database: Database, load: Load) -> None:
    load(facts(10))
    for after in (10, 11, (1 << 63) - 1, (1 << 64) - 1):
        assert list(database.scan("facts", after)) == []


def test_scan_filters_by_head_and_relation(database: Database, load: Load) -> None:
    load(facts(6000))
    assert ids(database.scan("facts", head="head 1700")) == [5101, 5102, 5103]
    assert ids(database.scan("facts", head="head 1700", relation="relation 1")) == [5102]
    assert len(ids(database.scan("facts", relation="relation 2", limit=1500))) == 1500


def test_scan_chunks_stay_below_a_message(database: Database) -> None:
    triples = [Triple("h", "r", f"{i} " + "long " * 20_000) for i in range(30)]
    database.insert("facts", triples, *vectors(triples)).result()
    chunks = list(database.scan("facts"))
    assert ids(chunks) == list(range(1, 31))
    assert max(map(len, chunks)) < 10


def test_a_restart_keeps_everything(stores: Stores, database: Database, load: Load) -> None:
    load(facts(40))
    database.delete("facts", [3, 17]).result()
    fields = EntryFields(texts=True, keys=True, values=True)
    before = [entry for chunk in database.scan("facts", fields=fields) for entry in chunk]
    collections = database.list_collections()
    again = stores.open()
    after = [entry for chunk in again.scan("facts", fields=fields) for entry in chunk]
    assert again.list_collections() == collections
    assert [(e.id, e.triple, e.key_text, e.value_text) for e in after] == [
        (e.id, e.triple, e.key_text, e.value_text) for e in before
    ]
    for one, other in zip(before, after, strict=True):
        assert one.key is not None
        assert other.key is not None
        np.testing.assert_array_equal(one.key.data, other.key.data)
    assert again.insert("facts", facts(40), *vectors(facts(40))).result().ids[2] == 41
