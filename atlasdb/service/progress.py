"""Long work told about while it runs: at most ten messages a second, and stopped when nobody listens."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Progress

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


def told(
    work: Callable[[Callable[[], bool], Callable[[Progress], None]], Generation],
    cancelled: Callable[[], bool],
) -> Iterator[Progress]:
    """Run `work(cancelled, progress)` in a thread of its own and yield its progress; the last one has the generation.

    Its errors are raised here. When the iterator is closed early, the work is cancelled and waited for.
    """
    messages: queue.SimpleQueue[Progress | Exception | None] = queue.SimpleQueue()
    left = threading.Event()
    pace = Pace()

    def report(progress: Progress) -> None:
        if pace.due(progress.stage):
            messages.put(progress)

    def run() -> None:
        try:
            generation = work(lambda: left.is_set() or cancelled(), report)
            messages.put(Progress("done", 1, 1, generation))
        except Exception as error:  # noqa: BLE001 - raised again below
            messages.put(error)
        messages.put(None)

    thread = threading.Thread(target=run, name="told-work", daemon=True)
    thread.start()
    try:
        while (message := messages.get()) is not None:
            if isinstance(message, Exception):
                raise message
            yield message
    finally:
        left.set()
        thread.join()
