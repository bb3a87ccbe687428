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
from atlasdb_contract.errors import ResourceExhausted, Unavailable

STOPPING = "the server is stopping; connect again in a moment and send what was not answered"
UNCOUNTED = ("/grpc.health.", "/grpc.reflection.")
"""Services that answer at any time, also while the server is full or stopping."""


class Lifetime:
    """Shared by every handler of one server. Safe to use from any thread."""

    def __init__(self, max_streams: int) -> None:
        self._changed = threading.Condition()
        self._work = 0
        self._streams = 0
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
    def stream(self) -> Iterator[None]:
        """One of the streams while a block of code runs; ResourceExhausted when all are taken."""
        with self._changed:
            if self._stopping:
                raise Unavailable(STOPPING)
            if self._streams >= self._max_streams:
                raise ResourceExhausted(
                    f"all {self._max_streams} streams of this server are in use; "
                    "close one, or start the server with a larger --max-streams"
                )
            self._streams += 1
        try:
            yield
        finally:
            with self._changed:
                self._streams -= 1

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

    def intercept_service(
        self,
        continuation: Continuation,
        handler_call_details: grpc.HandlerCallDetails,
    ) -> "Handler | None":
        """Wrap the handlers of our own services."""
        handler = continuation(handler_call_details)
        if handler is None or handler_call_details.method.startswith(UNCOUNTED):
            return handler
        return rewrap(handler, self.stream if handler.response_streaming else self._unary)

    def _unary(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        def call(request: Any, context: grpc.ServicerContext) -> Any:
            self._lifetime.begin()
            if not context.add_callback(self._lifetime.end):
                self._lifetime.end()
            return behaviour(request, context)

        return call

    def stream(self, behaviour: Callable[..., Any]) -> Callable[..., Any]:
        """The behaviour of a stream, counted."""

        def call(request: Any, context: grpc.ServicerContext) -> Iterator[Any]:
            with self._lifetime.stream():
                yield from behaviour(request, context)

        return call
