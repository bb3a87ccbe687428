"""What a process measures of itself while it works: fetches by collection, what came in, samples of recall.

The fetches of readers are measured where they are: each process has a `Measured` to tell, and the one that writes puts
them together (atlasdb/service/reports.py).
"""

import math
import threading
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from queue import SimpleQueue

from atlasdb.store.recent import SPAN_SECONDS, Amount, Counted, Latencies
from atlasdb_contract.ids import CollectionId
from atlasdb_contract.types import Beams, Vectors

SAMPLES = 100
"""The last samples of recall that are kept of each collection."""


@dataclass(frozen=True, slots=True)
class Asked:
    """A fetch that was answered: `rows` int8 (R, D)."""

    name: str
    rows: Vectors
    k: int
    beams: Beams


@dataclass(frozen=True, slots=True)
class Sample:
    """How a descent's block compares with the exact one: the share of the exact block's mass that it has, and of its
    entries."""

    mass: float
    recall: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What one process measured: fetches by the collection's name, samples by its id, and how long its oldest view
    has been open, 0: it has none."""

    fetches: Mapping[str, Counted]
    samples: Mapping[CollectionId, Sequence[Sample]]
    oldest_view: float


class Meters:
    """Counts of one process. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.due = math.inf
        """When the next fetch is to be sampled (perf_counter); the sampler's to set."""
        self.asked: SimpleQueue[Asked | None] = SimpleQueue()
        """For the sampler; None: it is to end."""
        self._lock = threading.Lock()
        self._fetches: dict[str, Latencies] = {}
        self._inserted: dict[str, Amount] = {}
        self._samples: dict[CollectionId, deque[Sample]] = {}

    def fetched(self, name: str, microseconds: int, now: float) -> None:
        """A fetch that descended was answered `now` (perf_counter)."""
        latencies = self._fetches.get(name)
        if latencies is None:
            latencies = self._new(name, now)
        latencies.note(microseconds, now)

    def _new(self, name: str, now: float) -> Latencies:
        with self._lock:
            for other, known in list(self._fetches.items()):
                if known.idle(now - SPAN_SECONDS):
                    del self._fetches[other]
            return self._fetches.setdefault(name, Latencies())

    def sample(self, asked: Asked) -> None:
        """This is the fetch that was due."""
        self.due = math.inf
        self.asked.put(asked)

    def sampled(self, collection: CollectionId, sample: Sample) -> None:
        """What came of it."""
        with self._lock:
            self._samples.setdefault(collection, deque(maxlen=SAMPLES)).append(sample)

    def inserted(self, name: str, entries: int) -> None:
        """So many new entries are on disk."""
        with self._lock:
            self._inserted.setdefault(name, Amount()).add(entries)

    def inserts(self) -> dict[str, Counted]:
        """By collection."""
        with self._lock:
            return {name: amount.counted() for name, amount in self._inserted.items()}

    def forget(self, name: str, collection: CollectionId) -> None:
        """The collection is gone."""
        with self._lock:
            self._fetches.pop(name, None)
            self._inserted.pop(name, None)
            self._samples.pop(collection, None)

    def measured(self, oldest_view: float) -> Measured:
        """All that other processes may want to know."""
        now = time.perf_counter()
        with self._lock:
            fetches = {
                name: known.counted() for name, known in self._fetches.items() if not known.idle(now - SPAN_SECONDS)
            }
            samples = {collection: tuple(some) for collection, some in self._samples.items()}
        return Measured(fetches, samples, oldest_view)


def of_collection(parts: Iterable[Measured], name: str, collection: CollectionId) -> tuple[Counted, list[Sample]]:
    """What several processes measured of one collection."""
    known = list(parts)
    fetches = Counted.joined(part.fetches[name] for part in known if name in part.fetches)
    return fetches, [sample for part in known for sample in part.samples.get(collection, ())]
