"""Streams that are open, and which of them wait for their clients.

    at work    a request is in hand, or a scan looks for what to send
    waiting    every request is answered and none comes, or an answer lies there and is not read

A stream may wait for as long as it likes: a runtime asks when somebody asks it. Only where all streams of the server
are taken, the one that waits longest makes room for a new one.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import grpc

End = Callable[[grpc.StatusCode, str], None]
"""Ends a call from any thread, whatever its own thread waits for."""


class OpenStream:
    """One of them. `requests` and `answers` are for the thread, or the two, that serve it; the rest for any."""

    def __init__(self, end: End) -> None:
        self._end = end
        self._taken = self._answered = 0
        self._asked: float | None = None
        """Since when it waits for a request."""
        self._sending: float | None = None
        """Since when an answer waits to be read."""
        self._moved = time.monotonic()
        self._ended = False

    def requests(self, requests: Iterator[Any]) -> Iterator[Any]:
        """The same ones, counted. Each gets one answer."""
        while True:
            self._asked = time.monotonic()
            request = next(requests, None)
            self._asked = None
            if request is None:
                return
            self._taken += 1
            yield request

    def answers(self, answers: Iterator[Any]) -> Iterator[Any]:
        """The same ones, counted when they are sent."""
        for answer in answers:
            self._sending = time.monotonic()
            yield answer
            del answer
            self._moved = time.monotonic()
            self._answered += 1
            self._sending = None

    def waits(self) -> float:
        """Seconds that it has been waiting for its client; 0: it does not, or is being ended."""
        sending, asked = self._sending, self._asked
        if self._ended:
            return 0.0
        if sending is not None:
            return time.monotonic() - sending
        if asked is None or self._taken != self._answered:
            return 0.0
        return time.monotonic() - max(asked, self._moved)

    def end(self, details: str) -> None:
        """UNAVAILABLE: its client may open another."""
        self._ended = True
        self._end(grpc.StatusCode.UNAVAILABLE, details)


def ending(context: Any) -> End:
    """How a call is ended with a status while its thread waits. gRPC's public API can only cancel it."""
    if own := getattr(context, "end_now", None):
        return own  # type: ignore[no-any-return]

    def end(code: grpc.StatusCode, details: str) -> None:
        try:
            context._rpc_event.call.cancel(code.value[0], details)
        except (AttributeError, TypeError):
            context.cancel()

    return end
