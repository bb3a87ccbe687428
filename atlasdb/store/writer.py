"""The one thread that writes, and its group commit.

    submit ──▶ queue ──▶ take what is queued ──▶ run the jobs ──▶ flush ──▶ commit, fsync ──▶ resolve their futures

Jobs that wait together are committed together: one fsync for all. A job that raises fails alone: the transaction is
undone and the others run again, so a job may leave nothing behind but what it writes through its `WriteTxn`.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from atlasdb.store import registry
from atlasdb.store.changes import Changes
from atlasdb.store.environment import Environment
from atlasdb.store.opened import Txn
from atlasdb.store.recent import Latencies
from atlasdb_contract.errors import ResourceExhausted, Unavailable

T = TypeVar("T")
log = logging.getLogger("atlasdb.store")

GROUP_JOBS = 256
GROUP_BYTES = 48 << 20
"""Most that one commit takes on; a lone larger job is a group of its own."""


class WriteTxn:
    """What a job writes through; only while it runs."""

    def __init__(self, environment: Environment, txn: Txn) -> None:
        self.environment = environment
        self.txn = txn
        self.committed: list[Callable[[], None]] = []
        """Called in the writer thread once the commit is durable."""
        self.grows = False
        """Set by jobs that add to the store: they are refused when only the reserve for deletes is left."""
        self._changes: dict[str, Changes] = {}

    def changes(self, name: str) -> Changes:
        """What this transaction does to one collection so far. NotFound."""
        if name not in self._changes:
            record = registry.get(self.txn, name)
            self._changes[name] = Changes(self.txn, self.environment.tables(record.id), record)
        return self._changes[name]

    def forget(self, name: str) -> None:
        """The collection is being dropped."""
        self._changes.pop(name, None)

    def flush(self) -> None:
        """Write what the jobs left gathered."""
        for changes in self._changes.values():
            changes.flush()
        if self.grows:
            self.environment.check_room(self.txn)


@dataclass(slots=True)
class _Job(Generic[T]):
    run: Callable[[WriteTxn], T]
    weight: int
    future: "Future[T]"
    result: Any = None


@dataclass(slots=True)
class _Alone(Generic[T]):
    """Runs by itself, outside of any transaction."""

    run: Callable[[], T]
    future: "Future[T]"
    weight: int = 0

    def carry_out(self) -> None:
        """Run it, for its future."""
        try:
            result = self.run()
        except Exception as error:  # noqa: BLE001 - its future's
            self.future.set_exception(error)
        else:
            self.future.set_result(result)


class Writer:
    """Owns the writer thread; start to `close`."""

    def __init__(self, environment: Environment) -> None:
        self._environment = environment
        self._queue: deque[_Job[Any] | _Alone[Any]] = deque()
        self._wake = threading.Condition()
        self._closing = False
        self.commits = 0
        self.latencies = Latencies()
        """Of commits, from their first job to the disk."""
        self._thread = threading.Thread(target=self._work, name="atlasdb-writer", daemon=True)
        self._thread.start()

    def submit(self, job: Callable[[WriteTxn], T], weight: int = 0) -> "Future[T]":
        """Queue a job; `weight` is about how many bytes it writes. Its future is done when it is on disk.

        Callbacks of the future run in the writer thread: keep them short. Unavailable once closing.
        """
        return self._queued(_Job(job, weight, Future()))

    def alone(self, call: Callable[[], T]) -> "Future[T]":
        """Queue a call that runs while nothing is written: keep it short. Unavailable once closing."""
        return self._queued(_Alone(call, Future()))

    def _queued(self, job: "_Job[T] | _Alone[T]") -> "Future[T]":
        with self._wake:
            if self._closing:
                raise Unavailable("the store is closing")
            self._queue.append(job)
            self._wake.notify()
        return job.future

    def close(self) -> None:
        """Finish what is queued, then stop. May be called twice."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join()

    def _work(self) -> None:
        while (group := self._take()) is not None:
            if isinstance(group, _Alone):
                group.carry_out()
            else:
                self._commit(group)

    def _take(self) -> list[_Job[Any]] | _Alone[Any] | None:
        """The jobs of the next commit, or what runs alone; None at the end."""
        with self._wake:
            self._wake.wait_for(lambda: self._queue or self._closing)
            if not self._queue:
                return None
            group: list[_Job[Any]] = []
            weight = 0
            while self._queue and len(group) < GROUP_JOBS:
                job = self._queue[0]
                weight += job.weight
                if group and (isinstance(job, _Alone) or weight > GROUP_BYTES):
                    break
                self._queue.popleft()
                if not job.future.set_running_or_notify_cancel():
                    continue
                if isinstance(job, _Alone):
                    return job
                group.append(job)
            return group

    def _commit(self, group: list[_Job[Any]]) -> None:
        while group:
            failed: _Job[Any] | None = None
            started = time.perf_counter()
            write: WriteTxn | None = None
            try:
                with self._environment.writing() as txn:
                    write = WriteTxn(self._environment, txn)
                    for failed in group:
                        failed.result = failed.run(write)
                    failed = None
                    write.flush()
            except Exception as error:  # noqa: BLE001 - a job's error belongs to its future, whatever it is
                if failed is None or isinstance(error, ResourceExhausted):
                    self._split(group, error, grows=write is None or write.grows)
                    return
                group = [job for job in group if job is not failed]
                failed.future.set_exception(error)
                continue
            self.commits += 1
            now = time.perf_counter()
            self.latencies.note(round(1e6 * (now - started)), now)
            if write.grows:
                self._environment.reserve.keep()
            for call in write.committed:
                call()
            for job in group:
                job.future.set_result(job.result)
            return

    def _split(self, group: list[_Job[Any]], error: Exception, grows: bool) -> None:
        """The group as a whole fails, for lack of room perhaps: each on its own, so that a delete passes; where the
        disk is full, with the room that is kept for it."""
        if len(group) > 1:
            for job in group:
                self._commit([job])
        elif isinstance(error, ResourceExhausted) and not grows and self._environment.reserve.give_up():
            log.warning("%s: the reserve is given up for what gives room back", error)
            self._commit(group)
        else:
            group[0].future.set_exception(error)
