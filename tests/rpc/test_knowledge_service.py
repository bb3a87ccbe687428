"""Knowledge over the wire: each RPC by its promise, over TCP and over a unix socket."""

import itertools
import queue

import grpc
import numpy as np
import pytest
from serving import DIMENSION, Wire, insert_requests, random_vectors, triple

from atlasdb_contract import codec
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.v1 import knowledge_pb2 as kpb


def refused(error: pytest.ExceptionInfo[grpc.RpcError]) -> tuple[grpc.StatusCode, str]:
    return error.value.code(), error.value.details()


def test_collections_are_made_listed_and_dropped(wire: Wire) -> None:
    made = wire.create("facts")
    assert (made.name, made.config.encoder, made.config.dimension, made.entries) == ("facts", "none", DIMENSION, 0)
    wire.create("more")
    listed = wire.knowledge.ListCollections(kpb.ListCollectionsRequest()).collections
    assert [collection.name for collection in listed] == ["facts", "more"]
    wire.fill(7, "more")
    assert wire.knowledge.DropCollection(kpb.DropCollectionRequest(name="more")).entries == 7
    listed = wire.knowledge.ListCollections(kpb.ListCollectionsRequest()).collections
    assert [collection.name for collection in listed] == ["facts"]


def test_a_collection_is_made_once(wire: Wire) -> None:
    made = wire.create()
    with pytest.raises(grpc.RpcError) as error:
        wire.create()
    assert refused(error)[0] == grpc.StatusCode.ALREADY_EXISTS
    again = kpb.CreateCollectionRequest(name="facts", config=made.config, if_missing=True)
    assert wire.knowledge.CreateCollection(again) == made


def test_acks_come_in_order_with_an_id_for_each_triple(wire: Wire) -> None:
    wire.create()
    acks = wire.insert(list(insert_requests("facts", 5000, random_vectors(5000))))
    assert [ack.sequence for ack in acks] == [1, 2, 3, 4, 5]
    assert list(itertools.chain.from_iterable(ack.ids for ack in acks)) == list(range(1, 5001))
    assert sum(ack.created for ack in acks) == 5000
    assert wire.knowledge.Count(kpb.CountRequest(collection="facts")).entries == 5000


def test_the_same_triples_again_are_the_same_entries(wire: Wire) -> None:
    wire.create()
    requests = list(insert_requests("facts", 100, random_vectors(100)))
    first, second = wire.insert(requests), wire.insert(requests)
    assert first[0].ids == second[0].ids
    assert (second[0].created, second[0].existing) == (0, 100)


def test_an_ack_is_sent_before_the_next_request_comes(wire: Wire) -> None:
    """A client that waits for each ack before it sends more must not wait for ever."""
    wire.create()
    requests: queue.SimpleQueue[kpb.InsertRequest | None] = queue.SimpleQueue()
    acks = wire.knowledge.Insert(iter(requests.get, None), timeout=30)
    for request in insert_requests("facts", 3000, random_vectors(3000)):
        requests.put(request)
        assert next(acks).sequence == request.sequence
    requests.put(None)
    assert list(acks) == []


def test_an_empty_part_is_refused_and_the_other_triples_stay(wire: Wire) -> None:
    wire.create()
    vectors = codec.vectors_to_proto(random_vectors(3))
    triples = [triple(0), kpb.Triple(head="head", relation=" ", tail="tail"), triple(1)]
    [ack] = wire.insert([kpb.InsertRequest(collection="facts", triples=triples, keys=vectors, values=vectors)])
    assert [bool(number) for number in ack.ids] == [True, False, True]
    assert [(bad.position, "relation" in bad.reason) for bad in ack.refused] == [(1, True)]


def test_a_bad_request_ends_the_stream_after_the_acks_before_it(wire: Wire) -> None:
    wire.create()
    good, *_ = insert_requests("facts", 10, random_vectors(10))
    bad = kpb.InsertRequest(collection="nowhere", sequence=2, triples=[triple(1)])
    acks = wire.knowledge.Insert(iter([good, bad, good]), timeout=30)
    assert next(acks).sequence == 1
    with pytest.raises(grpc.RpcError) as error:
        next(acks)
    code, said = refused(error)
    assert code == grpc.StatusCode.NOT_FOUND
    assert "nowhere" in said
    assert "facts" in said, "the known collections are named"


