"""A disk that is full: what was acknowledged is read, deletes go on, and inserts too as soon as there is room.

Points are of two kinds. With the reserve, the store notices in time, and deletes must work. Without it (as if another
program took the last bytes between the store's look and its write), LMDB itself meets ENOSPC in the middle of a commit.
"""

from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np

from atlasdb.engine.database import Database
from atlasdb.store import environment, reserve
from atlasdb_contract.errors import ResourceExhausted

from .acting import hasten_upkeep
from .forked import Broken, Ended, Late, Say, forked
from .ledger import CONFIG, MAIN, Create, Delete, Insert, Ledger, triple, vectors
from .smalldisk import Ballast, NotAllowed, mount
from .tally import Skip, Tally

POINTS = 20
"""Of one episode: every second one with the reserve."""
SECONDS = 120.0
RESERVE = environment.RESERVE_BYTES
DISK = RESERVE + reserve.BYTES + (32 << 20)
LIVE = 2500
FACTS = 12_000
TRIES = 200
"""Inserts after which a disk that is still not full is let be."""
MAP_BYTES = 1 << 30


def episode(seed: int, folder: Path, tally: Tally) -> None:
    """See the module."""
    child = forked(lambda say: _points(seed, folder, say))
    try:
        while not tally.over():
            kind, what = child.receive(SECONDS)
            if kind == "skip":
                raise Skip(f"no small file system can be mounted here: {what}")
            if kind == "wrong":
                tally.fail(what)
            elif kind == "point":
                tally.count()
            else:
                tally.figures[what] += 1
    except Ended as ended:
        if ended.status:
            tally.fail(str(ended))
    except (Broken, Late) as error:
        tally.fail(str(error) or f"nothing happened for {SECONDS} s")
    finally:
        child.close()


def _points(seed: int, folder: Path, say: Say) -> None:
    try:
        mount(folder, DISK)
    except NotAllowed as error:
        say(("skip", str(error)))
        return
    hasten_upkeep()
    rng, ledger, ballast = np.random.default_rng(seed), Ledger(), Ballast(folder)
    database = Database.open(folder / "data", MAP_BYTES)
    ledger.apply(Create(MAIN))
    database.create_collection(MAIN, CONFIG)
    for number in range(POINTS):
        point = _Point(database, ledger, ballast, rng, say, number % 2 == 0)
        problems = point.problems()
        if problems:
            say(("wrong", f"point {number + 1}, {point.kind}: {'; '.join(problems[:3])}"))
            break
        if rng.random() < 0.3:
            database.close()
            database = Database.open(folder / "data", MAP_BYTES)
    database.close()


class _Point:
    """One time that the disk is full."""

    def __init__(
        self, database: Database, ledger: Ledger, ballast: Ballast, rng: np.random.Generator, say: Say, reserve: bool
    ) -> None:
        self._database, self._ledger, self._ballast, self._rng, self._say = database, ledger, ballast, rng, say
        self._reserve = reserve
        self.kind = "with the reserve" if reserve else "without the reserve"

    def problems(self) -> list[str]:
        """Fill the disk, look, make room, look; what is wrong."""
        environment.RESERVE_BYTES = RESERVE if self._reserve else 0
        self._ballast.leave((RESERVE if self._reserve else 0) + int(self._rng.integers(0, 400_000)))
        refusal = self._fill()
        if refusal is None:
            self._say(("figure", f"{self.kind}: the disk did not fill"))
        problems = self._whole("when full")
        problems += self._deletes()
        problems += self._whole("after deletes in a full disk")
        self._ballast.release()
        problems += self._resumes()
        self._shrink()
        problems += self._whole("with room again")
        if refusal is not None and not problems:
            self._say(("point", refusal))
            self._say(("figure", f"{self.kind}: inserts refused"))
        return problems

    def _insert(self, count: int) -> Any:
        facts = tuple(map(int, self._rng.integers(0, FACTS, count)))
        ack = self._database.insert(MAIN, [triple(fact) for fact in facts], *vectors(facts)).result()
        expected = self._ledger.apply(Insert(MAIN, facts))
        assert list(ack.ids) == expected, "an ack has other ids than it must have"
        return ack

    def _fill(self) -> str | None:
        """Insert until that is refused; the message."""
        for _ in range(TRIES):
            try:
                self._insert(int(self._rng.choice([1, 20, 200, 600])))
            except ResourceExhausted as error:
                return str(error)
            if len(self._ledger.collections[MAIN].ids) > 2 * LIVE:
                self._shrink()
        return None

    def _doomed(self, count: int) -> tuple[int, ...]:
        there = list(self._ledger.collections[MAIN].ids.values())
        return tuple(map(int, self._rng.choice(there, min(count, len(there)), replace=False)))

    def _delete(self, ids: tuple[int, ...]) -> bool:
        """False: refused."""
        before = deepcopy(self._ledger.collections)
        expected = self._ledger.apply(Delete(MAIN, ids))
        try:
            deleted, _ = self._database.delete(MAIN, ids).result()
        except ResourceExhausted:
            self._ledger.collections = before
            return False
        assert [deleted] == expected, "a delete acknowledged another number than it must"
        return True

    def _deletes(self) -> list[str]:
        for _ in range(3):
            done = self._delete(self._doomed(20))
            self._say(("figure", f"{self.kind}: deletes {'done' if done else 'refused'} when full"))
            if self._reserve and not done:
                return ["a delete was refused though the reserve was there"]
        return []

    def _resumes(self) -> list[str]:
        try:
            self._insert(50)
        except ResourceExhausted as error:
            return [f"an insert is refused though there is room again: {error}"]
        return []

    def _shrink(self) -> None:
        while len(self._ledger.collections[MAIN].ids) > LIVE and self._delete(self._doomed(400)):
            pass

    def _whole(self, when: str) -> list[str]:
        """Verify, and compare all with the ledger."""
        problems = self._ledger.adopt(self._database, [])
        self._database.fetch(MAIN, vectors([7])[0], 20)
        return [f"{when}: {problem}" for problem in problems]
