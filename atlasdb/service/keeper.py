"""Keeps the readers: starts them, starts another where one died, stops them. See service/reader."""

import logging
import os
import pickle
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Self

from atlasdb.service.reader import LATER_SECONDS, READY, Orders
from atlasdb.service.server import SOCKET_PATH_BYTES
from atlasdb.settings import Settings
from atlasdb_contract.errors import FailedPrecondition

log = logging.getLogger("atlasdb.service")

RESTART_SECONDS = (0.1, 0.5, 2.0, 10.0)
"""Before another is started: after one that listened, and after one failed start, two, more."""
START_SECONDS = 30.0
"""The longest that a server waits for its readers before it says that it serves."""
SOCKET = "writer"
"""Name of the socket file."""
GRACE_SECONDS = LATER_SECONDS + 2.0
"""What readers get beyond the server's own stop; then they are killed."""


class Keeper:
    """`count` readers, each with a thread that waits for its end. `start` once, `stop` once or more, then `close`."""

    def __init__(self, count: int, died: Callable[[], None]) -> None:
        """`died` is called after the end of each: LMDB must be told. FailedPrecondition: no folder for a socket."""
        self._died = died
        self._count = count
        self._folder = private_folder() if count else None
        self.socket = Path(self._folder.name) / SOCKET if self._folder else None
        """Where the server has to listen for what readers hand on: in a folder that only this user can enter."""
        self._lock = threading.Lock()
        self._stopping = threading.Event()
        self._processes: set[subprocess.Popen[bytes]] = set()
        self._threads: list[threading.Thread] = []

    def start(self, settings: Settings) -> None:
        """Start them, on the port and with the map that `settings` name; back when all listen or have failed once."""
        if self.socket is None:
            return
        orders = pickle.dumps(Orders(replace(settings, socket=None), self.socket))
        tried = [threading.Event() for _ in range(self._count)]
        self._threads = [threading.Thread(target=self._keep, args=(orders, each), daemon=True) for each in tried]
        for thread in self._threads:
            thread.start()
        for each in tried:
            each.wait(START_SECONDS)

    def stop(self) -> None:
        """Ask them to stop, and start no more. The server must still answer what they hand on."""
        with self._lock:
            self._stopping.set()
            for process in self._processes:
                process.terminate()

    def close(self) -> None:
        """Wait until they have ended; kill those that take too long."""
        self.stop()
        for thread in self._threads:
            thread.join(GRACE_SECONDS)
        with self._lock:
            for process in self._processes:
                log.warning("reader %d did not stop in time: killed", process.pid)
                process.kill()
        for thread in self._threads:
            thread.join()
        if self._folder is not None:
            self._folder.cleanup()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    def _keep(self, orders: bytes, tried: threading.Event) -> None:
        """One reader after another; those that never listen are tried again ever more slowly."""
        failures = 0
        while not self._stopping.is_set():
            try:
                listened, outcome = self._live(orders, tried)
            except OSError as error:  # no more processes, files or memory
                listened, outcome = False, f"could not be started: {error}"
            tried.set()
            self._died()
            failures = 0 if listened else failures + 1
            if not self._stopping.is_set():
                log.warning("a reader %s; starting another", outcome)
            self._stopping.wait(RESTART_SECONDS[min(failures, len(RESTART_SECONDS) - 1)])

    def _live(self, orders: bytes, tried: threading.Event) -> tuple[bool, str]:
        """The life of one reader: whether it came to listen, and how it ended."""
        with spawned() as process:
            assert process.stdin is not None
            assert process.stdout is not None
            with self._lock:
                self._processes.add(process)
                if self._stopping.is_set():
                    process.terminate()
            try:
                process.stdin.write(orders)
                process.stdin.flush()
                if listened := process.stdout.read() == READY:
                    log.info("reader %d answers fetches", process.pid)
                    tried.set()
                status = process.wait()
            finally:
                with self._lock:
                    self._processes.discard(process)
        return listened, f"(pid {process.pid}) ended with status {status}"


def private_folder() -> "TemporaryDirectory[str]":
    """A new folder that only this user can enter."""
    try:
        folder = TemporaryDirectory(prefix="atlasdb-")
    except OSError as error:
        raise FailedPrecondition(f"no folder for the readers' socket: {error}; set TMPDIR to one") from None
    if len(os.fsencode(Path(folder.name) / SOCKET)) > SOCKET_PATH_BYTES:
        folder.cleanup()
        raise FailedPrecondition(f"{folder.name} is too long a path for a socket; set TMPDIR to a shorter one")
    return folder


def spawned() -> "subprocess.Popen[bytes]":
    """A reader in a session of its own, so that Ctrl-C in our terminal reaches it through us alone."""
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "atlasdb.service.reader"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
