"""What readers measured, told to the process that writes: a small file each, in the folder of the readers' socket.

reader   Database.measured ──once a second──▶ PID.measured     replaced as a whole
writer   Stats             ◀── those that are not old ──┘
"""

import os
import threading
import time
from collections.abc import Callable
from dataclasses import astuple
from pathlib import Path

import msgpack

from atlasdb.engine.meters import Measured, Sample
from atlasdb.store.recent import Counted

SECONDS_BETWEEN = 1.0
OLD_SECONDS = 10.0
"""The reader that left a file of this age is gone."""
SUFFIX = ".measured"


class Reporter:
    """A reader's thread; it ends with the process."""

    def __init__(self, folder: Path, measured: Callable[[], Measured]) -> None:
        self._file = folder / f"{os.getpid()}{SUFFIX}"
        self._measured = measured
        threading.Thread(target=self._run, name="atlasdb-reporter", daemon=True).start()

    def _run(self) -> None:
        new = self._file.with_suffix(".new")
        while True:
            try:
                new.write_bytes(packed(self._measured()))
                new.replace(self._file)
            except OSError:  # the folder goes when the server stops
                return
            time.sleep(SECONDS_BETWEEN)


def reports(folder: Path | None) -> list[Measured]:
    """Of the readers that are alive, none of them much older than a second."""
    found = []
    for file in sorted(folder.glob(f"*{SUFFIX}")) if folder else ():
        try:
            if time.time() - file.stat().st_mtime > OLD_SECONDS:
                file.unlink()
            else:
                found.append(unpacked(file.read_bytes()))
        except FileNotFoundError:  # replaced, or its folder gone
            continue
    return found


def packed(measured: Measured) -> bytes:
    """As bytes."""
    fetches = {name: (counted.seconds, list(counted.counts)) for name, counted in measured.fetches.items()}
    samples = {collection: [astuple(one) for one in some] for collection, some in measured.samples.items()}
    content: bytes = msgpack.packb((fetches, samples, measured.oldest_view))
    return content


def unpacked(content: bytes) -> Measured:
    """What was packed."""
    fetches, samples, oldest = msgpack.unpackb(content, strict_map_key=False)
    return Measured(
        {name: Counted(*counted) for name, counted in fetches.items()},
        {collection: [Sample(*one) for one in some] for collection, some in samples.items()},
        oldest,
    )
