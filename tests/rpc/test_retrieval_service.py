"""Fetch over the wire: a Block for each request, in order, on any number of streams."""

import queue
import threading
import time

import grpc
import numpy as np
import pytest
from serving import DIMENSION, Connector, Served, Wire, random_vectors

from atlasdb_contract import codec
from atlasdb_contract.types import Vectors
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import retrieval_pb2 as rpb


def request(rows: Vectors, k: int = 4, sequence: int = 1, **more: object) -> rpb.FetchRequest:
    return rpb.FetchRequest(collection="facts", sequence=sequence, rows=codec.vectors_to_proto(rows), k=k, **more)


def fetched(wire: Wire, *requests: rpb.FetchRequest) -> list[rpb.Block]:
    return list(wire.retrieval.Fetch(iter(requests), timeout=30))


def by_float64(keys: Vectors, rows: Vectors, k: int) -> tuple[list[int], np.ndarray]:
    """The reference: softmax of every row over all keys, summed, in float64."""
    logits = rows.floats().astype(np.float64) @ keys.floats().astype(np.float64).T
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    scores = (odds / odds.sum(axis=1, keepdims=True)).sum(axis=0)
    best = np.argsort(-scores, kind="stable")[:k]
    return [int(slot) + 1 for slot in best], scores[best]


@pytest.mark.parametrize("exact", [True, False])
def test_a_block_holds_the_entries_the_rows_attend_to_most(wire: Wire, exact: bool) -> None:
    wire.create()
    keys, rows = wire.fill(500), random_vectors(3, seed=1)
    sharp = Vectors(rows.data, rows.scales * np.float32(20))
    [message] = fetched(wire, request(sharp, k=8, exact=exact))
    block = codec.block_from_proto(message)
    ids, scores = by_float64(keys, sharp, 8)
    assert block.ids.tolist() == ids
    assert np.allclose(block.scores, scores, rtol=1e-3)
    chosen = block.ids.astype(int) - 1
    assert np.array_equal(block.keys.data, keys.data[chosen])
    assert np.array_equal(block.values.data, keys.data[chosen])
    assert block.cost.entries_scored == 500


def test_blocks_come_in_the_order_of_their_requests(wire: Wire) -> None:
    wire.create()
    wire.fill(50)
    blocks = fetched(wire, *(request(random_vectors(1, seed), sequence=seed) for seed in range(20)))
    assert [block.sequence for block in blocks] == list(range(20))


def test_a_collection_with_fewer_entries_gives_all_it_has(wire: Wire) -> None:
    wire.create()
    assert not fetched(wire, request(random_vectors(1)))[0].ids
    wire.fill(3)
    assert len(codec.block_from_proto(fetched(wire, request(random_vectors(1), k=64))[0]).ids) == 3


def test_an_insert_is_seen_by_the_next_fetch_also_after_a_build(wire: Wire) -> None:
    wire.create()
    wire.fill(300)
    *_, last = wire.admin.Build(apb.BuildRequest(collection="facts"))
    assert last.generation == 1
    keys = wire.fill(310)
    block = codec.block_from_proto(fetched(wire, request(keys.take([305]), k=1))[0])
    assert block.ids.tolist() == [306]
    assert block.generation == 1


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"k": 0}, "k"),
        ({"k": 5000}, "5000"),
        ({"rows": random_vectors(1, dimension=8)}, "8"),
        ({"rows": random_vectors(1, dimension=8)}, str(DIMENSION)),
        ({"rows": random_vectors(0)}, "row"),
        ({"rows": random_vectors(4097)}, "4097"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(wire: Wire, bad: dict[str, object], said: str) -> None:
    wire.create()
    wire.fill(3)
    with pytest.raises(grpc.RpcError) as error:
        fetched(wire, request(**({"rows": random_vectors(1)} | bad)))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert said in error.value.details()


def test_an_unknown_collection_is_named_with_the_known_ones(wire: Wire) -> None:
    wire.create("known")
    with pytest.raises(grpc.RpcError) as error:
        fetched(wire, request(random_vectors(1)))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert "facts" in error.value.details()
    assert "known" in error.value.details()


def test_several_streams_are_served_at_once(wire: Wire) -> None:
    """Eight streams, all open before the first is used; each gets its own answers."""
    wire.create()
    keys = wire.fill(200)
    asked = [queue.SimpleQueue() for _ in range(8)]
    streams = [wire.retrieval.Fetch(iter(one.get, None), timeout=60) for one in asked]
    found: list[list[int]] = [[] for _ in streams]

    def use(number: int) -> None:
        for turn in range(10):
            slot = number * 10 + turn
            asked[number].put(request(keys.take([slot]), k=1, sequence=slot))
            block = next(streams[number])
            assert block.sequence == slot
            found[number].append(int(codec.block_from_proto(block).ids[0]))
        asked[number].put(None)

    threads = [threading.Thread(target=use, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [[number * 10 + turn + 1 for turn in range(10)] for number in range(8)]


def test_one_stream_too_many_is_refused_and_a_closed_one_makes_room(
    wire: Wire, served: Served, connect: Connector
) -> None:
    wire.create()
    wire.fill(3)
    limit = served.settings.max_streams
    open_requests = [queue.SimpleQueue() for _ in range(limit)]
    streams = [wire.retrieval.Fetch(iter(one.get, None)) for one in open_requests]
    for one, stream in zip(open_requests, streams, strict=True):
        one.put(request(random_vectors(1)))
        next(stream)
    other = connect(served.targets["tcp"])
    with pytest.raises(grpc.RpcError) as error:
        fetched(other, request(random_vectors(1)))
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert str(limit) in error.value.details()
    assert other.admin.Stats(apb.StatsRequest()).collections, "unary calls still pass"
    open_requests[0].put(None)
    assert list(streams[0]) == []
    assert fetched(other, request(random_vectors(1)))
    for one in open_requests:
        one.put(None)


def test_clients_that_leave_give_their_streams_back(wire: Wire, served: Served) -> None:
    """As soon as the server has noticed, which it does by itself."""
    wire.create()
    wire.fill(3)
    asked = [queue.SimpleQueue() for _ in range(served.settings.max_streams)]
    streams = [wire.retrieval.Fetch(iter(one.get, None)) for one in asked]
    for one, stream in zip(asked, streams, strict=True):
        one.put(request(random_vectors(1)))
        next(stream)
        stream.cancel()
    for one in asked:
        one.put(None)
    for _ in range(100):
        try:
            assert fetched(wire, request(random_vectors(1)))
            break
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
                raise
            time.sleep(0.1)
    else:
        pytest.fail("the streams are still taken after ten seconds")
