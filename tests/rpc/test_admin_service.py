"""Stats, Build and Verify over the wire, and gRPC's own health and reflection."""

import threading
import time
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from serving import DIMENSION, Served, Wire, insert_requests, random_vectors

from atlasdb.service.progress import SECONDS_BETWEEN, Pace, told
from atlasdb.service.server import SERVICES
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import knowledge_pb2 as kpb


def test_stats_count_what_is_there(wire: Wire, served: Served) -> None:
    wire.create("one")
    wire.create("two")
    wire.fill(120, "two")
    wire.knowledge.Delete(kpb.DeleteRequest(collection="two", ids=[5]))
    reply = wire.admin.Stats(apb.StatsRequest())
    one, two = reply.collections
    assert (one.name, one.entries, two.name, two.entries, two.triples) == ("one", 0, "two", 119, 119)
    assert (two.encoder, two.dimension, two.inverse_entries, two.generation) == ("none", DIMENSION, 0, 0)
    assert (two.delta_entries, two.tombstones) == (120, 1)
    assert two.table_bytes["entries"] > 0
    assert 0 < reply.file_bytes < reply.map_bytes
    assert 0 < reply.free_bytes <= reply.map_bytes
    assert reply.resident_bytes > 1 << 20
    assert reply.format_version >= 1
    assert reply.server_version
    assert reply.uptime_seconds > 0
    assert reply.texts_encoded == 0
    assert [each.name for each in wire.admin.Stats(apb.StatsRequest(collection="two")).collections] == ["two"]


def test_stats_count_the_texts_that_were_encoded(encoding_wire: Wire) -> None:
    encoding_wire.create("counted", encoder="all-MiniLM-L6-v2", dimension=0)
    before = encoding_wire.admin.Stats(apb.StatsRequest())
    encoding_wire.knowledge.Encode(kpb.EncodeRequest(collection="counted", texts=["one text", "and another"]))
    after = encoding_wire.admin.Stats(apb.StatsRequest())
    assert after.texts_encoded - before.texts_encoded == 2
    assert after.encoder_busy_seconds > before.encoder_busy_seconds


def test_a_build_tells_its_progress_and_then_the_generation(wire: Wire) -> None:
    wire.create()
    wire.fill(2000)
    *progress, last = wire.admin.Build(apb.BuildRequest(collection="facts", seed=7))
    assert progress
    assert last.generation == 1
    stats = wire.admin.Stats(apb.StatsRequest(collection="facts")).collections[0]
    assert (stats.generation, stats.entries, stats.delta_entries) == (1, 2000, 0)
    assert stats.root_nodes >= 1
    assert stats.inter_nodes > stats.root_nodes


def test_acks_and_builds_tell_the_servers_anonymous_memory(wire: Wire) -> None:
    def held() -> int:
        status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return 1024 * int(status["RssAnon"].split()[0])

    wire.create()
    before = held()
    acks = wire.insert(list(insert_requests("facts", 2000, random_vectors(2000))))
    messages = [*acks, *wire.admin.Build(apb.BuildRequest(collection="facts"))]
    for message in messages:
        assert 0.5 * before < message.memory_bytes < 2 * held()


def test_verify_finds_nothing_wrong_with_a_sound_store(wire: Wire) -> None:
    wire.create("one")
    wire.create("two")
    wire.fill(500, "two")
    list(wire.admin.Build(apb.BuildRequest(collection="two")))
    messages = list(wire.admin.Verify(apb.VerifyRequest()))
    assert {message.collection for message in messages} >= {"one", "two"}
    assert not [sentence for message in messages for sentence in message.damage]


@pytest.mark.parametrize("call", ["Stats", "Build", "Verify"])
def test_an_unknown_collection_is_named_with_the_known_ones(wire: Wire, call: str) -> None:
    wire.create("known")
    with pytest.raises(grpc.RpcError) as error:
        wire.ask(call, getattr(apb, f"{call}Request")(collection="nowhere"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert "nowhere" in error.value.details()
    assert "known" in error.value.details()


def test_a_client_that_leaves_stops_its_build(wire: Wire, served: Served) -> None:
    """The old tree stays, and the next build runs to its end."""
    wire.create()
    wire.fill(20_000)
    leaving = wire.admin.Build(apb.BuildRequest(collection="facts"))
    next(leaving)
    leaving.cancel()
    for _ in range(300):
        try:
            *_, last = wire.admin.Build(apb.BuildRequest(collection="facts"))
            break
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.FAILED_PRECONDITION:
                raise
            time.sleep(0.1)  # the first one is still stopping
    assert last.generation >= 1
    assert served.database.count("facts") == 20_000


def counting(seconds: float, done: threading.Event) -> Callable[..., None]:
    """Work that has something to tell a thousand times a second, until it is cancelled or `seconds` are over."""

    def work(cancelled: Callable[[], bool], tell: Callable[[int], None]) -> None:
        pace = Pace()
        for step in range(int(seconds * 1000)):
            if cancelled():
                break
            if pace.due("counting"):
                tell(step)
            time.sleep(0.001)
        done.set()

    return work


def test_progress_keeps_its_pace() -> None:
    started = time.monotonic()
    messages = list(told(counting(0.5, threading.Event()), lambda: False))
    assert 2 <= len(messages) <= (time.monotonic() - started) / SECONDS_BETWEEN + 1


def test_work_that_nobody_listens_to_is_stopped_and_waited_for() -> None:
    done = threading.Event()
    listening = told(counting(30, done), lambda: False)
    next(listening)
    listening.close()  # type: ignore[attr-defined]
    assert done.is_set()


def test_work_goes_on_while_its_listener_is_slow() -> None:
    done = threading.Event()
    listening = told(counting(0.3, done), lambda: False)
    next(listening)
    assert done.wait(10)
    assert list(listening)


def test_health_speaks_for_the_server_and_for_each_service(wire: Wire) -> None:
    health = health_pb2_grpc.HealthStub(wire.channel)
    assert len(SERVICES) == 3
    for name in ("", *SERVICES):
        reply = health.Check(health_pb2.HealthCheckRequest(service=name))
        assert reply.status == health_pb2.HealthCheckResponse.SERVING
    with pytest.raises(grpc.RpcError) as error:
        health.Check(health_pb2.HealthCheckRequest(service="atlasdb.v1.Nothing"))
    assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_reflection_lists_the_services(wire: Wire) -> None:
    stub = reflection_pb2_grpc.ServerReflectionStub(wire.channel)
    [reply] = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]), timeout=10)
    names = {service.name for service in reply.list_services_response.service}
    assert names >= {*SERVICES, "grpc.health.v1.Health"}
