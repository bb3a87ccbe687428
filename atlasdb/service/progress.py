"""Long work told about while it runs: at most ten messages a second, and stopped when nobody listens."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

SECONDS_BETWEEN = 0.1

T = TypeVar("T")


class Pace:
    """Whether a message is due: a new stage at once, the rest `SECONDS_BETWEEN` apart."""

    def __init__(self) -> None:
        self._stage: object = None
        self._next = 0.0

    def due(self, stage: object) -> bool:
        """Asked once for each message; True when it should be sent."""
        now = time.monotonic()
        if stage == self._stage and now < self._next:
            return False
        self._stage, self._next = stage, now + SECONDS_BETWEEN
        return True


def told(work: Callable[[Callable[[], bool], Callable[[T], None]], None], unwanted: Callable[[], bool]) -> Iterator[T]:
    """Run `work(cancelled, tell)` in a thread of its own and yield what it tells; its errors are raised here.

    The work never waits for a slow listener. When the iterator is closed early, or `unwanted` says so, the work is
    cancelled; the iterator's end waits for the work's.
    """
    messages: queue.SimpleQueue[tuple[T] | Exception | None] = queue.SimpleQueue()
    left = threading.Event()

    def run() -> None:
        try:
            work(lambda: left.is_set() or unwanted(), lambda message: messages.put((message,)))
            messages.put(None)
        except Exception as error:  # noqa: BLE001 - raised again below
            messages.put(error)

    thread = threading.Thread(target=run, name="told-work", daemon=True)
    thread.start()
    try:
        while (message := messages.get()) is not None:
            if isinstance(message, Exception):
                raise message
            yield message[0]
    finally:
        left.set()
        thread.join()
