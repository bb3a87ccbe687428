"""The power goes: what a process had written and not synced is dropped, torn or reordered, and the store opened again.

An episode records one process with strace (recording.py) and makes IMAGES disks of it.
"""

import shutil
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from atlasdb.engine.database import Database
from atlasdb.store.environment import FILE
from atlasdb_contract.errors import AtlasError

from .forked import Broken, Child, Ended, Late, Say, forked
from .ledger import MAP_BYTES, Ledger, Step
from .recorded import MARKS, STORE
from .recording import CALLS, MODES, Disk, Event, Mark, Named, events
from .tally import Skip, Tally

IMAGES = 250
"""Of one recording."""
STEPS = 40
NEAR = 6
"""Events."""
MEMORY = Path("/dev/shm")
IMAGE_SECONDS = 60.0


def episode(seed: int, folder: Path, tally: Tally) -> None:
    """See the module."""
    happened = record(folder, seed)
    tally.figures["events recorded"] += len(happened)
    tally.figures["compactions recorded"] += len(_swaps(happened))
    points = _points(happened, np.random.default_rng([seed, 1]))
    first = 0
    with memory("image") as scratch:
        while first < IMAGES and not tally.over():
            made = _Images(seed, folder, scratch, happened, points, first)
            child = forked(made.run)
            try:
                first = _hear(child, first, tally)
            finally:
                child.close()


def _swaps(happened: list[Event]) -> list[int]:
    """Where a compacted file took the store's place."""
    names = [event.files[0][0] if isinstance(event, Named) else "" for event in happened]
    return [at for at, name in enumerate(names) if name.startswith(f"{FILE}.copy")]


def _points(happened: list[Event], rng: np.random.Generator) -> list[int]:
    """After how many events the power goes, in order: anywhere, and often where a file takes another's place."""
    points = rng.integers(0, len(happened) + 1, IMAGES)
    if swaps := _swaps(happened):
        near = rng.choice(swaps, IMAGES // 5) + rng.integers(-NEAR, NEAR + 1, IMAGES // 5)
        points[: len(near)] = np.clip(near, 0, len(happened))
    return sorted(points.tolist())


@contextmanager
def memory(name: str) -> Iterator[Path]:
    """A folder in memory, where there is such a file system."""
    folder = MEMORY if MEMORY.is_dir() else None
    with TemporaryDirectory(prefix=f"atlasdb-soak-{name}-", dir=folder, ignore_cleanup_errors=True) as scratch:
        yield Path(scratch)


def record(folder: Path, seed: int) -> list[Event]:
    """What a process wrote, synced and said."""
    strace = shutil.which("strace")
    if strace is None:
        raise Skip("strace is not installed")
    log = folder / "strace"
    tracer = [
        strace,
        "-f",
        "-y",
        "-xx",
        "-s",
        str(1 << 26),
        "-e",
        f"trace={CALLS}",
        "-e",
        "signal=none",
        "-o",
        str(log),
    ]
    traced = [sys.executable, "-m", "tests.soak.recorded", str(folder), str(seed), str(STEPS)]
    done = subprocess.run([*tracer, *traced], check=False, capture_output=True, text=True)
    if done.returncode and "ptrace" in done.stderr:
        raise Skip(f"strace may not trace here: {done.stderr.strip().splitlines()[-1]}")
    if done.returncode:
        raise RuntimeError(done.stderr)
    return events(log, folder / STORE, FILE, folder / MARKS)


def _hear(child: Child, first: int, tally: Tally) -> int:
    """The number of the image to go on with."""
    number, mode, at = first, "", 0
    try:
        while not tally.over():
            number, mode, at, problems = child.receive(IMAGE_SECONDS)
            if problems is None:
                continue
            if problems:
                tally.fail(f"image {number}, {mode} after event {at}: {'; '.join(problems[:3])}")
            tally.figures[mode] += 1
            tally.count()
        return number + 1
    except Ended as ended:
        if ended.status == 0:
            return IMAGES
        tally.fail(f"image {number}, {mode} after event {at}: {ended}")
    except (Late, Broken) as error:
        tally.fail(f"image {number}, {mode} after event {at}: {error!s}")
    return number + 1


@dataclass
class _Images:
    """The images of a recording from the number `first` on; each is told before it is opened, and after."""

    seed: int
    folder: Path
    scratch: Path
    happened: list[Event]
    points: list[int]
    first: int

    def run(self, say: Say) -> None:
        """In a child."""
        disk, ledger, pending, done = Disk(), Ledger(), deque[Step](), 0
        for number, point in enumerate(self.points):
            while done < point:
                _take(self.happened[done], disk, ledger, pending)
                done += 1
            if number < self.first:
                continue
            rng = np.random.default_rng([self.seed, 2, number])
            mode = str(rng.choice(MODES))
            say((number, mode, point, None))
            store = self.scratch / str(number)
            store.mkdir()
            for name, content in disk.image(mode, rng).items():
                (store / name).write_bytes(content)
            problems = _check(store, ledger, list(pending))
            if problems:
                shutil.copytree(store, self.folder / f"image-{number}", dirs_exist_ok=True)
            say((number, mode, point, problems))
            shutil.rmtree(store)


def _take(event: Event, disk: Disk, ledger: Ledger, pending: deque[Step]) -> None:
    match event:
        case Mark(("begin", step)):
            pending.append(step)
        case Mark(("ack",)):
            ledger.apply(pending.popleft())
        case Mark():
            pass
        case _:
            disk.take(event)


def _check(store: Path, ledger: Ledger, pending: list[Step]) -> list[str]:
    """What is wrong with an image. The ledger stays as it is."""
    trial = Ledger()
    trial.collections = ledger.collections
    try:
        with Database.open(store, MAP_BYTES) as database:
            return trial.adopt(database, pending)
    except AtlasError as error:
        return [f"{type(error).__name__}: {error}"]
