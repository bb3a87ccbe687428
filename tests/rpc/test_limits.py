"""Whatever clients send, leave unread or leave alone: what is too much is refused by name, and memory stays bounded."""

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import grpc
import pytest
from serving import Connector, Served, Wire, insert_requests, random_vectors, serving

from atlasdb.service import lifetime
from atlasdb.service.room import Room
from atlasdb.service.streams import OpenStream
from atlasdb.service.unread import Unread
from atlasdb_contract import codec
from atlasdb_contract.errors import ResourceExhausted
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1 import retrieval_pb2 as rpb

STREAMS = 16
"""Of the `served` server."""


def rows(count: int = 1) -> kpb.Vectors:
    return codec.vectors_to_proto(random_vectors(count))


def fetch(k: int = 4, count: int = 1) -> rpb.FetchRequest:
    return rpb.FetchRequest(collection="facts", rows=rows(count), k=k)


def status(error: "pytest.ExceptionInfo[grpc.RpcError]") -> tuple[grpc.StatusCode, str]:
    return error.value.code(), error.value.details()


class Idle:
    """A stream whose client has been answered once and sends no more."""

    def __init__(self, method: Any, first: Any) -> None:
        self._sent: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self.answers = method(iter(self._sent.get, None), timeout=60)
        self.ask(first)

    def ask(self, request: Any) -> Any:
        self._sent.put(request)
        return next(self.answers)

    def close(self) -> None:
        self._sent.put(None)
        self.answers.cancel()


def idle_streams(wire: Wire, count: int) -> list[Idle]:
    """Fetches and inserts, by turns."""
    [insert] = insert_requests("facts", 10, random_vectors(10))
    made = []
    for number in range(count):
        method, first = ((wire.retrieval.Fetch, fetch()), (wire.knowledge.Insert, insert))[number % 2]
        made.append(Idle(method, first))
    return made


def opened_in_time(wire: Wire) -> Idle:
    """A fetch stream, as soon as there is room for it."""
    for _ in range(200):
        with suppress(grpc.RpcError):
            return Idle(wire.retrieval.Fetch, fetch())
        time.sleep(0.1)
    raise AssertionError("no stream made room")


def test_one_stream_too_many_is_refused_and_the_others_go_on(wire: Wire, served: Served) -> None:
    wire.create()
    wire.fill(10)
    streams = idle_streams(wire, STREAMS)
    for _ in range(3):
        with pytest.raises(grpc.RpcError) as error:
            Idle(wire.retrieval.Fetch, fetch())
        code, details = status(error)
        assert code == grpc.StatusCode.RESOURCE_EXHAUSTED
        assert "all 16 streams of this server are in use" in details
    assert len(streams[0].ask(fetch()).ids) == 32
    assert wire.knowledge.Count(kpb.CountRequest(collection="facts")).entries == 10
    for stream in streams:
        stream.close()


def test_a_stream_that_nobody_uses_makes_room_for_one_that_somebody_wants(
    monkeypatch: pytest.MonkeyPatch, wire: Wire, served: Served
) -> None:
    monkeypatch.setattr(lifetime, "IDLE_SECONDS", 0.2)
    wire.create()
    wire.fill(10)
    streams = idle_streams(wire, STREAMS)
    time.sleep(0.3)
    for stream in streams[4:]:
        stream.ask(fetch() if stream in streams[::2] else next(insert_requests("facts", 10, random_vectors(10))))
    wanted = [Idle(wire.retrieval.Fetch, fetch()) for _ in range(4)]
    for stream in streams[:4]:
        with pytest.raises(grpc.RpcError) as error:
            next(stream.answers)
        code, details = status(error)
        assert code == grpc.StatusCode.UNAVAILABLE
        assert "another stream needs the place; open it again" in details
    for stream in [*streams[4::2], *wanted]:
        assert len(stream.ask(fetch()).ids) == 32
    for stream in [*streams, *wanted]:
        stream.close()
    assert served.server.stop(5)


