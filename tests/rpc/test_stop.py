"""A stop keeps its word: what is in hand is answered, nothing else holds it up, a second signal ends it."""

import queue
import signal
import threading
import time
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from serving import Connector, Served, Spawner, Wire, insert_requests, random_vectors, triple

from atlasdb.service.lifetime import Lifetime
from atlasdb_contract import codec
from atlasdb_contract.errors import ResourceExhausted, Unavailable
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1 import retrieval_pb2 as rpb


def ignore(code: grpc.StatusCode, details: str) -> None:
    """Nobody is told."""


def fetch_request() -> rpb.FetchRequest:
    return rpb.FetchRequest(collection="facts", rows=codec.vectors_to_proto(random_vectors(1)), k=1)


def test_an_insert_in_hand_is_acked_although_the_encoder_is_still_loading(
    tmp_path: Path, spawn: Spawner, connect: Connector
) -> None:
    server = spawn(tmp_path, "--encoder-workers", "1")
    wire = connect(server.address)
    wire.create(encoder="all-MiniLM-L6-v2", dimension=0)
    requests: queue.SimpleQueue[kpb.InsertRequest | None] = queue.SimpleQueue()
    acks = wire.knowledge.Insert(iter(requests.get, None), timeout=60)
    requests.put(kpb.InsertRequest(collection="facts", sequence=1, triples=[triple(1)]))
    requests.put(kpb.InsertRequest(collection="facts", sequence=2, triples=[triple(2)]))
    while wire.admin.Stats(apb.StatsRequest()).texts_encoded < 4:  # until both are in hand, which is what is promised
        time.sleep(0.01)
    server.process.send_signal(signal.SIGTERM)
    assert [next(acks).sequence, next(acks).sequence] == [1, 2]
    with pytest.raises(grpc.RpcError) as error:
        next(acks)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert server.process.wait(20) == 0
    again = connect(spawn(tmp_path).address)
    assert [entry.id for entry in again.knowledge.Get(kpb.GetRequest(collection="facts", ids=[1, 2])).entries] == [1, 2]


def test_a_second_signal_stops_at_once(tmp_path: Path, spawn: Spawner, connect: Connector) -> None:
    server = spawn(tmp_path, "--encoder-workers", "1")
    wire = connect(server.address)
    wire.create(encoder="all-MiniLM-L6-v2", dimension=0)
    requests = iter([kpb.InsertRequest(collection="facts", triples=[triple(n) for n in range(1000)])] * 8)
    acks = wire.knowledge.Insert(requests, timeout=60)
    time.sleep(0.3)
    server.process.send_signal(signal.SIGINT)
    assert server.process.stdout is not None
    assert server.process.stdout.readline().startswith("atlasdb: stopping")
    before = time.monotonic()
    assert server.stop(signal.SIGTERM) == 128 + signal.SIGTERM
    assert time.monotonic() - before < 2
    with pytest.raises(grpc.RpcError):
        list(acks)
    assert connect(spawn(tmp_path).address).knowledge.Count(kpb.CountRequest(collection="facts")).entries == 0


def test_every_acked_triple_is_there_after_a_stop_under_load(
    tmp_path: Path, spawn: Spawner, connect: Connector
) -> None:
    server = spawn(tmp_path)
    wire = connect(server.address)
    wire.create()
    keys = random_vectors(40_000)
    acked = []
    with pytest.raises(grpc.RpcError) as error:  # noqa: PT012 - the stop comes between two acks
        for ack in wire.knowledge.Insert(insert_requests("facts", 40_000, keys), timeout=60):
            acked.append(ack)
            if len(acked) == 3:
                server.process.send_signal(signal.SIGTERM)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    assert server.process.wait(20) == 0
    again = connect(spawn(tmp_path).address)
    assert again.knowledge.Count(kpb.CountRequest(collection="facts")).entries == sum(ack.created for ack in acked)


