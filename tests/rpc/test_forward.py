"""A call that is handed on looks to both ends as if nobody stood between them."""

import threading
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any

import grpc
import pytest
from google.protobuf import descriptor_pb2, descriptor_pool

from atlasdb.service.forward import Forwarder
from atlasdb.service.lifetime import Counting, Lifetime
from atlasdb.service.status import Answers
from atlasdb_contract.errors import Unavailable

ARITIES = [(False, False), (False, True), (True, False), (True, True)]
DETAIL = ("grpc-status-details-bin", b"\x08\x05\x12\x04gone")


def name_of(streams_in: bool, streams_out: bool) -> str:
    return f"M{int(streams_in)}{int(streams_out)}"


def service_descriptor() -> Any:
    """A service with a method of each arity; its messages don't matter."""
    file = descriptor_pb2.FileDescriptorProto(name="echo.proto", package="echo")
    file.message_type.add(name="Any")
    service = file.service.add(name="Echo")
    for streams_in, streams_out in ARITIES:
        service.method.add(
            name=name_of(streams_in, streams_out),
            input_type=".echo.Any",
            output_type=".echo.Any",
            client_streaming=streams_in,
            server_streaming=streams_out,
        )
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return pool.FindServiceByName("echo.Echo")


class Echo(grpc.GenericRpcHandler):
    """The far end. Says back what it is sent; sees what was asked of it."""

    def __init__(self) -> None:
        self.metadata: dict[str, Any] = {}
        self.seconds_left = 0.0
        self.ended = threading.Event()

    def service(self, details: grpc.HandlerCallDetails) -> Any:
        streams_in, streams_out = (digit == "1" for digit in details.method[-2:])
        words = {(False, False): "unary_unary", (False, True): "unary_stream", (True, False): "stream_unary"}
        make = getattr(grpc, words.get((streams_in, streams_out), "stream_stream") + "_rpc_method_handler")

        def answers(request: Any, context: Any) -> Iterator[bytes]:
            self.metadata = dict(context.invocation_metadata())
            self.seconds_left = context.time_remaining()
            context.add_callback(self.ended.set)
            if "early" in self.metadata:
                context.send_initial_metadata((("early", "bird-bin"),))
            context.set_trailing_metadata((("late", "riser"), ("raw-bin", b"\x00\xff")))
            for message in request if streams_in else [request]:
                if message == b"fail":
                    context.set_trailing_metadata((("late", "riser"), DETAIL))
                    context.abort(grpc.StatusCode.OUT_OF_RANGE, "too far: ö")
                if message == b"hang":
                    self.ended.wait(20)
                yield message + b"!"

        def answer(request: Any, context: Any) -> bytes:
            return b"".join(answers(request, context))

        return make(answers if streams_out else answer)


class Between:
    """An Echo, a server that forwards to it, and a client's channel to that server."""

    def __init__(self) -> None:
        self.echo, self.lifetime = Echo(), Lifetime(max_streams=4)
        self._far = grpc.server(futures.ThreadPoolExecutor(8))
        self._far.add_generic_rpc_handlers((self.echo,))
        self.onward = grpc.insecure_channel(f"127.0.0.1:{self._far.add_insecure_port('127.0.0.1:0')}")
        self._near = grpc.server(futures.ThreadPoolExecutor(8), interceptors=[Answers(), Counting(self.lifetime)])
        self._near.add_generic_rpc_handlers((Forwarder(self.onward, [service_descriptor()], self.lifetime),))
        self.channel = grpc.insecure_channel(f"127.0.0.1:{self._near.add_insecure_port('127.0.0.1:0')}")
        self._far.start()
        self._near.start()

    def call(self, arity: tuple[bool, bool], messages: Any, **how: Any) -> tuple[list[bytes], Any]:
        """The answers, and the call for its metadata."""
        streams_in, streams_out = arity
        kind = "_".join("stream" if streams else "unary" for streams in arity)
        method = getattr(self.channel, kind)(f"/echo.Echo/{name_of(*arity)}")
        request = iter(messages) if streams_in else next(iter(messages))
        if streams_out:
            call = method(request, **how)
            return list(call), call
        answer, call = method.with_call(request, **how)
        return [answer], call

    def stop_far(self) -> None:
        self._far.stop(None).wait()

    def close(self) -> None:
        for end in (self.channel, self.onward):
            end.close()
        for server in (self._near, self._far):
            server.stop(None).wait()


@pytest.fixture
def between() -> Iterator[Between]:
    made = Between()
    yield made
    made.close()