def test_a_scan_that_nobody_reads_makes_room_too(
    monkeypatch: pytest.MonkeyPatch, connect: Connector, tmp_path: Path
) -> None:
    monkeypatch.setattr(lifetime, "IDLE_SECONDS", 0.5)
    for served in serving(tmp_path, None, max_streams=2):
        wire = connect(served.targets["unix"])
        wire.create()
        long = "x" * 20_000
        for start in range(0, 600, 300):
            triples = [kpb.Triple(head=f"{n}", relation="r", tail="t", source=long) for n in range(start, start + 300)]
            wire.insert([kpb.InsertRequest(collection="facts", triples=triples, keys=rows(300), values=rows(300))])
        scans = [wire.knowledge.Scan(kpb.ScanRequest(collection="facts")) for _ in range(2)]
        for scan in scans:
            next(scan)
        wanted = opened_in_time(wire)
        assert len(wanted.ask(fetch()).ids) == 32
        told = []
        for scan in scans:
            try:
                assert sum(len(chunk.entries) for chunk in scan) < 600
            except grpc.RpcError as error:
                told.append(error.code())
        assert told == [grpc.StatusCode.UNAVAILABLE]
        wanted.close()


def test_a_stream_at_work_is_never_idle() -> None:
    stream = OpenStream(lambda *_: None)
    requests = stream.requests(iter([1, 2]))
    answers = stream.answers(iter("ab"))
    assert stream.waits() == 0
    next(requests)
    time.sleep(0.01)
    assert stream.waits() == 0
    next(answers)
    time.sleep(0.01)
    assert stream.waits() >= 0.01
    next(requests)
    next(answers)
    assert stream.waits() < 0.01
    assert list(answers) == []
    assert stream.waits() == 0


def test_room_is_given_as_it_is_left() -> None:
    room = Room(100)
    assert room.take(400, lambda: True)
    assert not room.take(1, lambda: True)
    threading.Timer(0.05, room.give, [400]).start()
    assert room.take(60, lambda: False)
    assert room.take(40, lambda: False)


def test_a_connection_that_reads_no_answers_gets_no_more_and_others_do() -> None:
    unread = Unread(of_one=100, together=150)
    answers = [unread.call("a"), unread.call("a"), unread.call("b")]
    answers[0].ready(60)
    answers[1].over()
    answers[1].ready(1000)
    unread.call("a").ready(60)
    with pytest.raises(ResourceExhausted, match="120 bytes of answers were not read on this connection"):
        unread.call("a")
    answers[2].ready(50)
    with pytest.raises(ResourceExhausted):
        unread.call("b")
    unread.call("c").over()
    answers[0].over()
    answers[0].over()
    unread.call("a").over()
    unread.call("b").over()


def test_of_a_stream_that_meets_a_quota_all_before_it_is_kept(wire: Wire) -> None:
    wire.create()
    wire.knowledge.SetQuota(kpb.SetQuotaRequest(name="facts", entries=2500))
    acks = []
    with pytest.raises(grpc.RpcError) as error:  # noqa: PT012 - two acks come before it
        for ack in wire.knowledge.Insert(insert_requests("facts", 5000, random_vectors(5000)), timeout=60):
            acks.append(ack)
    assert status(error)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert "'facts' holds 2,048 of at most 2,500 entries, and 1,024 more came" in status(error)[1]
    assert [ack.created for ack in acks] == [1024, 1024]
    assert wire.knowledge.Count(kpb.CountRequest(collection="facts")).entries == 2048
    changed = wire.knowledge.SetQuota(kpb.SetQuotaRequest(name="facts", bytes=10**9))
    assert (changed.quota.entries, changed.quota.bytes) == (2500, 10**9)


def test_a_message_above_the_limit_is_refused_by_name(wire: Wire) -> None:
    wire.create()
    huge = kpb.InsertRequest(collection="facts", triples=[kpb.Triple(head="h" * (17 << 20), relation="r", tail="t")])
    ways: list[Callable[[], Any]] = [
        lambda: list(wire.channel.stream_stream("/atlasdb.v1.Knowledge/Insert")(iter([huge.SerializeToString()]))),
        lambda: wire.channel.unary_unary("/atlasdb.v1.Knowledge/Delete")(huge.SerializeToString()),
        lambda: list(wire.channel.stream_stream("/atlasdb.v1.Retrieval/Fetch")(iter([huge.SerializeToString()]))),
    ]
    for way in ways:
        with pytest.raises(grpc.RpcError) as error:
            way()
        assert status(error)[0] == grpc.StatusCode.RESOURCE_EXHAUSTED
    assert wire.knowledge.Count(kpb.CountRequest(collection="facts")).entries == 0
