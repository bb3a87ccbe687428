"""Answers of unary calls that are on their way to clients, who may never read them.

gRPC keeps an answer until it is read, and the call's thread is free meanwhile, so nothing else bounds how many there
are. A connection that leaves too much unread has its next calls refused, before anything is done for them; other
connections go on. One that reads nothing at all is closed by the server's keepalive.
"""

import threading
from collections import Counter

from atlasdb_contract.errors import ResourceExhausted

CONNECTION_BYTES = 32 << 20
"""What one connection may leave unread; gRPC has it in memory twice."""
TOGETHER_BYTES = 256 << 20
"""From so much on, of all connections, one that left any is served no more."""


class Unread:
    """Of one server. Safe to use from any thread."""

    def __init__(self, of_one: int = CONNECTION_BYTES, together: int = TOGETHER_BYTES) -> None:
        self._of_one, self._together = of_one, together
        self._lock = threading.Lock()
        self._sizes: Counter[str] = Counter()
        """By connection; only those that have any."""
        self._total = 0

    def call(self, connection: str) -> "Answer":
        """The answer of a new call. ResourceExhausted: its connection left too much unread."""
        with self._lock:
            left = self._sizes.get(connection, 0)
            if left >= self._of_one or (left and self._total >= self._together):
                raise ResourceExhausted(f"{left:,} bytes of answers were not read on this connection; read them first")
        return Answer(self, connection)

    def add(self, connection: str, size: int) -> None:
        """So much more of it is unread; or less."""
        with self._lock:
            self._total += size
            self._sizes[connection] += size
            if not self._sizes[connection]:
                del self._sizes[connection]


class Answer:
    """One of them, from when it is `ready` until its call is `over`, which may come first."""

    def __init__(self, unread: Unread, connection: str) -> None:
        self._unread, self._connection = unread, connection
        self._lock = threading.Lock()
        self._size: int | None = 0

    def ready(self, size: int) -> None:
        """It is there, and has so many bytes."""
        with self._lock:
            if self._size is not None:
                self._size = size
                self._unread.add(self._connection, size)

    def over(self) -> None:
        """It was read, or nobody is there any more. May be called twice."""
        with self._lock:
            self._unread.add(self._connection, -(self._size or 0))
            self._size = None
