"""Memory that requests may take together."""

import threading
from collections.abc import Callable

LOOK_SECONDS = 1.0
"""How often one that waits looks whether it is still wanted."""


class Room:
    """Bytes that may be taken together, by whoever has them for a while. Safe to use from any thread."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._taken = 0
        self._changed = threading.Condition()

    def take(self, size: int, unwanted: Callable[[], bool]) -> bool:
        """Wait for room; False once it is `unwanted`. More than there is, is let in alone."""
        with self._changed:
            while self._taken and self._taken + size > self._size:
                if unwanted():
                    return False
                self._changed.wait(LOOK_SECONDS)
            self._taken += size
            return True

    def give(self, size: int) -> None:
        """Give it back."""
        with self._changed:
            self._taken -= size
            self._changed.notify_all()
