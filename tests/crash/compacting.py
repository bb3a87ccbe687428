"""What the crash test of compaction kills: `python compacting.py FOLDER SEED FIRST CALL` writes to a store, as
writing.py does, while it is compacted and snapshots of it are made; it kills itself at its CALL-th call that makes
something durable or gives it a name, 0: never.
"""

import itertools
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import writing

from atlasdb.engine.database import Database
from atlasdb.store import copying


def compact_for_ever(database: Database) -> None:
    """Until something goes wrong, which the test is to notice."""
    try:
        compact_and_copy(database)
    finally:
        os._exit(1)


def compact_and_copy(database: Database) -> None:
    """A snapshot after each compaction, of which the last two stay."""
    for number in itertools.count():
        for step in database.compact():
            if step.stage == "done":
                writing.say("compacted", number)
        list(database.create_snapshot())
        for snapshot in database.list_snapshots()[:-2]:
            database.delete_snapshot(snapshot.name)


def dying(call: Callable[..., Any], counted: "itertools.count[int]", last: int) -> Callable[..., Any]:
    """Half of them before they call, half after."""

    def either(*arguments: Any, **named: Any) -> Any:
        number = next(counted)
        if number == last and last % 2:
            os.kill(os.getpid(), signal.SIGKILL)
        done = call(*arguments, **named)
        if number == last:
            os.kill(os.getpid(), signal.SIGKILL)
        return done

    return either


def main(folder: Path, seed: int, first: int, last: int) -> None:
    counted = itertools.count(1)
    if last:
        os.fsync = dying(os.fsync, counted, last)
        for name in ("replace", "rename", "unlink"):
            setattr(Path, name, dying(getattr(Path, name), counted, last))
    copying.STEP_BYTES = 1 << 18
    writing.build_for_ever = compact_for_ever
    writing.main(folder, seed, first)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *map(int, sys.argv[2:]))
