"""Errors on their way to the wire: the only place where an exception becomes a gRPC status.

An AtlasError keeps its own status and sentence. Anything else is a fault of ours: the client reads
INTERNAL and where to look, the log holds the traceback. What another server answered to a call that was handed on to
it is passed on as it is: that one has logged it.
"""

import errno
import logging
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NoReturn, TypeAlias

import grpc
from google.protobuf.message import DecodeError

from atlasdb_contract.errors import AtlasError, Internal, InvalidArgument, ResourceExhausted

log = logging.getLogger("atlasdb.service")

Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Continuation: TypeAlias = "Callable[[grpc.HandlerCallDetails], grpc.RpcMethodHandler[Any, Any] | None]"

FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.ENOMEM, errno.EMFILE, errno.ENFILE})
"""What the system says when room, memory or handles have run out."""


def as_atlas_error(error: Exception) -> AtlasError:
    """The error to tell a client. Foreign errors are mapped here and nowhere else."""
    if isinstance(error, AtlasError):
        return error
    if isinstance(error, DecodeError):
        return InvalidArgument("the request is no message that this method takes; is the client of another version?")
    if isinstance(error, MemoryError):
        return ResourceExhausted("the server is out of memory for this request; send a smaller one")
    if isinstance(error, OSError) and error.errno in FULL:
        return ResourceExhausted(f"the server has no room left: {error.strerror}")
    return Internal(f"a fault of atlasdb itself ({type(error).__name__}); the server's log tells more")


def code_of(error: AtlasError) -> grpc.StatusCode:
    """The status of an error's name."""
    return grpc.StatusCode[error.status]


class Answers(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Turns what a handler raises into the status of its RPC, and logs it."""

    def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Wrap the handler; unknown methods stay gRPC's own UNIMPLEMENTED."""
        handler = continuation(handler_call_details)
        if handler is None:
            return None
        method = handler_call_details.method
        read = partial(map, readable) if handler.request_streaming else readable
        return rewrap(handler, lambda behaviour: answering(method, behaviour, handler.response_streaming, read))


def answering(
    method: str, behaviour: Callable[..., Any], streaming: bool, read: Callable[[Any], Any] = lambda given: given
) -> Callable[..., Any]:
    """`behaviour` with its errors told properly. `read`: of its request, or requests, what is unreadable is refused."""

    def unary(request: Any, context: grpc.ServicerContext) -> Any:
        try:
            return behaviour(read(request), context)
        except Exception as error:  # noqa: BLE001 - told and logged
            refuse(method, error, context)

    def stream(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
        try:
            yield from behaviour(read(request), context)
        except Exception as error:  # noqa: BLE001 - told and logged
            refuse(method, error, context)

    return stream if streaming else unary


def refuse(method: str, error: Exception, context: grpc.ServicerContext) -> NoReturn:
    """End the RPC with the error's status. When the client is gone there is nobody to tell."""
    if not context.is_active():
        raise error
    if isinstance(error, grpc.RpcError):
        context.set_trailing_metadata(tuple((item.key, item.value) for item in error.trailing_metadata() or ()))
        context.abort(error.code(), error.details() or "")
    told = as_atlas_error(error)
    if isinstance(told, Internal):
        log.error("%s from %s failed", method, context.peer(), exc_info=error)
    else:
        log.warning("%s from %s: %s: %s", method, context.peer(), told.status, told)
    context.abort(code_of(told), str(told))


def readable(request: Any) -> Any:
    """The request, unless it is why there is none."""
    if isinstance(request, DecodeError):
        raise request
    return request


def lenient(deserialize: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Gives the DecodeError instead of raising it: a stream that gRPC ends for that keeps its server from stopping."""

    def read(data: bytes) -> Any:
        try:
            return deserialize(data)
        except DecodeError as error:
            return error

    return read


def rewrap(handler: Handler, wrap: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Handler:
    """The same handler around another behaviour."""
    kinds: dict[tuple[bool, bool], tuple[Callable[..., Any] | None, Callable[..., Any]]] = {
        (False, False): (handler.unary_unary, grpc.unary_unary_rpc_method_handler),
        (False, True): (handler.unary_stream, grpc.unary_stream_rpc_method_handler),
        (True, False): (handler.stream_unary, grpc.stream_unary_rpc_method_handler),
        (True, True): (handler.stream_stream, grpc.stream_stream_rpc_method_handler),
    }
    behaviour, make = kinds[handler.request_streaming, handler.response_streaming]
    assert behaviour is not None
    deserialize = handler.request_deserializer and lenient(handler.request_deserializer)
    rewrapped: Handler = make(wrap(behaviour), deserialize, handler.response_serializer)
    return rewrapped
