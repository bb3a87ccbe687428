"""Fetches on the threads of their own streams, and over gRPC's public API where its inside is another."""

import queue
import time
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from serving import Connector, Served, Wire, random_vectors, serving

from atlasdb.service import direct
from atlasdb.service.direct import Direct
from atlasdb_contract import codec
from atlasdb_contract.v1 import retrieval_pb2 as rpb


def request(k: int = 4, sequence: int = 1, name: str = "facts", rows: int = 1) -> rpb.FetchRequest:
    vectors = codec.vectors_to_proto(random_vectors(rows))
    return rpb.FetchRequest(collection=name, sequence=sequence, rows=vectors, k=k)


@pytest.fixture(params=["direct", "public"])
def ours(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connect: Connector
) -> Iterator[tuple[Wire, Served]]:
    """A server with a collection; the second as with a gRPC that has no such inside."""
    if request.param == "public":
        monkeypatch.setattr(direct, "INSIDE", "grpc.of_another_version")
    for served in serving(tmp_path, None, max_streams=4):
        assert (served.server._fetches is None) == (request.param == "public")
        wire = connect(served.targets["unix"])
        wire.create()
        wire.fill(1000)
        yield wire, served


def test_the_pinned_grpc_gets_fetches_on_their_own_threads(served: Served) -> None:
    assert isinstance(served.server._fetches, Direct)


def test_both_ways_answer_in_order_and_end_with_the_requests(ours: tuple[Wire, Served]) -> None:
    wire, _ = ours
    blocks = list(wire.retrieval.Fetch(iter([request(sequence=n) for n in range(50)]), timeout=30))
    assert [block.sequence for block in blocks] == list(range(50))
    assert list(wire.retrieval.Fetch(iter([]), timeout=30)) == []


def test_both_ways_tell_an_error_after_the_blocks_before_it(ours: tuple[Wire, Served]) -> None:
    wire, _ = ours
    stream = wire.retrieval.Fetch(iter([request(), request(name="nowhere"), request()]), timeout=30)
    assert next(stream).sequence == 1
    with pytest.raises(grpc.RpcError) as error:
        next(stream)
    assert error.value.code() == grpc.StatusCode.NOT_FOUND
    assert "nowhere" in error.value.details()


def test_a_reader_that_is_slow_holds_up_nobody_else(ours: tuple[Wire, Served]) -> None:
    """Blocks of 1000 entries, far more than any buffer on the way holds, asked for and not read."""
    wire, _ = ours
    asked = [request(k=1000, sequence=n) for n in range(400)]
    slow = wire.retrieval.Fetch(iter(asked))
    time.sleep(0.3)
    assert len(list(wire.retrieval.Fetch(iter([request()] * 20), timeout=30))) == 20
    assert [block.sequence for block in slow] == list(range(400))


def test_a_client_that_leaves_amid_blocks_gives_its_stream_back(ours: tuple[Wire, Served]) -> None:
    wire, served = ours
    for _ in range(5 * served.settings.max_streams):
        asked: queue.SimpleQueue[rpb.FetchRequest | None] = queue.SimpleQueue()
        stream = wire.retrieval.Fetch(iter(asked.get, None))
        for _ in range(8):
            asked.put(request(k=1000))
        next(stream)
        stream.cancel()
        asked.put(None)
        deadline = time.monotonic() + 10
        while served.server._lifetime._streams:
            assert time.monotonic() < deadline
            time.sleep(0.01)


def test_a_deadline_ends_a_stream(ours: tuple[Wire, Served]) -> None:
    wire, _ = ours
    asked: queue.SimpleQueue[rpb.FetchRequest | None] = queue.SimpleQueue()
    stream = wire.retrieval.Fetch(iter(asked.get, None), timeout=0.5)
    asked.put(request())
    next(stream)
    with pytest.raises(grpc.RpcError) as error:
        next(stream)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    asked.put(None)


def test_a_stop_ends_streams_that_nobody_reads(ours: tuple[Wire, Served]) -> None:
    wire, served = ours
    slow = wire.retrieval.Fetch(iter([request(k=1000)] * 400))
    next(slow)
    before = time.monotonic()
    served.server.stop(1)
    assert time.monotonic() - before < 5
    with pytest.raises(grpc.RpcError):
        list(slow)