def test_idle_streams_end_unavailable_and_do_not_hold_up_a_stop(wire: Wire, served: Served) -> None:
    wire.create()
    wire.fill(3)
    asked: queue.SimpleQueue[rpb.FetchRequest | None] = queue.SimpleQueue()
    fetch = wire.retrieval.Fetch(iter(asked.get, None))
    asked.put(fetch_request())
    next(fetch)
    sent: queue.SimpleQueue[kpb.InsertRequest | None] = queue.SimpleQueue()
    insert = wire.knowledge.Insert(iter(sent.get, None))
    sent.put(next(insert_requests("facts", 10, random_vectors(10))))
    next(insert)
    before = time.monotonic()
    assert served.server.stop()
    assert time.monotonic() - before < 3
    for stream in (fetch, insert):
        with pytest.raises(grpc.RpcError) as error:
            next(stream)
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    asked.put(None)
    sent.put(None)


def test_fetching_streams_end_unavailable_between_two_blocks(wire: Wire, served: Served) -> None:
    wire.create()
    wire.fill(100)
    ended: list[grpc.StatusCode] = []
    started = threading.Barrier(4)

    def fetch_on() -> None:
        asked: queue.SimpleQueue[rpb.FetchRequest | None] = queue.SimpleQueue()
        stream = wire.retrieval.Fetch(iter(asked.get, None))
        try:
            for turn in range(1_000_000):
                asked.put(fetch_request())
                assert len(next(stream).ids) == 8
                if turn == 0:
                    started.wait()
        except grpc.RpcError as error:
            ended.append(error.code())
        asked.put(None)

    threads = [threading.Thread(target=fetch_on) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    assert served.server.stop()
    for thread in threads:
        thread.join()
    assert ended == [grpc.StatusCode.UNAVAILABLE] * 3


def test_a_stop_ends_a_build_and_the_old_tree_stays(wire: Wire, served: Served) -> None:
    wire.create()
    wire.fill(20_000)
    build = wire.admin.Build(apb.BuildRequest(collection="facts"))
    next(build)
    assert served.server.stop()
    with pytest.raises(grpc.RpcError) as error:
        list(build)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    [collection] = served.database.list_collections()
    assert (collection.entries, collection.generation) == (20_000, 0)


def test_health_tells_its_watchers_of_a_stop(wire: Wire, served: Served) -> None:
    watch = health_pb2_grpc.HealthStub(wire.channel).Watch(health_pb2.HealthCheckRequest(), timeout=20)
    assert next(watch).status == health_pb2.HealthCheckResponse.SERVING
    served.server.stop()
    assert next(watch).status == health_pb2.HealthCheckResponse.NOT_SERVING


def test_a_stopped_server_takes_its_socket_file_along(served: Served) -> None:
    assert served.settings.socket is not None
    assert served.settings.socket.is_socket()
    served.server.stop()
    assert not served.settings.socket.exists()


def test_a_lifetime_waits_for_its_work_and_takes_no_more() -> None:
    lifetime = Lifetime(max_streams=1)
    lifetime.begin()
    lifetime.stop()
    assert not lifetime.drained(0.01)
    with pytest.raises(Unavailable):
        lifetime.begin()
    with pytest.raises(Unavailable), lifetime.stream(ignore):
        pass
    threading.Timer(0.05, lifetime.end).start()
    assert lifetime.drained(10)


def test_a_lifetime_counts_its_streams() -> None:
    lifetime = Lifetime(max_streams=1)
    with lifetime.stream(ignore), pytest.raises(ResourceExhausted), lifetime.stream(ignore):
        pass
    with lifetime.stream(ignore):
        pass


@pytest.mark.parametrize("method", ["Knowledge/Insert", "Retrieval/Fetch"])
def test_what_is_no_message_is_refused_and_does_not_hold_up_a_stop(
    served: Served, connect: Connector, method: str
) -> None:
    wire = connect(served.targets["unix"])
    for _ in range(3):
        with pytest.raises(grpc.RpcError) as error:
            list(wire.channel.stream_stream(f"/atlasdb.v1.{method}")(iter([b"\xff\xff"]), timeout=20))
        assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    stopping = threading.Thread(target=served.server.stop, args=(1,), daemon=True)
    stopping.start()
    stopping.join(20)
    assert not stopping.is_alive()
