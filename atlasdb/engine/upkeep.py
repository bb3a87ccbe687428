"""The trees look after themselves: a thread folds deltas into trees, and rebuilds what deletions have hollowed out.
When it has nothing else to do and much of the file is free, it compacts that. Now and then it looks over the pages of
the file.

A fold waits for a quiet second, so that a load is not slowed by folds whose work the next one would repeat. Where none
comes, a delta may grow for FOLD_SECONDS, or until it has outgrown half of the trees, as every fetch compares all of it;
longer only if entries come so fast that it is a bulk load.
"""

import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from atlasdb.engine.build import build, fold
from atlasdb.engine.compact import Compaction, worth
from atlasdb.engine.engine import Engine
from atlasdb.engine.repair import repair
from atlasdb.store.registry import CollectionRecord
from atlasdb_contract.errors import AtlasError, Cancelled, DataLoss, NotFound
from atlasdb_contract.quantities import size

log = logging.getLogger("atlasdb.engine")

DELTA_SLOTS = 8192
"""A delta from this size on is folded: comparing it costs a fetch as much as the rest of the way down."""
FOLD_SECONDS = 30.0
"""For about so long a delta grows where there is no quiet,"""
LARGE_DELTA = 1 << 18
"""unless it gets this large, and as half of the trees, before."""
BULK_RATE = 20_000
"""Entries a second from which on a load is let be, as what is folded meanwhile would soon be folded again,"""
BULK_DELTA = 1 << 24
"""up to so large a delta."""
DEAD_SHARE = 0.25
"""A collection is rebuilt when more than this share of the entries in its slots is dead."""
HOLLOW_SHARE = 0.5
"""And without waiting for quiet when more than this is."""
LEAST_DEAD = 1024
"""Fewer dead entries than this are let be."""
LEAST_GAIN = 64 << 20
"""Bytes that compacting the file must free, about, for it to be worth it."""
QUIET_SECONDS = 1.0
PACE_SECONDS = 0.25
"""Over so long at least it is told how many entries come in a second: commits come in bursts."""
RETRY_SECONDS = 30.0
"""After an error, a full disk perhaps."""
LOOK_SECONDS = 600.0
"""Between two looks at the file's pages; one takes some tenths of a second where the store has ten million entries."""
_PAGES, _FILE = "", "/"
"""In a collection's place: the file's pages are looked over, and the file is compacted where that is worth it."""


