"""A process that writes to a store and says what it is about to do and what was acknowledged, until it is killed.

Messages: ("open",) once it may write, ("begin", step) before a step is handed over, ("ack",) when the oldest step that
has none is acknowledged, ("start", name) and ("end", name) around operations that change no entry, ("wrong", what).
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from atlasdb.engine import build, upkeep
from atlasdb.engine.database import Database
from atlasdb_contract.errors import AtlasError, FailedPrecondition

from .forked import Say
from .ledger import CONFIG, MAIN, MAP_BYTES, Create, Delete, Drop, Insert, Ledger, Step, triple, vectors

OTHER = "other"
WINDOW = 4
"""Steps in hand at once."""
LIVE = 1500
"""Entries from which on more is deleted than inserted, so that a store stays quick to verify."""
NEAR = 4000
"""Facts that steps draw from: many are there already."""


def copied(database: Database) -> Iterator[Any]:
    """A snapshot; the one before the last goes."""
    for older in database.list_snapshots()[:-1]:
        yield database.delete_snapshot(older.name)
    yield from database.create_snapshot()


QUIET: dict[str, Callable[[Database], Any]] = {
    "build": lambda database: database.build(MAIN),
    "fold": lambda database: build.fold(database._engine, MAIN, lambda: False),
    "compact": lambda database: list(database.compact()),
    "snapshot": lambda database: list(copied(database)),
}
"""Operations that change no entry, run beside the steps. Whatever is to be killed in the middle has a line here."""


def hasten_upkeep() -> None:
    """Let upkeep do to a few hundred entries what it does to thousands, and not log that a build is running. In a child
    alone."""
    logging.getLogger("atlasdb").setLevel(logging.CRITICAL)
    upkeep.DELTA_SLOTS, upkeep.QUIET_SECONDS, upkeep.LEAST_DEAD = 200, 0.01, 100


@dataclass
class Actor:
    """`run` until somebody kills the process, or for a number of steps. `ledger` is a copy of what the store holds."""

    folder: Path
    ledger: Ledger
    rng: np.random.Generator
    say: Say
    quiet: Sequence[str] = tuple(QUIET)
    """The operations of QUIET that go on beside the steps."""

    def run(self, steps: int | None = None) -> None:
        """Open, act, close."""
        hasten_upkeep()
        self.ledger = deepcopy(self.ledger)
        self._waiting: deque[tuple[Callable[[], list[int]], list[int]]] = deque()
        self._over = threading.Event()
        with Database.open(self.folder, MAP_BYTES) as database:
            self.say(("open",))
            if MAIN not in self.ledger.collections:
                self._do(database, Create(MAIN))
            beside = threading.Thread(target=self._beside, args=(database, int(self.rng.integers(1 << 30))))
            if self.quiet:
                beside.start()
            done = 0
            while steps is None or done < steps:
                self._do(database, self._choose())
                done += 1
            self._settle(0)
            self._over.set()
            if self.quiet:
                beside.join()

    def _beside(self, database: Database, seed: int) -> None:
        rng = np.random.default_rng(seed)
        while not self._over.wait(float(rng.uniform(0, 0.02))):
            name = str(rng.choice(list(self.quiet)))
            self.say(("start", name))
            try:
                QUIET[name](database)
            except FailedPrecondition:
                pass  # upkeep builds just now
            except AtlasError as error:
                self.say(("wrong", f"{name}: {error}"))
            self.say(("end", name))

    def _choose(self) -> Step:
        rng, held = self.rng, self.ledger.collections
        if rng.random() < 0.05:
            return Drop(OTHER) if OTHER in held else Create(OTHER)
        name = OTHER if OTHER in held and rng.random() < 0.2 else MAIN
        there = held[name].ids
        if there and rng.random() < (0.7 if len(there) > LIVE else 0.3):
            count = int(rng.choice([1, 5, 40, 200]))
            ids = rng.choice(list(there.values()), min(count, len(there)), replace=False)
            return Delete(name, tuple(map(int, [*ids, int(rng.integers(1, held[name].next + 3))])))
        return Insert(name, tuple(map(int, rng.integers(0, NEAR, int(rng.choice([1, 7, 60, 150]))))))

    def _do(self, database: Database, step: Step) -> None:
        if isinstance(step, Create | Drop):
            self._settle(0)
        self.say(("begin", step))
        expected = self.ledger.apply(step)
        match step:
            case Create(name):
                database.create_collection(name, CONFIG)
                answer: Callable[[], list[int]] = list
            case Drop(name):
                database.drop_collection(name)
                answer = list
            case Insert(name, facts):
                acked = database.insert(name, [triple(fact) for fact in facts], *vectors(facts))
                answer = lambda: list(acked.result().ids)  # noqa: E731
            case Delete(name, ids):
                deleted = database.delete(name, ids)
                answer = lambda: [deleted.result()[0]]  # noqa: E731
        self._waiting.append((answer, expected))
        self._settle(0 if isinstance(step, Create | Drop) else WINDOW)

    def _settle(self, left: int) -> None:
        """Wait for acks until so many steps are in hand."""
        while len(self._waiting) > left:
            answer, expected = self._waiting.popleft()
            if (got := answer()) != expected:
                self.say(("wrong", f"an ack says {got[:9]}; expected is {expected[:9]}"))
            self.say(("ack",))
