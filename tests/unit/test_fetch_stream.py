"""The fetch stream, over both of its transports: against a small server that answers with what it was sent."""

# ruff: noqa: N802 - named in the proto

import threading
from collections.abc import Iterator
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest

from atlasdb_client import Beams, Client, connect, duplex, fetch
from atlasdb_contract.errors import AtlasError, FailedPrecondition, InvalidArgument, NotFound, Unavailable
from atlasdb_contract.types import About, Floats, Triple
from atlasdb_contract.v1 import retrieval_pb2 as rpb
from atlasdb_contract.v1.retrieval_pb2_grpc import RetrievalServicer, add_RetrievalServicer_to_server


class Echo(RetrievalServicer):
    """A Block of the rows themselves. Collection "nowhere" is not found, "short" ends after one Block."""

    def __init__(self) -> None:
        self.requests: list[rpb.FetchRequest] = []
        self.hold = threading.Event()
        self.hold.set()

    def Fetch(self, requests: Iterator[rpb.FetchRequest], context: grpc.ServicerContext) -> Iterator[rpb.Block]:
        for request in requests:
            self.hold.wait(30)
            self.requests.append(request)
            if request.collection == "nowhere":
                context.abort(grpc.StatusCode.NOT_FOUND, "there is no collection nowhere")
            ids = np.arange(request.k, dtype="<u8").tobytes()
            scores = bytes(4 * request.k)
            yield rpb.Block(sequence=request.sequence, ids=ids, scores=scores, keys=request.rows, values=request.rows)
            if request.collection == "short":
                return


def serve(echo: Echo, address: str) -> grpc.Server:
    server = grpc.server(futures.ThreadPoolExecutor(4), options=[("grpc.max_receive_message_length", 16 << 20)])
    add_RetrievalServicer_to_server(echo, server)
    server.add_insecure_port(address)
    server.start()
    return server


@pytest.fixture
def echo() -> Echo:
    return Echo()


@pytest.fixture(params=["_Direct", "_Threaded"])
def client(
    request: pytest.FixtureRequest, echo: Echo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Client]:
    monkeypatch.setattr(fetch, "open_duplex", getattr(duplex, request.param))
    server = serve(echo, f"unix:{tmp_path}/echo.sock")
    with connect(f"unix:{tmp_path}/echo.sock") as client:
        yield client
    echo.hold.set()
    server.stop(None).wait()


def rows(seed: int, count: int = 4, dimension: int = 16) -> Floats:
    return np.random.default_rng(seed).normal(size=(count, dimension)).astype(np.float32)


def test_the_pinned_grpc_gets_the_direct_transport(client: Client) -> None:
    stream = duplex.open_duplex(client._channel, fetch.METHOD)
    stream.close()
    assert type(stream).__name__ == "_Direct"


def test_a_fetch_asks_what_it_was_told_to(client: Client, echo: Echo) -> None:
    with client.fetch_stream("facts") as stream:
        block = stream.fetch(rows(1), k=7, beams=Beams(3, 5), exact=True)
        stream.fetch(rows(1), k=7, explain=About((3, 9), (Triple("a", "b", "c"),)))
    asked, explained = echo.requests
    assert not asked.explain
    assert (explained.explain, list(explained.about), explained.about_triples[0].tail) == (True, [3, 9], "c")
    assert (asked.collection, asked.k, asked.beams.root, asked.beams.inter, asked.exact) == ("facts", 7, 3, 5, True)
    assert block.ids.tolist() == list(range(7))
    np.testing.assert_allclose(block.keys.floats(), rows(1), atol=0.02)


def test_many_fetches_go_over_one_stream_in_order(client: Client) -> None:
    with client.fetch_stream("facts") as stream:
        assert [stream.fetch(rows(i), k=i + 1).sequence for i in range(50)] == list(range(1, 51))


def test_fetches_can_be_sent_ahead_and_received_later(client: Client, echo: Echo) -> None:
    """More than any buffer on the way holds: the server is stuck sending until somebody receives."""
    echo.hold.clear()
    with client.fetch_stream("facts") as stream:
        sent = [stream.send(rows(i, 4096, 384), k=1) for i in range(1)]
        echo.hold.set()
        sent += [stream.send(rows(i, 4096, 384), k=1) for i in range(1, 24)]
        with pytest.raises(FailedPrecondition, match="24 fetches were sent and not received"):
            stream.fetch(rows(0), k=1)
        assert len(stream) == 24
        assert [stream.receive().sequence for _ in sent] == sent
        with pytest.raises(FailedPrecondition, match="no fetch is under way"):
            stream.receive()


def test_an_error_names_what_the_server_said_and_the_stream_goes_on(client: Client) -> None:
    with client.fetch_stream("nowhere") as stream:
        for _ in range(3):
            with pytest.raises(NotFound, match="there is no collection nowhere"):
                stream.fetch(rows(1), k=1)
        stream.collection = "facts"
        assert len(stream.fetch(rows(1), k=2).ids) == 2


def test_fetches_under_way_at_an_error_are_given_up(client: Client, echo: Echo) -> None:
    echo.hold.clear()
    with client.fetch_stream("short") as stream:
        stream.send(rows(1), k=1)
        stream.send(rows(2), k=1)
        echo.hold.set()
        assert stream.receive().sequence == 1
        with pytest.raises(Unavailable):
            stream.receive()
        assert len(stream) == 0


def test_a_server_that_can_not_explain_is_told_of(client: Client) -> None:
    with pytest.raises(FailedPrecondition, match="can't explain a fetch"):
        client.explain("facts", rows(1), k=1)


def test_rows_are_checked_before_they_are_sent(client: Client, echo: Echo) -> None:
    with client.fetch_stream("facts") as stream:
        with pytest.raises(InvalidArgument, match=r"shape \(N, D\)"):
            stream.fetch(rows(1)[0], k=1)
        with pytest.raises(InvalidArgument, match="k is 0"):
            stream.fetch(rows(1), k=0)
        with pytest.raises(InvalidArgument, match="NaN"):
            stream.fetch(np.full((1, 4), np.nan, np.float32), k=1)
        assert not echo.requests
        assert stream.fetch(rows(1), k=1).sequence == 1


def test_a_restarted_server_is_found_again(echo: Echo, client: Client, tmp_path: Path) -> None:
    address = f"unix:{tmp_path}/second.sock"
    server = serve(echo, address)
    with connect(address) as second, second.fetch_stream("facts") as stream:
        stream.fetch(rows(1), k=1)
        server.stop(None).wait()
        with pytest.raises(AtlasError):
            stream.fetch(rows(1), k=1)
        server = serve(echo, address)
        for _ in range(100):
            try:
                assert len(stream.fetch(rows(1), k=3).ids) == 3
                break
            except Unavailable:
                threading.Event().wait(0.05)
        else:
            pytest.fail("the server was not found again")
    server.stop(None).wait()


def test_no_server_is_unavailable(client: Client, tmp_path: Path) -> None:
    with connect(f"unix:{tmp_path}/nothing") as alone, pytest.raises(Unavailable, match="no atlasdb server answers"):
        alone.fetch("facts", rows(1), k=1)


def test_closing_the_client_ends_open_streams(client: Client, tmp_path: Path, echo: Echo) -> None:
    other = connect(client.target)
    stream = other.fetch_stream("facts")
    stream.fetch(rows(1), k=1)
    other.close()
    with pytest.raises((AtlasError, ValueError)):
        stream.fetch(rows(1), k=1)
    stream.close()
    stream.close()
