"""Errors on the wire: every one of ours has its status; nothing else leaks."""

import errno
import logging
from collections.abc import Iterator
from concurrent import futures

import grpc
import pytest
from serving import Wire

from atlasdb.service.status import Answers, as_atlas_error, code_of
from atlasdb_contract import errors
from atlasdb_contract.v1 import knowledge_pb2 as kpb


def kinds(kind: type[errors.AtlasError] = errors.AtlasError) -> Iterator[type[errors.AtlasError]]:
    for child in kind.__subclasses__():
        yield child
        yield from kinds(child)


@pytest.mark.parametrize("kind", list(kinds()))
def test_every_error_has_the_status_of_its_name(kind: type[errors.AtlasError]) -> None:
    code = code_of(as_atlas_error(kind("what to do")))
    assert code.name == kind.status
    assert code != grpc.StatusCode.UNKNOWN


@pytest.mark.parametrize("error", [MemoryError(), OSError(errno.ENOSPC, "no space"), OSError(errno.EMFILE, "files")])
def test_running_out_of_something_is_resource_exhausted(error: Exception) -> None:
    assert isinstance(as_atlas_error(error), errors.ResourceExhausted)


def broken(_: bytes, __: grpc.ServicerContext) -> bytes:
    raise KeyError("a secret of the inside")


def breaking(_: bytes, __: grpc.ServicerContext) -> Iterator[bytes]:
    yield b"all is well so far"
    raise KeyError("a secret of the inside")


@pytest.fixture
def faulty() -> Iterator[grpc.Channel]:
    """A server whose handlers have a bug."""
    handlers = {
        "Broken": grpc.unary_unary_rpc_method_handler(broken),
        "Breaking": grpc.unary_stream_rpc_method_handler(breaking),
    }
    with futures.ThreadPoolExecutor(2) as pool:
        server = grpc.server(pool, interceptors=[Answers()])
        server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("faulty", handlers)])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
            yield channel
        server.stop(None)


@pytest.mark.parametrize("method", ["Broken", "Breaking"])
def test_a_fault_of_ours_is_told_briefly_and_logged_with_its_traceback(
    faulty: grpc.Channel, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(grpc.RpcError) as error:
        list(faulty.unary_stream(f"/faulty/{method}")(b""))
    assert error.value.code() == grpc.StatusCode.INTERNAL
    said = error.value.details()
    assert "KeyError" in said
    assert "secret" not in said
    assert "Traceback" not in said
    assert "\n" not in said
    assert "a secret of the inside" in caplog.text
    assert "Traceback" in caplog.text
    assert f"/faulty/{method}" in caplog.text


def test_a_request_that_fails_is_logged_in_one_line(wire: Wire, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING), pytest.raises(grpc.RpcError):
        wire.knowledge.Count(kpb.CountRequest(collection="nowhere"))
    [record] = [record for record in caplog.records if record.name == "atlasdb.service"]
    assert "/atlasdb.v1.Knowledge/Count" in record.getMessage()
    assert "NOT_FOUND" in record.getMessage()
    assert record.exc_info is None


def test_an_unknown_method_is_unimplemented(wire: Wire) -> None:
    call = wire.channel.unary_unary("/atlasdb.v1.Knowledge/Nothing")
    with pytest.raises(grpc.RpcError) as error:
        call(b"")
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_a_message_above_the_limit_is_refused(wire: Wire) -> None:
    wire.create()
    triples = [kpb.Triple(head="h", relation="r", tail="x" * (17 << 20))]
    with pytest.raises(grpc.RpcError) as error:
        wire.insert([kpb.InsertRequest(collection="facts", triples=triples)])
    assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
