"""What happened in the last minutes, counted in windows of bounded memory: latencies, and how much came.

    │ window │ window │ … │ the one that is open │      a new one is begun when its time comes, the oldest dropped

Counting takes no lock: two threads that count at the very same moment may lose one of the two, which no percentile
shows. A lock is taken once a window, and by whoever reads.
"""

import threading
import time
from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

SPAN_SECONDS: Final = 300.0
"""How far back counts go."""
WINDOWS: Final = 20
_FINE: Final = 3
"""Bits below the highest that tell a latency from another: buckets are at most an eighth of it wide."""
BUCKETS: Final = (40 - _FINE + 1) << _FINE
"""Of latencies up to 2 ** 40 microseconds."""


@dataclass(frozen=True, slots=True)
class Counted:
    """Counts by bucket over so many seconds."""

    seconds: float
    counts: Sequence[int]

    @staticmethod
    def joined(parts: Iterable["Counted"], buckets: int = BUCKETS) -> "Counted":
        """Of several processes or collections: the counts added up, over the longest time of any."""
        seconds, counts = 0.0, [0] * buckets
        for part in parts:
            seconds = max(seconds, part.seconds)
            counts = [a + b for a, b in zip(counts, part.counts, strict=True)]
        return Counted(seconds, counts)

    @property
    def total(self) -> int:
        """Of all buckets."""
        return sum(self.counts)

    @property
    def per_second(self) -> float:
        """On the average."""
        return self.total / self.seconds if self.seconds else 0.0

    def quantile(self, share: float) -> float:
        """Microseconds that this share of the latencies stay below, to some 6%; 0 where there are none."""
        left = share * self.total
        for bucket, count in enumerate(self.counts):
            left -= count
            if count and left <= 0:
                return (_least(bucket) + _least(bucket + 1)) / 2
        return 0.0


def _least(bucket: int) -> int:
    """The least latency of a bucket."""
    width = max(0, (bucket >> _FINE) - 1)
    return (bucket - (width << _FINE)) << width


class Recent:
    """Counts by bucket of the last `span` seconds."""

    def __init__(self, buckets: int, span: float = SPAN_SECONDS, windows: int = WINDOWS) -> None:
        self._buckets = buckets
        self._span = span
        self._window = span / windows
        self._begun = time.perf_counter()
        self._lock = threading.Lock()
        self._windows: deque[tuple[float, list[int]]] = deque(maxlen=windows + 1)
        """Each with its end."""
        self._until = 0.0
        self._counts: list[int] = []

    def _turn(self, now: float) -> None:
        """Begin a window."""
        with self._lock:
            if now < self._until:
                return
            self._counts = [0] * self._buckets
            self._windows.append((now + self._window, self._counts))
            self._until = now + self._window

    def idle(self, since: float) -> bool:
        """Has nothing been counted since then (perf_counter)?"""
        return self._until < since

    def counted(self) -> Counted:
        """The counts of the last `span` seconds, or of the time since the first."""
        now = time.perf_counter()
        with self._lock:
            found = [counts for end, counts in self._windows if end > now - self._span]
        counts = [sum(column) for column in zip(*found, strict=True)] or [0] * self._buckets
        return Counted(min(self._span, now - self._begun), counts)


class Latencies(Recent):
    """Of something that happens often."""

    def __init__(self) -> None:
        super().__init__(BUCKETS)

    def note(self, microseconds: int, now: float) -> None:
        """One that ended `now`, a time of perf_counter."""
        if now >= self._until:
            self._turn(now)
        width = microseconds.bit_length() - _FINE - 1
        self._counts[microseconds if width <= 0 else (width << _FINE) + (microseconds >> width)] += 1


class Amount(Recent):
    """How much came, in the last minute."""

    def __init__(self) -> None:
        super().__init__(1, span=60.0)

    def add(self, number: int) -> None:
        """So much, now."""
        now = time.perf_counter()
        if now >= self._until:
            self._turn(now)
        self._counts[0] += number
