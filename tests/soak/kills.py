"""SIGKILL at a random moment, again and again on the same store; after each it is opened, verified and compared.

Most rounds kill a forked child that runs the engine; now and then one that restores a snapshot to another folder is
killed, too. In every tenth episode it is a whole `atlasdb serve` process.
"""

import json
import time
from collections import deque
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atlasdb.engine import snapshot
from atlasdb.engine.database import Database
from atlasdb.restore import restore
from atlasdb.store.environment import FILE

from .acting import QUIET, Actor
from .forked import Broken, Child, Ended, Late, asked, forked
from .ledger import MAP_BYTES, Ledger, Step
from .served import serve_and_kill
from .tally import Tally

KILLS = 40
"""Of one episode, on one store."""
SERVED = 10
"""Every how manieth episode kills whole servers."""
MOMENTS = ("open", "Insert", "Delete", "Create", "Drop", *QUIET)
"""What a kill falls into, or soon after."""
LONGEST = 0.25
"""Seconds after which a child is killed whatever it does."""
Sums = dict[str, str]
"""The setsum of each collection."""
RESTORES = 0.15
"""After so many of the kills a restore is killed too."""
RESTORE_SECONDS = 0.15
"""Of its work before it is, on average."""


def episode(seed: int, folder: Path, tally: Tally) -> None:
    """See the module."""
    if seed % SERVED == SERVED - 1:
        serve_and_kill(seed, folder, tally)
        return
    rng = np.random.default_rng(seed)
    store, ledger = folder / "data", Ledger()
    there: Sums = {}
    for number in range(KILLS):
        pending, problems = _killed(store, ledger, np.random.default_rng([seed, number]), rng, tally)
        if not problems:
            problems = checked(store, ledger, pending)
        if problems:
            write_journal(folder, ledger, pending, problems)
            tally.fail(f"after kill {number + 1}: {'; '.join(problems[:3])}")
            return
        tally.count()
        other = np.random.default_rng([seed, number, 1])
        if not tally.over() and other.random() < RESTORES:
            there, problems = _restored(store, folder / "restored", there, other, tally)
            problems = problems or checked(store, ledger, [])
            if problems:
                tally.fail(f"after a restore was killed, after kill {number + 1}: {'; '.join(problems[:3])}")
                return
        if tally.over():
            return


def _restored(
    store: Path, target: Path, before: Sums, rng: np.random.Generator, tally: Tally
) -> tuple[Sums, list[str]]:  # fmt: skip
    """A restore of the latest snapshot, killed: what is in the target now, and what is wrong with it."""
    known = snapshot.listed(store)
    if not known:
        return before, []
    wanted = {held.name: held.setsum for held in known[-1].collections}
    child = forked(lambda say: (say("begun"), restore(store, known[-1].name, target, force=True)))
    try:
        child.receive(10.0)
        time.sleep(float(rng.exponential(RESTORE_SECONDS)))
        child.kill()
    finally:
        child.close()
    tally.figures["in restore"] += 1
    tally.count()
    if not (target / FILE).exists():
        return {}, [f"the store that was in {target} is gone"] if before else []
    try:
        found, problems = asked(partial(_sums, target))
    except (Ended, Broken, Late) as error:
        return before, [f"the check of a restored store: {error!s}"]
    if found not in (before, wanted):
        problems.append(f"a restored store has {found}, not {wanted} or {before}")
    tally.figures["restores that were done"] += found == wanted
    return found, problems


def _sums(store: Path) -> tuple[Sums, list[str]]:
    with Database.open(store, MAP_BYTES) as database:
        damage = [one for _, progress in database.verify() for one in progress.damage]
        return {one.name: one.setsum for one in database.stats().collections}, damage


def checked(store: Path, ledger: Ledger, pending: list[Step]) -> list[str]:
    """What is wrong with a store that nobody has open; else the ledger has taken up what it found."""
    try:
        problems, ledger.collections = asked(partial(_check, store, ledger, pending))
    except (Ended, Broken, Late) as error:
        return [f"the check: {error!s}"]
    return problems


def _check(store: Path, ledger: Ledger, pending: list[Step]) -> tuple[list[str], Any]:
    with Database.open(store, MAP_BYTES) as database:
        problems = ledger.adopt(database, pending)
    return problems, ledger.collections


def _killed(
    store: Path, ledger: Ledger, acting: np.random.Generator, rng: np.random.Generator, tally: Tally
) -> tuple[list[Step], list[str]]:
    """A child, killed: the steps that it began and got no ack for, and what was wrong before it died."""
    moment, skip, delay = str(rng.choice(MOMENTS)), int(rng.integers(0, 5)), float(rng.exponential(0.004))
    if moment == "open":
        skip, delay = 0, float(rng.uniform(0, 0.02))
    child = forked(lambda say: Actor(store, ledger, acting, say).run())
    try:
        listener = Listener(ledger)
        listener.listen(child, moment, skip)
        listener.rest(child, delay)
        child.kill()
        tally.figures.update(f"in {operation}" for operation in listener.under_way())
        listener.rest(child, 1.0)
    finally:
        child.close()
    tally.figures["steps acknowledged"] += listener.acks
    return list(listener.pending), listener.wrong


class Listener:
    """What a child said, and what it was doing when it said so last."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self.pending: deque[Step] = deque()
        self.wrong: list[str] = []
        self.acks = 0
        self._quiet: list[str] = []
        self._opened = False

    def listen(self, child: Child, moment: str, skip: int) -> None:
        """Until the `skip + 1`-th time that this begins, or the child has run for long."""
        if moment == "open":
            return
        while skip >= 0:
            try:
                message = child.receive(LONGEST)
            except (Late, Ended):
                return
            self.hear(message)
            skip -= message[0] == "begin" and type(message[1]).__name__ == moment
            skip -= message == ("start", moment)

    def rest(self, child: Child, seconds: float) -> None:
        """Hear what it says for so long."""
        deadline = time.monotonic() + seconds
        while True:
            try:
                self.hear(child.receive(max(0.0, deadline - time.monotonic())))
            except (Late, Ended):
                return
            except Broken as error:
                self.wrong.append(str(error))

    def hear(self, message: tuple[Any, ...]) -> None:
        """One message of acting.Actor."""
        match message:
            case ("open",):
                self._opened = True
            case ("begin", step):
                self.pending.append(step)
            case ("ack",):
                self._ledger.apply(self.pending.popleft())
                self.acks += 1
            case ("start", name):
                self._quiet.append(name)
            case ("end", name):
                self._quiet.remove(name)
            case ("wrong", what):
                self.wrong.append(what)

    def under_way(self) -> set[str]:
        """The operations that a kill fell into."""
        if not self._opened:
            return {"open"}
        return {*self._quiet, *(type(step).__name__.lower() for step in self.pending)} or {"nothing"}


def write_journal(folder: Path, ledger: Ledger, pending: list[Step], problems: list[str]) -> None:
    """Beside the damaged store: what it should hold."""
    journal = {"problems": problems, "contents": ledger.contents(), "pending": [repr(step) for step in pending]}
    (folder / "journal.json").write_text(json.dumps(journal, indent=1))
