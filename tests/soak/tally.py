"""What a suite counts while it runs, and whether it should go on."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

PROGRESS_SECONDS = 5.0
SHORT = 300
"""Characters of a failure that a line shows; the folder that is kept has all."""


STOPPED = threading.Event()
"""Set when the operator has had enough; the KeyboardInterrupt that comes with it may be lost on its way."""


class Skip(Exception):
    """This machine can't run the suite; says why."""


@dataclass(frozen=True, slots=True)
class Failure:
    """What went wrong in the episode of a seed, and where what is left of it lies."""

    seed: int
    what: str
    kept: str

    @property
    def short(self) -> str:
        """One line; of a traceback the last."""
        lines = [line.strip() for line in self.what.splitlines() if line.strip()]
        return " … ".join(dict.fromkeys([lines[0], lines[-1]]))[:SHORT]


@dataclass
class Tally:
    """One suite's counts. An episode calls `count` after each round, `fail` when a promise is broken, and ends when
    `over` says so. `figures` are further counts; `largest` keep the greatest value of a measurement."""

    suite: str
    rounds_wanted: int | None
    deadline: float | None
    keep: Path
    """Where failed episodes are moved to."""
    rounds: int = 0
    seed: int = 0
    seeds: list[int] = field(default_factory=list)
    figures: Counter[str] = field(default_factory=Counter)
    largest: dict[str, float] = field(default_factory=dict)
    failures: list[Failure] = field(default_factory=list)
    _told: float = 0.0
    _started: float = field(default_factory=time.monotonic)

    def count(self, rounds: int = 1) -> None:
        """Some more rounds are done."""
        self.rounds += rounds
        if (now := time.monotonic()) > self._told + PROGRESS_SECONDS:
            self._told = now
            self.tell()

    def tell(self) -> None:
        """A line of progress."""
        wanted = "" if self.rounds_wanted is None else f" of {self.rounds_wanted:,}"
        spent = time.monotonic() - self._started
        done = f"{self.rounds:,}{wanted} rounds, seed {self.seed}"
        print(f"{self.suite}: {done}, {len(self.failures)} failures, {spent:.0f} s", flush=True)

    def measure(self, name: str, value: float) -> None:
        """Keep the largest value of a measurement."""
        self.largest[name] = max(value, self.largest.get(name, value))

    def fail(self, what: str) -> None:
        """A promise is broken. The runner keeps the episode's folder."""
        kept = str(self.keep / f"{self.suite}-{self.seed}")
        self.failures.append(Failure(self.seed, what, kept))
        print(f"{self.suite}: FAILED, seed {self.seed}: {self.failures[-1].short}", flush=True)

    def over(self) -> bool:
        """Enough rounds, time is up, or somebody stopped it."""
        enough = self.rounds_wanted is not None and self.rounds >= self.rounds_wanted
        return enough or STOPPED.is_set() or (self.deadline is not None and time.monotonic() > self.deadline)

    @property
    def seconds(self) -> float:
        """Since the suite began."""
        return time.monotonic() - self._started
