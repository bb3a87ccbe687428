import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import pytest
from worlds import BARE, D, HashEncoder, Stores, facts, unit, vectors

from atlasdb import siphash
from atlasdb.engine.database import Database
from atlasdb.engine.read import EntryFields
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.types import CollectionConfig, Ids, InsertAck, Refusal, Triple, Vectors
from atlasdb_contract.v1 import knowledge_pb2 as kpb

Load = Callable[..., tuple[int, ...]]
ALL = EntryFields(texts=True, keys=True, values=True)


def test_ids_are_sequential_from_one(load: Load) -> None:
    assert load(facts(5)) == (1, 2, 3, 4, 5)
    assert load(facts(2, start=5)) == (6, 7)


def test_the_same_triple_again_is_the_same_entry(database: Database, load: Load) -> None:
    first = load(facts(10))
    triples = [*facts(4), *facts(2, start=20)]
    ack = database.insert("facts", triples, *vectors(triples), sequence=9).result()
    assert (ack.sequence, ack.created, ack.existing) == (9, 2, 4)
    assert ack.ids == (*first[:4], 11, 12)
    assert database.count("facts") == 12


def test_a_duplicate_within_one_request_is_existing(database: Database) -> None:
    triples = [*facts(2), *facts(2)]
    ack = database.insert("facts", triples, *vectors(triples)).result()
    assert ack == InsertAck(0, (1, 2, 1, 2), created=2, existing=2)


def test_concurrent_inserts_of_the_same_triples_make_one_entry_each(database: Database) -> None:
    triples = facts(50)
    with ThreadPoolExecutor(4) as pool:
        acks = [f.result() for f in pool.map(lambda _: database.insert("facts", triples, *vectors(triples)), range(12))]
    assert {ack.ids for ack in acks} == {tuple(range(1, 51))}
    assert sum(ack.created for ack in acks) == 50


def test_the_first_source_and_metadata_stay(database: Database) -> None:
    one = Triple("h", "r", "t", source="book", metadata={"page": "7"})
    other = Triple("h", "r", "t", source="web")
    for triple in (one, other):
        database.insert("facts", [triple], *vectors([triple])).result()
    assert database.get("facts", [1])[0].triple == one


def test_triples_of_equal_hash_are_told_apart(monkeypatch: pytest.MonkeyPatch, database: Database, load: Load) -> None:
    whole = siphash.of_spans

    def half(data: siphash.Bytes, *rest: Any) -> Ids:
        found = whole(data, *rest)
        found[:, 0] = 7
        return found

    monkeypatch.setattr("atlasdb.siphash.of_spans", half)
    assert load(facts(20)) == tuple(range(1, 21))
    assert load(facts(20)) == tuple(range(1, 21))
    assert database.delete("facts", [], facts(3)).result() == (3, 0)
    assert load(facts(4)) == (21, 22, 23, 4)


def test_delete_and_insert_again_gives_a_new_id(database: Database, load: Load) -> None:
    load(facts(3))
    assert database.delete("facts", [2]).result() == (1, 0)
    assert load(facts(3)) == (1, 4, 3)
    assert [entry.id for chunk in database.scan("facts") for entry in chunk] == [1, 3, 4]


def test_equal_values_are_stored_once(database: Database, load: Load) -> None:
    load(facts(21))
    assert database.stats().collections[0].distinct_values == 7


# ---- refusals ----


def test_a_bad_triple_is_refused_and_the_good_ones_are_stored(database: Database) -> None:
    messages = [kpb.Triple(head=h, relation="r", tail=t) for h, t in [("a", "b"), ("", "c"), ("d", " "), ("e", "f")]]
    keys, values = vectors(facts(4))
    ack = database.insert("facts", messages, keys, values).result()
    assert ack.ids == (1, 0, 0, 2)
    assert ack.refused == (
        Refusal(1, "the head is empty; a triple needs a head, a relation and a tail"),
        Refusal(2, "the tail is empty; a triple needs a head, a relation and a tail"),
    )
    assert [entry.triple.head for entry in database.get("facts", [1, 2])] == ["a", "e"]


def test_without_encoder_and_vectors_each_triple_is_refused(database: Database) -> None:
    ack = database.insert("facts", facts(2)).result()
    assert ack.ids == (0, 0)
    assert "has no encoder: send key and value vectors" in ack.refused[1].reason


def test_a_wrong_dimension_refuses_the_request_naming_both(database: Database) -> None:
    keys, _ = vectors(facts(2))
    wide = Vectors(np.zeros((2, D + 1), np.int8), np.ones(2, np.float32))
    with pytest.raises(InvalidArgument, match=rf"dimension {D + 1}; the collection 'facts' has dimension {D}"):
        database.insert("facts", facts(2), keys, wide).result()
    assert database.count("facts") == 0


def test_vectors_of_a_wrong_number_refuse_the_request(database: Database) -> None:
    keys, values = vectors(facts(3))
    with pytest.raises(InvalidArgument, match="2 triples came with 3 key vectors"):
        database.insert("facts", facts(2), keys, values).result()
    with pytest.raises(InvalidArgument, match="together, or neither"):
        database.insert("facts", facts(3), keys).result()


def test_an_unknown_collection_is_named_beside_the_known(database: Database) -> None:
    with pytest.raises(NotFound, match=r"no collection 'fact'; there are: facts"):
        database.insert("fact", facts(1)).result()


# ---- with an encoder ----


@pytest.fixture
def encoded(stores: Stores) -> Database:
    database = stores.open()
    database.create_collection("texts", CollectionConfig(encoder="hash", inverse=frozenset({"capital"})))
    return database