def test_vectors_of_another_dimension_are_refused_naming_both(wire: Wire) -> None:
    wire.create()
    vectors = codec.vectors_to_proto(random_vectors(1, dimension=8))
    with pytest.raises(grpc.RpcError) as error:
        wire.insert([kpb.InsertRequest(collection="facts", triples=[triple(1)], keys=vectors, values=vectors)])
    code, said = refused(error)
    assert code == grpc.StatusCode.INVALID_ARGUMENT
    assert "8" in said
    assert str(DIMENSION) in said


@pytest.mark.parametrize(
    ("triples", "said"),
    [
        ([triple(number) for number in range(codec.CHUNK_TRIPLES + 1)], "1025 triples"),
        ([kpb.Triple(head="h", relation="r", tail="x" * (2 << 20))], "triple 0"),
    ],
)
def test_a_request_above_the_limits_is_refused(wire: Wire, triples: list[kpb.Triple], said: str) -> None:
    wire.create()
    with pytest.raises(grpc.RpcError) as error:
        wire.insert([kpb.InsertRequest(collection="facts", triples=triples)])
    assert refused(error)[0] == grpc.StatusCode.INVALID_ARGUMENT
    assert said in refused(error)[1]


def test_get_answers_in_the_order_asked_and_leaves_out_what_is_missing(wire: Wire) -> None:
    wire.create()
    keys = wire.fill(20)
    fields = kpb.EntryFields(keys=True, values=True)
    reply = wire.knowledge.Get(kpb.GetRequest(collection="facts", ids=[9, 999, 3], fields=fields))
    assert [entry.id for entry in reply.entries] == [9, 3]
    assert reply.entries[0].triple == triple(8)
    assert np.array_equal(codec.vectors_from_proto(reply.keys).data, keys.data[[8, 2]])
    assert np.array_equal(codec.vectors_from_proto(reply.values).data, keys.data[[8, 2]])
    plain = wire.knowledge.Get(kpb.GetRequest(collection="facts", ids=[9]))
    assert not plain.HasField("keys")
    assert not plain.entries[0].key_text


def found(wire: Wire, **request: object) -> list[int]:
    reply = wire.knowledge.Find(kpb.FindRequest(collection="facts", **request))
    return np.frombuffer(reply.ids, "<u8").tolist()


def columns(triples: list[kpb.Triple]) -> kpb.TripleColumns:
    return codec.columns_to_proto(TripleColumns.of((each.head, each.relation, each.tail) for each in triples))


def test_find_tells_the_entry_of_each_triple_in_either_form(wire: Wire) -> None:
    wire.create()
    wire.fill(3000)
    wire.knowledge.Delete(kpb.DeleteRequest(collection="facts", ids=[6]))
    asked = [triple(8), triple(5), triple(2999), triple(3000), triple(8), kpb.Triple(head="a", relation=" ")]
    assert found(wire, triples=asked) == found(wire, columns=columns(asked)) == [9, 0, 3000, 0, 9, 0]
    assert found(wire, triples=[kpb.Triple(head="head 0", relation="relation 8", tail="tail 8", source="x")]) == [9]
    assert found(wire) == found(wire, columns=kpb.TripleColumns()) == []
    every = [triple(number) for number in range(3000)]
    assert found(wire, columns=columns(every)) == [0 if number == 6 else number for number in range(1, 3001)]


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        ({"triples": [triple(1)], "columns": columns([triple(1)])}, "triples or columns, not both"),
        ({"triples": [triple(1)] * (codec.CHUNK_TRIPLES + 1)}, "1025 triples"),
        ({"columns": columns([triple(1)] * (codec.CHUNK_COLUMNS + 1))}, "8193 triples"),
        ({"columns": kpb.TripleColumns(text=b"abc")}, "the lengths add up to 0"),
    ],
)
def test_a_find_that_can_not_be_is_refused(wire: Wire, request_: dict[str, object], said: str) -> None:
    wire.create()
    with pytest.raises(grpc.RpcError) as error:
        found(wire, **request_)
    assert refused(error)[0] == grpc.StatusCode.INVALID_ARGUMENT
    assert said in refused(error)[1]


def test_texts_are_told_where_they_are_asked_for(wire: Wire) -> None:
    wire.create()
    wire.fill(1)
    reply = wire.knowledge.Get(kpb.GetRequest(collection="facts", ids=[1], fields=kpb.EntryFields(texts=True)))
    assert "head 0" in reply.entries[0].key_text
    assert reply.entries[0].value_text == "tail 0"


