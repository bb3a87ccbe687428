"""A method that streams both ways, an answer to each request, with one thread a stream and no other on the way.

gRPC's sync server moves each message over two threads: one polls for all calls, the stream's own waits to be told that
a request came, and again that its answer was sent. Here the stream's thread polls for its own call, as the client's
does (atlasdb_client/duplex.py), and sends an answer and asks for the next request in one operation:

    operate(send an answer, receive)  ─▶  compute  ─▶  operate(send an answer, receive)  …

So the next request is taken when the answer before it has left, and a slow reader holds up its own stream alone.

It leans on gRPC's Cython layer, which makes no promises: where that layer is not as expected the method is served by
gRPC's public API, and a test says which of the two the pinned gRPC gets.
"""

from collections.abc import Callable, Iterator
from concurrent.futures import Executor
from contextlib import suppress
from importlib import import_module
from typing import Any, NoReturn

import grpc

from atlasdb.service.status import Handler

INSIDE = "grpc._cython.cygrpc"
CLOSED, MOVED, ENDED = "closed", "moved", "ended"
"""What completes: the call as a whole, messages, the status."""


class Direct:
    """One method of a server that was not started yet."""

    def __init__(self, server: grpc.Server, method: str, handler: Handler, threads: Executor) -> None:
        """AttributeError, ImportError or TypeError: this gRPC is made otherwise. `threads`: each stream takes one."""
        self._grpc: Any = import_module(INSIDE)
        inner: Any = server
        self._server: Any = inner._cy_server
        self._arrivals: Any = inner._state.completion_queue
        self._method = method
        self._handler = handler
        self._threads = threads
        with suppress(ValueError):  # "server must be started": so it knows the call
            self.await_call()
        self._server.register_method(method)

    def await_call(self) -> None:
        """Take one more call when it comes. Once after the start; then each call asks for the next."""
        queue = self._grpc.CompletionQueue()

        def arrived(event: Any) -> tuple[None, tuple[()]]:
            """In gRPC's thread; not successful when the server stops."""
            if event.success:
                self._threads.submit(self._serve, event.call, queue)
                with suppress(ValueError):  # it is stopping
                    self.await_call()
            return None, ()

        self._server.request_registered_call(queue, self._arrivals, self._method, arrived)

    def _serve(self, call: Any, queue: Any) -> None:
        """One stream, to its end."""
        stream = _Stream(self._grpc, call, queue, self._handler.request_deserializer)
        behaviour, serialize = self._handler.stream_stream, self._handler.response_serializer
        assert behaviour is not None
        assert serialize is not None
        context: Any = stream
        code, details = grpc.StatusCode.UNKNOWN, ""
        try:
            for answer in behaviour(stream.requests(), context):
                stream.send(serialize(answer))
                del answer
            code = grpc.StatusCode.OK
        except _Aborted as error:
            code, details = error.code, error.details
        finally:
            stream.end(code, details)


class _Aborted(Exception):
    """Ends a behaviour that has told its status."""

    def __init__(self, code: grpc.StatusCode, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


class _Stream:
    """One call. Also the context of its behaviour: as much of grpc.ServicerContext as service/status.py asks for."""

    def __init__(self, cygrpc: Any, call: Any, queue: Any, deserialize: Callable[[bytes], Any] | None) -> None:
        assert deserialize is not None
        self._grpc = cygrpc
        self._call = call
        self._queue = queue
        self._deserialize = deserialize
        self._closed = False
        self._under_way = 0
        self._message: bytes | None = None
        self._operate(CLOSED, cygrpc.ReceiveCloseOnServerOperation(0))
        self._operate(MOVED, cygrpc.SendInitialMetadataOperation((), 0), cygrpc.ReceiveMessageOperation(0))

    def requests(self) -> Iterator[Any]:
        """Until the client has no more, or has left. Each must have been answered before the next is asked for."""
        while (message := self._moved()) is not None:
            yield self._deserialize(message)

    def send(self, answer: bytes) -> None:
        """The answer to the last request."""
        self._operate(MOVED, self._grpc.SendMessageOperation(answer, 0), self._grpc.ReceiveMessageOperation(0))

    def end(self, code: grpc.StatusCode, details: str) -> None:
        """Send the status, and wait until gRPC is done with the call."""
        status = self._grpc.SendStatusFromServerOperation(None, code.value[0], details.encode(), 0)
        self._operate(ENDED, status)
        while self._under_way:
            self._step()

    def is_active(self) -> bool:
        """Whether the client is still there, as far as was heard."""
        return not self._closed

    def peer(self) -> str:
        """Its address."""
        peer: bytes = self._call.peer()
        return peer.decode()

    def end_now(self, code: grpc.StatusCode, details: str) -> None:
        """From any thread: whatever is under way completes, without success."""
        self._call.cancel(code.value[0], details)

    def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        """End the call with a status."""
        raise _Aborted(code, details)

    def _operate(self, name: str, *operations: Any) -> None:
        self._call.start_server_batch(operations, name)
        self._under_way += 1

    def _moved(self) -> bytes | None:
        """Wait for the next message."""
        while self._step() != MOVED:
            pass
        return self._message

    def _step(self) -> str:
        """Wait for one completion and take note of it."""
        event = self._queue.poll(None)
        self._under_way -= 1
        name: str = event.tag
        if name == CLOSED:
            self._closed = True
        elif name == MOVED:
            self._message = event.batch_operations[-1].message()
        return name
