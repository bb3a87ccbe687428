"""One suite: its episodes one after another, until rounds, time or the operator's patience are used up."""

import itertools
import shutil
import signal
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import mkdtemp

from .suites import SUITES
from .tally import STOPPED, Skip, Tally


@dataclass(frozen=True, slots=True)
class Wanted:
    """How much of a suite: `rounds` or `seconds` or whole `episodes`; None: not limited by that."""

    seed: int
    rounds: int | None
    seconds: float | None
    episodes: int | None
    keep: Path


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a suite. `skipped` says why it did not run."""

    tally: Tally
    seconds: float
    skipped: str = ""


def run(name: str, wanted: Wanted) -> Result:
    """Run one suite. KeyboardInterrupt ends it with what was done so far; see `Interrupted`."""
    deadline = None if wanted.seconds is None else time.monotonic() + wanted.seconds
    rounds = None if wanted.episodes is not None else wanted.rounds
    tally = Tally(name, rounds, deadline, wanted.keep)
    seeds = itertools.count(wanted.seed)
    if wanted.episodes is not None:
        seeds = iter(range(wanted.seed, wanted.seed + wanted.episodes))  # type: ignore[assignment]
    try:
        for seed in seeds:
            if tally.over():
                break
            _episode(name, seed, tally)
    except Skip as reason:
        return Result(tally, tally.seconds, str(reason))
    except KeyboardInterrupt:
        tally.tell()
        raise Interrupted(Result(tally, tally.seconds)) from None
    tally.tell()
    if STOPPED.is_set():
        raise Interrupted(Result(tally, tally.seconds))
    return Result(tally, tally.seconds)


class Interrupted(Exception):
    """The operator has had enough; `result` is what there is."""

    def __init__(self, result: Result) -> None:
        super().__init__()
        self.result = result


def _episode(name: str, seed: int, tally: Tally) -> None:
    tally.seed = seed
    tally.seeds.append(seed)
    folder = Path(mkdtemp(prefix=f"atlasdb-soak-{name}-"))
    failed = len(tally.failures)
    try:
        SUITES[name].episode(seed, folder, tally)
    except Skip:
        raise
    except Exception as error:  # noqa: BLE001 - the fault of an episode ends it, and is told as one
        tally.fail("".join(traceback.format_exception(error)))
    finally:
        if len(tally.failures) > failed:
            kept = tally.keep / f"{name}-{seed}"
            tally.keep.mkdir(parents=True, exist_ok=True)
            shutil.rmtree(kept, ignore_errors=True)
            shutil.move(folder, kept)
            (kept / "failures.txt").write_text("\n\n".join(one.what for one in tally.failures[failed:]) + "\n")
            print(f"{name}: kept {kept}; again: {command(name, seed)}", flush=True)
        else:
            shutil.rmtree(folder, ignore_errors=True)


def command(name: str, seed: int) -> str:
    """What replays one episode."""
    return f"python -m tests.soak {name} --seed {seed} --episodes 1"


@contextmanager
def stoppable() -> Iterator[None]:
    """SIGTERM stops as Ctrl-C does."""

    def stop(*_: object) -> None:
        STOPPED.set()
        raise KeyboardInterrupt

    before = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