def delta_limit(rate: float, built: int) -> int:
    """How many entries a delta may have beside trees of `built`, while so many come in a second without a pause."""
    large = max(LARGE_DELTA, built // 2)
    return max(large, BULK_DELTA) if rate >= BULK_RATE else max(DELTA_SLOTS, min(int(rate * FOLD_SECONDS), large))


class Upkeep:
    """The thread, once `start` was called. `wake` it after every commit that changes a collection."""

    def __init__(self, engine: Engine, compact_above: float = 0.0) -> None:
        """`compact_above`: the share of the file that must be free, or dead, for it to be compacted; 0: never."""
        self._engine = engine
        self._compact_above = compact_above
        self._changed: dict[str, float] = {}
        self._wakes = threading.Condition()
        self._pace: dict[str, tuple[float, int, float]] = {}
        """When each collection was last looked at, how many ids it had given by then, and how many a second before."""
        self._look = time.monotonic() + LOOK_SECONDS
        """When the file's pages are looked at next."""
        self._weigh: float | None = None
        """When to see whether the file is to be compacted: what a fold leaves is free some commits later."""
        self._closing = False
        self._paused: Counter[str] = Counter()
        self._at_work: str | None = None
        self._thread = threading.Thread(target=self._run, name="atlasdb-upkeep", daemon=True)

    def start(self) -> None:
        """Look at every collection, and go on."""
        self._changed = {record.name: time.monotonic() for record in self._engine.store.records()}
        self._thread.start()

    def wake(self, name: str) -> None:
        """Something was inserted or deleted."""
        with self._wakes:
            self._changed[name] = time.monotonic()
            self._wakes.notify_all()

    @contextmanager
    def stopped_for(self, name: str) -> Iterator[None]:
        """While a collection is built or dropped: what is being done for it is stopped first."""
        with self._wakes:
            self._paused[name] += 1
            self._wakes.wait_for(lambda: self._at_work != name)
        try:
            yield
        finally:
            with self._wakes:
                self._paused[name] -= 1
                self._wakes.notify_all()

    def idle(self) -> bool:
        """Whether it does nothing, and nothing waits for it."""
        with self._wakes:
            return not self._changed and self._at_work is None and self._weigh is None

    def close(self) -> None:
        """Stop in the middle of whatever it does; nothing is lost by that."""
        with self._wakes:
            self._closing = True
            self._wakes.notify_all()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while (name := self._next()) is not None:
            again: float | None = None
            try:
                self._look_after(name)
            except Cancelled:
                again = 0
            except NotFound:
                pass
            except Exception as error:  # noqa: BLE001 - the collection is served as it is, and tried again later
                log.warning("the upkeep of %r failed, to be tried again: %s", name, error)
                again = RETRY_SECONDS
            with self._wakes:
                self._at_work = None
                if name not in (_PAGES, _FILE):
                    self._weigh = time.monotonic() + QUIET_SECONDS
                    if again is not None:
                        self._changed.setdefault(name, time.monotonic() + again)
                self._wakes.notify_all()

    def _compact(self) -> None:
        """Give space back, where that is worth it and nothing else is to do."""
        if not self._compact_above or self._has_work():
            return
        try:
            if worth(self._engine, self._compact_above, LEAST_GAIN):
                for step in Compaction(self._engine, self.stopped_for, self._has_work).run(dry_run=False):
                    if step.stage == "done":
                        log.info("compacted: %s became %s", size(step.file_bytes), size(step.after_bytes))
        except Cancelled:
            pass
        except Exception as error:  # noqa: BLE001 - the file stays as it is
            log.warning("the file could not be compacted: %s", error)

    def _has_work(self) -> bool:
        """Whether it is to close, or a delta waits to be folded."""
        waiting = [self._record(name) for name in list(self._changed)]
        return self._closing or any(record and record.delta_entries >= DELTA_SLOTS for record in waiting)

    def _next(self) -> str | None:
        """The next collection to look at, or _PAGES or _FILE, when it is time; None: closing."""
        with self._wakes:
            while not self._closing:
                now = time.monotonic()
                if now >= self._look:
                    self._look = now + LOOK_SECONDS
                    return _PAGES
                for name, changed in self._changed.items():
                    due = now >= changed + QUIET_SECONDS or (now >= changed and self._urgent(name))
                    if due and not self._paused[name]:
                        del self._changed[name]
                        self._at_work = name
                        return name
                if self._weigh is not None and now >= self._weigh:
                    self._weigh, self._at_work = None, _FILE
                    return _FILE
                busy = self._changed or self._weigh is not None
                self._wakes.wait(QUIET_SECONDS / 2 if busy else self._look - now)
            return None

    def _record(self, name: str) -> CollectionRecord | None:
        with suppress(AtlasError), self._engine.store.view(name) as view:
            return view.record
        return None

    def _urgent(self, name: str) -> bool:
        record = self._record(name)
        if record is None:
            return False
        now = time.monotonic()
        before, given, rate = self._pace.setdefault(name, (now, record.next_entry, BULK_RATE))
        if now >= before + PACE_SECONDS:
            rate = (record.next_entry - given) / (now - before)
            self._pace[name] = now, record.next_entry, rate
        built = sum(tree.entries for tree in record.trees)
        dead = record.tombstones > max(LEAST_DEAD, HOLLOW_SHARE * (built + record.delta_entries))
        return dead or record.delta_entries >= delta_limit(rate, built)

    def _look_after(self, name: str) -> None:
        if name == _FILE:
            self._compact()
            return
        if name == _PAGES:
            for told in self._engine.store.look_over():
                log.error("%s", told)
            return
        record = self._record(name)
        if record is None or self._engine.store.environment.barred.writes:
            return
        try:
            self._tend(name, record)
        except DataLoss as error:
            log.warning("%s: trying to repair %r", error, name)
            for _, step in repair(self._engine, name, False, lambda: self._stopped(name)):
                for told in (*step.restored, *(f"lost: {one}" for one in step.lost)):
                    log.warning("repair: %s", told)
            self._tend(name, record)

    def _tend(self, name: str, record: CollectionRecord) -> None:
        held = record.delta_entries + sum(tree.entries for tree in record.trees)
        if record.tombstones > max(LEAST_DEAD, DEAD_SHARE * held):
            build(self._engine, name, 0, lambda: self._stopped(name), lambda _: None)
        elif record.delta_entries >= DELTA_SLOTS:
            fold(self._engine, name, lambda: self._stopped(name))

    def _stopped(self, name: str) -> bool:
        return self._closing or self._paused[name] > 0
