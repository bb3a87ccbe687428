"""Time as it would pass if nobody else used the cores: less what threads of this process wait for one (Linux tells)."""

import time
from pathlib import Path

THREADS = Path("/proc/self/task")
SHORT = 0.02
"""Seconds in which the threads are not looked at again."""


class Clock:
    """Begins at 0. Of a time t in which this process's threads ran for r and waited for a core for w, all together,
    w is taken off, or its share t w / (r + w) where several did so at once."""

    def __init__(self) -> None:
        self._now = 0.0
        self._looked = time.perf_counter()
        self._before = _threads()

    def seconds(self) -> float:
        """So far."""
        wall = time.perf_counter() - self._looked
        if wall < SHORT:
            return self._now + wall
        after = _threads()
        ran = waited = 0
        for thread, (run, wait) in after.items():
            run_before, wait_before = self._before.get(thread, (0, 0))
            ran, waited = ran + run - run_before, waited + wait - wait_before
        self._now += max(0.0, wall - 1e-9 * waited * min(1.0, 1e9 * wall / max(ran + waited, 1)))
        self._looked, self._before = self._looked + wall, after
        return self._now


def _threads() -> dict[str, tuple[int, int]]:
    """Of each thread, nanoseconds that it ran and that it waited for a core."""
    found = {}
    for thread in THREADS.iterdir() if THREADS.is_dir() else ():
        try:
            run, wait, _ = (thread / "schedstat").read_text().split()
        except (OSError, ValueError):  # it has ended, or the kernel doesn't count
            continue
        found[thread.name] = int(run), int(wait)
    return found