def test_texts_are_encoded_as_key_and_value(encoded: Database) -> None:
    encoded.insert("texts", [Triple("Ada_Lovelace", "place_of_birth", "London")]).result()
    (entry,) = encoded.get("texts", [1], ALL)
    assert (entry.key_text, entry.value_text) == ("the place of birth of Ada Lovelace", "London")
    assert entry.key is not None
    assert entry.value is not None
    np.testing.assert_allclose(entry.key.floats()[0], unit("the place of birth of Ada Lovelace"), atol=0.01)
    np.testing.assert_allclose(entry.value.floats()[0], unit("London"), atol=0.01)


def test_known_texts_are_not_encoded_again(encoded: Database, encoder: HashEncoder) -> None:
    encoded.insert("texts", facts(30)).result()
    assert sorted(encoder.asked) == sorted(set(encoder.asked))
    before = list(encoder.asked)
    encoded.insert("texts", facts(30)).result()
    assert encoder.asked == before


def test_after_a_restart_stored_triples_and_values_are_not_encoded(stores: Stores, encoded: Database) -> None:
    encoded.insert("texts", facts(30)).result()
    again = stores.open()
    stores.encoder.asked.clear()
    assert again.insert("texts", facts(31)).result().created == 1
    assert stores.encoder.asked == ["the relation 0 of head 10"]


def test_overlapping_requests_make_each_entry_once(encoded: Database) -> None:
    acks = [encoded.insert("texts", facts(10, start)) for start in range(0, 40, 4)]
    assert sum(ack.result().created for ack in acks) == 46
    assert encoded.count("texts") == 46


def test_a_relation_with_inverse_gets_a_second_entry(encoded: Database) -> None:
    ack = encoded.insert("texts", [Triple("France", "capital", "Paris"), Triple("France", "language", "French")])
    assert ack.result() == InsertAck(0, (1, 3), created=3, existing=0)
    there, back, _ = encoded.get("texts", [1, 2, 3], ALL)
    assert not there.inverse
    assert back.inverse
    assert there.triple == back.triple
    assert back.value_text == "France"
    assert encoded.stats().collections[0].inverse_entries == 1


@pytest.mark.parametrize("by", [{"ids": [1]}, {"ids": [2]}, {"triples": [Triple("France", "capital", "Paris")]}])
def test_an_inverse_entry_goes_with_its_triple(encoded: Database, by: dict) -> None:
    encoded.insert("texts", [Triple("France", "capital", "Paris")]).result()
    assert encoded.delete("texts", **by).result() == (2, 0)
    assert encoded.count("texts") == 0


def test_given_vectors_and_encoded_inverses_go_together(encoded: Database) -> None:
    triples = [Triple("France", "capital", "Paris"), Triple("France", "language", "French")]
    keys, values = vectors(triples)
    assert encoded.insert("texts", triples, keys, values).result().created == 3
    entries = encoded.get("texts", [1, 2, 3], ALL)
    assert [entry.key.floats().tolist() for entry in entries if entry.key and not entry.inverse] == [
        keys.take([i]).floats().tolist() for i in range(2)
    ]
    assert encoded.insert("texts", triples, keys, values).result().existing == 2


def test_a_triple_deleted_while_its_insert_is_under_way_is_stored(encoded: Database) -> None:
    """The first look finds it, so nothing is encoded; at the second it is gone."""
    triples = facts(3)
    encoded.insert("texts", triples).result()
    entered, go_on = threading.Event(), threading.Event()

    def hold(_: object) -> None:
        entered.set()
        go_on.wait(10)

    held = encoded._engine.store.submit(hold)
    entered.wait(10)
    deleted = encoded.delete("texts", [2])
    ack: Future[InsertAck] = encoded.insert("texts", triples)
    go_on.set()
    held.result()
    assert deleted.result() == (1, 0)
    assert ack.result() == InsertAck(0, (1, 4, 3), created=1, existing=2)


def test_an_insert_does_not_reach_a_collection_made_anew(database: Database) -> None:
    store = database._engine.store
    entered, go_on = threading.Event(), threading.Event()
    held = store.submit(lambda _: (entered.set(), go_on.wait(10)))
    entered.wait(10)
    with ThreadPoolExecutor(2) as pool:
        dropped = pool.submit(database.drop_collection, "facts")
        while not store.writer._queue:
            time.sleep(0.001)
        made = pool.submit(database.create_collection, "facts", BARE)
        while len(store.writer._queue) < 2:
            time.sleep(0.001)
        late = database.insert("facts", facts(1), *vectors(facts(1)))
        go_on.set()
        held.result()
        assert (dropped.result(), made.result().entries) == (0, 0)
    with pytest.raises(NotFound, match="'facts' was dropped"):
        late.result()
    assert database.count("facts") == 0


def test_an_encoder_that_fails_fails_the_insert_alone(stores: Stores) -> None:
    database = stores.open()
    database.create_collection("texts", CollectionConfig(encoder="hash"))
    stores.encoder.close()
    with pytest.raises(RuntimeError, match="cannot schedule"):
        database.insert("texts", facts(2)).result()
    database.create_collection("given", BARE)
    assert database.insert("given", facts(2), *vectors(facts(2))).result().created == 2


def test_texts_without_encoder_are_refused(database: Database) -> None:
    with pytest.raises(FailedPrecondition, match="'facts' has no encoder"):
        database.encode("facts", ["a"])
    with pytest.raises(FailedPrecondition, match="'facts' has no encoder"):
        database.search("facts", "a", 3)
