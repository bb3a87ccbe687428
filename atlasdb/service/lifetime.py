"""How long things live in a server: the work in hand, the streams that are open, and the stop.

A piece of work is what a client may count on once it was taken: a unary call until its answer is
sent, an insert's request until its ack is sent, a fetch's until its Block is. A stream between two
requests is no work, so an idle one never holds up a stop.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import grpc

from atlasdb.service.status import Continuation, Handler, rewrap
from atlasdb.service.streams import End, OpenStream, ending
from atlasdb.service.unread import Unread
from atlasdb_contract.errors import ResourceExhausted, Unavailable

STOPPING = "the server is stopping; connect again in a moment and send what was not answered"
IDLE_SECONDS = 10.0
"""The least that a stream has waited for its client when it is ended for another one's sake."""
LEAVING_SECONDS = 2.0
"""The longest that a new stream waits for the place of one that was ended."""
UNCOUNTED = ("/grpc.health.", "/grpc.reflection.")
"""Services that answer at any time, also while the server is full or stopping."""


class Lifetime:
    """Shared by every handler of one server. Safe to use from any thread."""

    def __init__(self, max_streams: int) -> None:
        self._changed = threading.Condition()
        self._work = 0
        self._streams: list[OpenStream] = []
        self._max_streams = max_streams
        self._stopping = False

    @property
    def stopping(self) -> bool:
        """No new work is taken."""
        return self._stopping

    def begin(self) -> None:
        """Take one piece of work; each needs its `end`. Unavailable once the server is stopping."""
        with self._changed:
            if self._stopping:
                raise Unavailable(STOPPING)
            self._work += 1

    def end(self) -> None:
        """One piece of work is answered."""
        with self._changed:
            self._work -= 1
            self._changed.notify_all()

    @contextmanager
    def work(self) -> Iterator[None]:
        """`begin` and `end` around a block of code."""
        self.begin()
        try:
            yield
        finally:
            self.end()

    @contextmanager
    def stream(self, end: End) -> Iterator[OpenStream]:
        """One of the streams while a block of code runs; `end` ends it. ResourceExhausted when all are taken and at
        work."""
        opened = OpenStream(end)
        with self._changed:
            if self._stopping:
                raise Unavailable(STOPPING)
            if len(self._streams) >= self._max_streams and not self._make_room():
                raise ResourceExhausted(
                    f"all {self._max_streams} streams of this server are in use; "
                    "close one, or start the server with a larger --max-streams"
                )
            self._streams.append(opened)
        try:
            yield opened
        finally:
            with self._changed:
                self._streams.remove(opened)
                self._changed.notify_all()

    def _make_room(self) -> bool:
        """End the stream that waits longest for its client, and wait until it has let its place go."""
        longest = max(self._streams, key=OpenStream.waits)
        if (seconds := longest.waits()) < IDLE_SECONDS:
            return False
        longest.end(f"nothing was sent or read for {seconds:.0f} s, and another stream needs the place; open it again")
        return self._changed.wait_for(lambda: len(self._streams) < self._max_streams, LEAVING_SECONDS)

    def stop(self) -> None:
        """Take no more work."""
        with self._changed:
            self._stopping = True
            self._changed.notify_all()

    def drained(self, seconds: float) -> bool:
        """Wait until no work is left, at most `seconds`; whether none is."""
        deadline = time.monotonic() + seconds
        with self._changed:
            while self._work and (left := deadline - time.monotonic()) > 0:
                self._changed.wait(left)
            return not self._work


class Counting(grpc.ServerInterceptor):  # type: ignore[type-arg]
    """Counts unary calls as work until their answer is sent, and streams for as long as they hold a thread."""

    def __init__(self, lifetime: Lifetime) -> None:
        self._lifetime = lifetime
        self._unread = Unread()

    def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Wrap the handlers of our own services."""
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(UNCOUNTED):
            return handler
        return rewrap(handler, self._kind(handler))

    def _kind(self, handler: Handler) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
        if not handler.response_streaming:
            return self._unary
        return self.stream if handler.request_streaming else self._answers

    def _unary(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            answer = self._unread.call(context.peer())
            self._lifetime.begin()

            def over() -> None:
                self._lifetime.end()
                answer.over()

            if not context.add_callback(over):
                over()
            reply = behaviour(request, context)
            answer.ready(len(reply) if isinstance(reply, bytes) else reply.ByteSize())
            return reply

        return call

    def stream(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        """The behaviour of a stream of requests with an answer each, counted."""

        def call(requests: Iterator[Any], context: grpc.ServicerContext) -> Iterator[Any]:
            with self._lifetime.stream(ending(context)) as opened:
                yield from opened.answers(behaviour(opened.requests(requests), context))

        return call

    def _answers(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        """The same of a stream that answers one request."""

        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._lifetime.stream(ending(context)) as opened:
                yield from opened.answers(behaviour(request, context))

        return call
