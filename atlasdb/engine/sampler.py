"""Recall as it is: now and then a fetch that was answered is answered once more, exactly, and the two are compared.

    a fetch ──▶ descent and a copy of the delta, in one view ──▶ copies of the trees, a record in each view ──▶ Sample

Trees are immutable, so that with the delta and the tombstones as they were, all those views show one state: the one
that the descent saw. Where a fold or a build replaced the trees meanwhile, the sample is let go. Between comparisons
the thread rests, so that it takes a small share of one core whatever the size of the collection.
"""

import logging
import math
import random
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from atlasdb.engine.engine import Engine
from atlasdb.engine.meters import Asked, Sample
from atlasdb.tree.descend import descend
from atlasdb.tree.image import Forest
from atlasdb.tree.rank import slots_in
from atlasdb.tree.sampled import Exact
from atlasdb.tree.soundness import Unsound
from atlasdb_contract.errors import AtlasError, Cancelled
from atlasdb_contract.types import Floats, Vectors

log = logging.getLogger("atlasdb.engine")

SHARE: Final = 0.02
"""Of one core, that all samplers of a server take at most."""
ROWS_LIMIT: Final = 256
"""Fetches of more rows are not sampled."""
DELTA_LIMIT: Final = 1 << 15
"""Nor are collections whose delta has more slots: it is soon folded."""
AT_ONCE: Final = 1 << 16
"""Products of slots and rows between two rests: a millisecond or two."""
GIVEN_UP: Final = (AtlasError, Unsound)
"""A sample that can't be finished is no news: what is damaged a fetch, or verify, tells."""


class Sampler:
    """The thread, once `start` was called; `close` it before the engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._closing = threading.Event()
        self._share = SHARE
        self._thread: threading.Thread | None = None

    def start(self, per_minute: float, processes: int) -> None:
        """Take so many samples a minute at most, in all of a server's processes; this is one of them. 0: none."""
        if per_minute <= 0 or self._thread is not None:
            return
        self._share = SHARE / processes
        gap = 60 * processes / per_minute
        self._thread = threading.Thread(target=self._run, args=(gap,), name="atlasdb-sampler", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop in the middle of whatever it does. May be called twice."""
        self._closing.set()
        self._engine.meters.due = math.inf
        if self._thread is not None:
            self._engine.meters.asked.put(None)
            self._thread.join()

    def _run(self, gap: float) -> None:
        meters = self._engine.meters
        draw = random.Random()
        while not self._closing.is_set():
            meters.due = time.perf_counter() + gap * draw.uniform(0.5, 1.5)
            if (asked := meters.asked.get()) is None:
                return
            if len(asked.rows) > ROWS_LIMIT:
                continue
            try:
                measure(self._engine, asked, resting(self._share, self._closing.wait))
            except GIVEN_UP as error:
                log.debug("a sample of %r was not finished: %s", asked.name, error)
            except Exception:
                log.exception("a sample of %r failed", asked.name)


def resting(share: float, wait: Callable[[float], bool]) -> Callable[[], None]:
    """To be called between pieces of work: waits for as long as keeps this thread to its share of a core. Cancelled
    where `wait`, in seconds, says that it was cut short."""
    spent = time.thread_time()

    def rest() -> None:
        nonlocal spent
        now = time.thread_time()
        if wait((now - spent) * (1 / share - 1)):
            raise Cancelled("the store is closing")
        spent = now

    return rest


@dataclass(frozen=True, slots=True)
class _Part:
    """Slots of one record, copied: keys int8 (n, D), and how many entries each has."""

    keys: Vectors
    weights: Floats


def measure(engine: Engine, asked: Asked, rest: Callable[[], None]) -> Sample | None:
    """Answer a fetch again, both ways; None where the collection changes too much meanwhile to compare the two."""
    exact = Exact(asked.rows, asked.k)
    with engine.store.view(asked.name) as view:
        record, woods = view.record, view.woods()
        forest = woods.forest
        if len(forest.delta) > DELTA_LIMIT:
            return None
        found = descend(forest, asked.rows, asked.k, asked.beams)
        delta = [_copied(forest, number) for number in range(forest.bases[-1], len(forest.slots.counts))]
        records, dead, out = forest.bases[-1], forest.dead, forest.out

    def compare(part: _Part) -> None:
        step = max(1, AT_ONCE // len(asked.rows))
        for start in range(0, len(part.weights), step):
            rest()
            here = slice(start, start + step)
            exact.add(part.keys.take(here), part.weights[here])

    for part in delta:
        compare(part)
    for number in range(records):
        with engine.store.view(asked.name) as view:
            now = view.woods()
            if view.record.id != record.id or now.trees != woods.trees:
                return None
            as_it_was = replace(now.forest, dead=dead, out=out)
            part = _copied(as_it_was, number)
        compare(part)
    judged = exact.judged(found.keys)
    if judged is None:
        return None
    sample = Sample(judged.mass, judged.recall)
    engine.meters.sampled(record.id, sample)
    return sample


def _copied(forest: Forest, number: int) -> _Part:
    _, keys, weights = slots_in(forest, number, int(forest.slots.counts[number]), sound=True)
    return _Part(Vectors(np.array(keys.data), np.array(keys.scales)), weights)