@pytest.mark.parametrize("arity", ARITIES)
def test_messages_and_metadata_pass(between: Between, arity: tuple[bool, bool]) -> None:
    sent = [b"one", b"\x00\xfftwo", b""] if arity[0] else [b"\xff\x00"]
    answers, call = between.call(arity, sent, metadata=(("asked", "yes"), ("early", "1"), ("some-bin", b"\x00\x01")))
    assert b"".join(answers) == b"".join(message + b"!" for message in sent)
    assert len(answers) == (len(sent) if arity[1] else 1)
    assert between.echo.metadata["asked"] == "yes"
    assert between.echo.metadata["some-bin"] == b"\x00\x01"
    assert between.echo.seconds_left > 1e6
    assert dict(call.initial_metadata())["early"] == "bird-bin"
    trailing = dict(call.trailing_metadata())
    assert (trailing["late"], trailing["raw-bin"]) == ("riser", b"\x00\xff")
    assert call.code() == grpc.StatusCode.OK


@pytest.mark.parametrize("arity", ARITIES)
def test_a_status_passes_with_its_details(between: Between, arity: tuple[bool, bool]) -> None:
    with pytest.raises(grpc.RpcError) as error:
        between.call(arity, [b"fail"])
    assert error.value.code() == grpc.StatusCode.OUT_OF_RANGE
    assert error.value.details() == "too far: ö"
    trailing = dict(error.value.trailing_metadata())
    assert (trailing["late"], trailing[DETAIL[0]]) == ("riser", DETAIL[1])


@pytest.mark.parametrize("arity", ARITIES)
def test_a_deadline_passes(between: Between, arity: tuple[bool, bool]) -> None:
    with pytest.raises(grpc.RpcError) as error:
        between.call(arity, [b"hang"], timeout=0.5)
    assert error.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert between.echo.seconds_left < 1
    assert between.echo.ended.wait(5)
    assert between.lifetime.drained(5)


@pytest.mark.parametrize("arity", ARITIES)
def test_a_cancellation_passes(between: Between, arity: tuple[bool, bool]) -> None:
    streams_in, streams_out = arity
    kind = "_".join("stream" if streams else "unary" for streams in arity)
    method = getattr(between.channel, kind)(f"/echo.Echo/{name_of(*arity)}")
    request = iter([b"hang"]) if streams_in else b"hang"
    call = method(request) if streams_out else method.future(request)
    while not between.echo.metadata:
        time.sleep(0.01)
    call.cancel()
    assert between.echo.ended.wait(5)
    assert between.lifetime.drained(5)


def test_answers_come_as_they_are_given(between: Between) -> None:
    """A stream is not gathered: each answer is there before the next request is sent."""
    asked: list[bytes] = []
    ready = threading.Semaphore(1)

    def requests() -> Iterator[bytes]:
        for number in range(5):
            ready.acquire()
            asked.append(b"%d" % number)
            yield asked[-1]

    for number, answer in enumerate(between.channel.stream_stream("/echo.Echo/M11")(requests())):
        assert (answer, len(asked)) == (b"%d!" % number, number + 1)
        ready.release()


def test_a_client_that_leaves_ends_its_requests(between: Between) -> None:
    ended = threading.Event()

    def requests() -> Iterator[bytes]:
        yield b"one"
        ended.wait(20)

    call = between.channel.stream_stream("/echo.Echo/M11")(requests())
    assert next(call) == b"one!"
    call.cancel()
    assert between.echo.ended.wait(5)
    ended.set()


def test_an_unknown_method_is_unimplemented(between: Between) -> None:
    with pytest.raises(grpc.RpcError) as error:
        between.channel.unary_unary("/echo.Echo/Other")(b"")
    assert error.value.code() == grpc.StatusCode.UNIMPLEMENTED


def test_streams_are_work_and_a_stopping_reader_takes_none(between: Between) -> None:
    call = between.channel.unary_stream("/echo.Echo/M01")(b"hang")
    while not between.echo.metadata:
        time.sleep(0.01)
    between.lifetime.stop()
    assert not between.lifetime.drained(0.05)
    with pytest.raises(Unavailable):
        between.lifetime.begin()
    for arity in ARITIES:
        with pytest.raises(grpc.RpcError) as error:
            between.call(arity, [b"x"])
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    call.cancel()
    assert between.lifetime.drained(5)


def test_a_far_end_that_is_gone_is_unavailable(between: Between) -> None:
    between.stop_far()
    for arity in ARITIES:
        with pytest.raises(grpc.RpcError) as error:
            between.call(arity, [b"x"])
        assert error.value.code() == grpc.StatusCode.UNAVAILABLE
