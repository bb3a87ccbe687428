"""The same for a whole server: `atlasdb serve` killed while clients insert, delete and build over gRPC."""

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np

from atlasdb.engine.database import Database

from .forked import Broken, Ended, Say, forked
from .ledger import CONFIG, MAIN, MAP_BYTES, Create, Delete, Insert, Ledger, Step, triple, vectors
from .tally import Tally

KILLS = 4
"""Of one episode."""
START_SECONDS = 60
FACTS = 3000
LIVE = 2000


def serve_and_kill(seed: int, folder: Path, tally: Tally) -> None:
    """An episode, in a child of its own: gRPC's threads and forks do not go together."""
    child = forked(lambda say: _kills(seed, folder, say))
    try:
        while True:
            kind, what = child.receive(4 * START_SECONDS)
            if kind == "wrong":
                tally.fail(what)
            tally.figures["whole servers killed"] += kind == "killed"
            tally.count(kind == "killed")
    except Ended as ended:
        if ended.status:
            tally.fail(str(ended))
    except Broken as error:
        tally.fail(str(error))
    finally:
        child.close()


def _kills(seed: int, folder: Path, say: Say) -> None:
    rng, ledger = np.random.default_rng(seed), Ledger()
    for number in range(KILLS):
        pending = _killed(folder, ledger, rng)
        with Database.open(folder / "data", MAP_BYTES) as database:
            problems = ledger.adopt(database, pending)
        if problems:
            say(("wrong", f"after kill {number + 1} of a server: {'; '.join(problems[:3])}"))
            return
        say(("killed", number))


@contextmanager
def _serving(folder: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A server process, and its target."""
    socket = folder / "socket"
    command = [sys.executable, "-m", "atlasdb", "--data", str(folder / "data"), "--listen", "127.0.0.1:0"]
    process = subprocess.Popen(
        [*command, "--socket", str(socket)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        assert process.stdout is not None
        if not process.stdout.readline().startswith("atlasdb: serving"):
            raise RuntimeError(f"the server ended with {process.wait()}")
        yield process, f"unix:{socket}"
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


def _killed(folder: Path, ledger: Ledger, rng: np.random.Generator) -> list[Step]:
    """Steps one after another until the server is killed; the one under way."""
    from atlasdb_client import connect
    from atlasdb_contract.errors import AtlasError

    with _serving(folder) as (process, target), connect(target, timeout=START_SECONDS) as client:
        threading.Thread(target=_build_for_ever, args=(target,), daemon=True).start()
        threading.Timer(float(rng.uniform(0.02, 0.8)), process.kill).start()
        while True:
            step = _choose(ledger, rng)
            try:
                _take(client, step)
            except AtlasError:
                process.wait(START_SECONDS)
                return [step]
            ledger.apply(step)


def _choose(ledger: Ledger, rng: np.random.Generator) -> Step:
    if MAIN not in ledger.collections:
        return Create(MAIN)
    there = ledger.collections[MAIN].ids
    if there and rng.random() < (0.7 if len(there) > LIVE else 0.3):
        return Delete(MAIN, tuple(map(int, rng.choice(list(there.values()), min(50, len(there)), replace=False))))
    return Insert(MAIN, tuple(map(int, rng.integers(0, FACTS, int(rng.choice([1, 30, 300]))))))


def _take(client: Any, step: Step) -> None:
    if isinstance(step, Create):
        client.create_collection(MAIN, CONFIG)
    elif isinstance(step, Insert):
        list(client.insert(MAIN, [triple(fact) for fact in step.facts], *vectors(step.facts)))
    else:
        assert isinstance(step, Delete)
        client.delete(MAIN, step.ids)


def _build_for_ever(target: str) -> None:
    from atlasdb_client import connect
    from atlasdb_contract.errors import AtlasError

    with suppress(AtlasError), connect(target, timeout=START_SECONDS) as client:
        while True:
            list(client.build(MAIN))
