"""Calls handed on from a reader to the process that writes: byte for byte, as if the client had called that one.

    client ──request──▶ reader ──request──▶ writer      metadata, deadline, cancellation
           ◀─answer───         ◀─answer───             metadata, status, details

No message is parsed. A status other than OK is raised as gRPC's own error and passed on by service/status.py.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeAlias

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from atlasdb.service.lifetime import Lifetime
from atlasdb.service.status import Handler

Behaviour: TypeAlias = Callable[[Any, grpc.ServicerContext], Any]
Metadata: TypeAlias = tuple[tuple[str, str | bytes], ...]

OF_THE_CONNECTION = ("user-agent", "grpc-", ":")
"""Metadata that begin so are gRPC's own on each connection."""
FOREVER = 1e9
"""Seconds from which on a deadline is none."""


class Forwarder(grpc.GenericRpcHandler):  # type: ignore[type-arg]
    """Answers every method of some services with what the channel's other end answers."""

    def __init__(self, channel: grpc.Channel, services: Iterable[ServiceDescriptor], lifetime: Lifetime) -> None:
        """A stream that is handed on counts as work until it ends: the other end knows what it is about."""
        self._lifetime = lifetime
        self._handlers = {
            name: self._handler(channel, name, method.client_streaming, method.server_streaming)
            for service in services
            for method in service.methods
            if (name := f"/{service.full_name}/{method.name}")
        }

    def service(self, handler_call_details: grpc.HandlerCallDetails) -> "Handler | None":
        """The handler of a method; None for one that is not ours."""
        return self._handlers.get(handler_call_details.method)

    def _handler(self, channel: grpc.Channel, name: str, streams_in: bool, streams_out: bool) -> Handler:
        """With serializers that do nothing: what comes in and goes out is bytes, or iterators of bytes."""
        match streams_in, streams_out:
            case False, False:
                return grpc.unary_unary_rpc_method_handler(unary(channel.unary_unary(name, bytes, bytes)))
            case True, False:
                return grpc.stream_unary_rpc_method_handler(unary(channel.stream_unary(name, bytes, bytes)))
            case False, True:
                return grpc.unary_stream_rpc_method_handler(self._stream(channel.unary_stream(name, bytes, bytes)))
            case _:
                return grpc.stream_stream_rpc_method_handler(self._stream(channel.stream_stream(name, bytes, bytes)))

    def _stream(self, method: Any) -> Behaviour:
        """For one answer after another."""

        def forward(request: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
            with self._lifetime.work():
                call = method(request, timeout=seconds_left(context), metadata=own_metadata(context))
                cancel_with(context, call)
                if begun := call.initial_metadata():
                    context.send_initial_metadata(begun)
                yield from call
                context.set_trailing_metadata(call.trailing_metadata())

        return forward


def unary(method: Any) -> Behaviour:
    """For one answer."""

    def forward(request: Any, context: grpc.ServicerContext) -> bytes:
        call = method.future(request, timeout=seconds_left(context), metadata=own_metadata(context))
        cancel_with(context, call)
        answer: bytes = call.result()
        if begun := call.initial_metadata():
            context.send_initial_metadata(begun)
        context.set_trailing_metadata(call.trailing_metadata())
        return answer

    return forward


def seconds_left(context: grpc.ServicerContext) -> float | None:
    """Until the client's deadline."""
    left = context.time_remaining()
    return None if left is None or left > FOREVER else left


def own_metadata(context: grpc.ServicerContext) -> Metadata:
    """What the client itself sent along."""
    return tuple((key, value) for key, value in context.invocation_metadata() if not key.startswith(OF_THE_CONNECTION))


def cancel_with(context: grpc.ServicerContext, call: Any) -> None:
    """The call ends when the client's does, however that ends."""

    def cancel() -> None:
        call.cancel()

    if not context.add_callback(cancel):
        cancel()
