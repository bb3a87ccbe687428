"""Memory that clients' requests and answers may take together."""

import threading
from collections.abc import Callable

from atlasdb_contract.errors import ResourceExhausted

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

    def claim(self, size: int, what: str) -> None:
        """Take it now. ResourceExhausted where there is no room, naming `what` takes it."""
        with self._changed:
            if self._taken and self._taken + size > self._size:
                raise ResourceExhausted(f"{what} take {self._taken >> 20} of {self._size >> 20} MiB; try again later")
            self._taken += size

    def give(self, size: int) -> None:
        """Give it back."""
        with self._changed:
            self._taken -= size
            self._changed.notify_all()