def test_too_many_ids_are_refused(wire: Wire) -> None:
    wire.create()
    for call, request in (("Get", kpb.GetRequest), ("Delete", kpb.DeleteRequest)):
        with pytest.raises(grpc.RpcError) as error:
            getattr(wire.knowledge, call)(request(collection="facts", ids=range(1, 5000)))
        assert refused(error)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_scan_gives_every_entry_once_in_id_order(wire: Wire) -> None:
    wire.create()
    wire.fill(3000)

    def scanned(**request: object) -> list[int]:
        chunks = wire.knowledge.Scan(kpb.ScanRequest(collection="facts", **request))
        return [entry.id for chunk in chunks for entry in chunk.entries]

    assert scanned() == list(range(1, 3001))
    assert scanned(after=2990) == list(range(2991, 3001))
    assert scanned(after=10, limit=5) == [11, 12, 13, 14, 15]
    assert scanned(head="head 7") == list(range(71, 81))
    assert scanned(head="head 7", relation="relation 2") == [73]
    assert scanned(head="nobody") == []


def test_delete_counts_what_went_and_what_was_not_there(wire: Wire) -> None:
    wire.create()
    wire.fill(10)
    reply = wire.knowledge.Delete(
        kpb.DeleteRequest(collection="facts", ids=[1, 2, 99], triples=[triple(5), triple(77)])
    )
    assert (reply.deleted, reply.missing) == (3, 2)
    assert wire.knowledge.Count(kpb.CountRequest(collection="facts")).entries == 7
    assert not wire.knowledge.Get(kpb.GetRequest(collection="facts", ids=[1, 6])).entries


@pytest.mark.parametrize("call", ["Delete", "Get", "Find", "Scan", "Count", "Search", "Encode"])
def test_an_unknown_collection_is_named_with_the_known_ones(wire: Wire, call: str) -> None:
    wire.create("known")
    more = {"text": "who", "k": 1} if call == "Search" else {}
    request = getattr(kpb, f"{call}Request")(collection="nowhere", **more)
    with pytest.raises(grpc.RpcError) as error:
        wire.ask(call, request)
    code, said = refused(error)
    assert code == grpc.StatusCode.NOT_FOUND
    assert "nowhere" in said
    assert "known" in said


def test_a_bad_name_is_refused(wire: Wire) -> None:
    with pytest.raises(grpc.RpcError) as error:
        wire.create("No Such Name!")
    assert refused(error)[0] == grpc.StatusCode.INVALID_ARGUMENT


def test_a_collection_without_encoder_says_so_to_texts(wire: Wire) -> None:
    wire.create()
    [ack] = wire.insert([kpb.InsertRequest(collection="facts", triples=[triple(1)])])
    assert len(ack.refused) == 1
    for call, request in (
        ("Search", kpb.SearchRequest(collection="facts", text="who", k=1)),
        ("Encode", kpb.EncodeRequest(collection="facts", texts=["who"])),
    ):
        with pytest.raises(grpc.RpcError) as error:
            getattr(wire.knowledge, call)(request)
        assert refused(error)[0] == grpc.StatusCode.FAILED_PRECONDITION


def test_texts_are_encoded_searched_and_fetched(encoding_wire: Wire) -> None:
    """The one path that needs the encoder: triples without vectors in, the nearest entry out."""
    encoding_wire.create("scientists", encoder="all-MiniLM-L6-v2", dimension=0, inverse=kpb.INVERSE_ALL)
    facts = [("Marie Curie", "place of birth", "Warsaw"), ("Alan Turing", "profession", "mathematician")]
    triples = [kpb.Triple(head=head, relation=relation, tail=tail) for head, relation, tail in facts]
    [ack] = encoding_wire.insert([kpb.InsertRequest(collection="scientists", sequence=1, triples=triples)])
    assert (ack.created, len(ack.ids), len(ack.refused)) == (4, 2, 0)
    question = kpb.SearchRequest(collection="scientists", text="the birth place of Marie Curie", k=2)
    hits = encoding_wire.knowledge.Search(question).hits
    assert hits[0].entry.triple == triples[0]
    assert hits[0].cosine > hits[1].cosine
    assert hits[0].cosine > 0.9
    vectors = encoding_wire.knowledge.Encode(kpb.EncodeRequest(collection="scientists", texts=["Warsaw", "Paris"]))
    units = codec.vectors_from_proto(vectors).floats()
    assert units.shape == (2, 384)
    assert np.allclose(np.linalg.norm(units, axis=1), 1, atol=0.01)
