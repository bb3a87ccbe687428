"""Compaction: what deleted entries leave is dropped, and the file is made anew without free pages, while all goes on.

build      collections of which much is deleted: tombstones leave the slots
drop       texts, rows and values that no entry has (store/dropping.py)
copy       a compact copy of the file beside it, and what changed meanwhile, in rounds (store/copying.py)
swap       the writer is held for the last round; views go over to the copy as they begin
"""

import logging
import secrets
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass, field, replace
from functools import partial

from atlasdb.engine.build import build
from atlasdb.engine.engine import Engine
from atlasdb.store import dropping
from atlasdb.store.copying import Copy, check_disk, rounds, used_bytes
from atlasdb.store.dropping import Dead
from atlasdb.store.environment import FILE
from atlasdb.store.index import Space
from atlasdb.store.opened import TABLES
from atlasdb_contract.errors import AtlasError, Cancelled, DataLoss, NotFound
from atlasdb_contract.upkeep import CompactProgress

log = logging.getLogger("atlasdb.engine")

BUILT_SHARE = 1 / 16
"""A collection is built anew where more than this share of what its slots hold is deleted."""
BUILD_BYTES = 64
"""Memory that a build takes for each slot beyond its key."""
COPY_BYTES = 64 << 20
"""Memory that the copy takes: its transactions."""
OF_ROWS = ("entries", "values", "index")
"""Tables that grow with every entry there ever was, until what is dead is dropped."""
OF_SLOTS = ("postings", "nodes")
"""Tables in which deleted entries stay until they are built anew."""
PACE = 100e6
"""Bytes a second, where nobody knows better: for the time that a dry run tells."""

Stopped = Callable[[str], AbstractContextManager[None]]


@dataclass(slots=True)
class Compaction:
    """Of one store. `cancelled` and `rate` (bytes a second, 0: no limit) are looked at between steps."""

    engine: Engine
    stopped_for: Stopped
    cancelled: Callable[[], bool]
    rate: int = 0
    result: CompactProgress = field(default_factory=lambda: CompactProgress("done", 1, 1))
    _began: float = field(default_factory=time.monotonic)
    _read: int = 0

    def run(self, dry_run: bool) -> Iterator[CompactProgress]:
        """All of it. ResourceExhausted where the disk has not enough room for the copy; DataLoss where a collection
        can't be read; Cancelled: what was dropped stays so, and the next compaction goes on with the copy."""
        store = self.engine.store
        if unreadable := store.unreadable():
            raise DataLoss(f"a store that can't be read whole can't be copied: {next(iter(unreadable.values()))}")
        self.result = replace(self.result, file_bytes=store.environment.file_bytes())
        with self.engine.compacting():
            if not dry_run:
                check_disk(store.environment.path, used_bytes(store.environment))
            for record in store.records():
                with suppress(NotFound):  # it was dropped meanwhile
                    yield from self._collection(record.name, dry_run)
            yield from self._told() if dry_run else self._copy()

    def _check(self) -> None:
        if self.cancelled():
            raise Cancelled("the compaction was stopped; the next one goes on from here")

    def _wait(self, size: int) -> None:
        """Keep to the rate after so many bytes more."""
        self._read += size
        if self.rate:
            while (left := self._read / self.rate - (time.monotonic() - self._began)) > 0:
                self._check()
                time.sleep(min(left, 0.1))

    # ---- what is dead ----

    def _collection(self, name: str, dry_run: bool) -> Iterator[CompactProgress]:
        with self.engine.store.view(name) as view:
            record, page = view.record, self.engine.store.environment.page_bytes()
            whole = sum(view.pages(table) for table in TABLES) * page
        if not record.deletions:
            return
        held = record.delta_entries + sum(tree.entries for tree in record.trees)
        with self.stopped_for(name):
            if record.tombstones > BUILT_SHARE * held:
                if dry_run:
                    slots = record.delta_entries + sum(tree.slots for tree in record.trees)
                    memory = slots * 2 * (record.dimension + BUILD_BYTES)
                    dead = whole * record.tombstones // max(1, held)
                    self.result = replace(
                        self.result,
                        memory_bytes=max(self.result.memory_bytes, memory),
                        dead_entries=self.result.dead_entries + record.tombstones,
                        after_bytes=self.result.after_bytes - dead,
                    )
                    return
                yield CompactProgress(f"building {name}", 0, 1)
                with suppress(DataLoss):
                    build(self.engine, name, 0, self.cancelled, lambda _: None)
            try:
                with self.engine.building(name):
                    yield from self._dead(name, whole, dry_run)
            except DataLoss as error:
                log.warning("nothing is dropped of %r, as it is damaged: %s", name, error)

    def _dead(self, name: str, whole: int, dry_run: bool) -> Iterator[CompactProgress]:
        for dead in dropping.scan(self.engine.store, name):  # noqa: B007 - the last one counts
            self._check()
            self._wait(dropping.VIEW_BYTES)
            yield CompactProgress(f"looking at {name}", 0, 0)
        if not dead.pays(whole):
            if not dry_run:
                self.engine.store.submit(partial(dropping.dropped, name=name, dead=dead)).result()
            return
        self.result = replace(
            self.result,
            dead_entries=self.result.dead_entries + dead.entry_count,
            dead_values=self.result.dead_values + dead.value_count,
        )
        if dry_run:
            self.result = replace(self.result, after_bytes=self.result.after_bytes - dead.size)
            return
        yield from self._drop(name, dead)

    def _drop(self, name: str, dead: Dead) -> Iterator[CompactProgress]:
        store = self.engine.store
        for job in (dropping.drop_entries, dropping.drop_values) if dead.sound else (dropping.drop_entries,):
            at: bytes | None = b""
            while at is not None:
                self._check()
                at = store.submit(partial(job, name=name, dead=dead, at=at), dropping.VIEW_BYTES).result()
                self._wait(dropping.VIEW_BYTES)
                yield CompactProgress(f"dropping of {name}", 0, 0)
        for space in Space:
            onward: int | None = 0
            while onward is not None:
                self._check()
                onward = store.submit(partial(dropping.purge, name=name, space=space, at=onward)).result()
        store.submit(partial(dropping.dropped, name=name, dead=dead)).result()

    def _told(self) -> Iterator[CompactProgress]:
        """The last step of a dry run."""
        environment = self.engine.store.environment
        used = used_bytes(environment)
        after = max(environment.page_bytes(), used + self.result.after_bytes)
        memory = self.result.memory_bytes + COPY_BYTES
        seconds = (used + after) / min(self.rate or PACE, PACE)
        yield replace(self.result, after_bytes=after, disk_bytes=used, memory_bytes=memory, seconds=seconds)

    # ---- the file ----

    def _copy(self) -> Iterator[CompactProgress]:
        store, engine = self.engine.store, self.engine
        total = used_bytes(store.environment)
        if engine.copy is None:
            engine.copy = Copy(store.environment, store.environment.path / f"{FILE}.copy-{secrets.token_hex(4)}")
        copy = engine.copy
        try:
            more = True
            while more:
                self._check()
                before = copy.copied
                more = copy.step()
                self._wait(copy.copied - before)
                yield CompactProgress("copying", min(copy.copied, total), total)
            for size in rounds(copy, self._check):
                self._wait(size)
                yield CompactProgress("catching up", 0, 0)
            held = store.writer.alone(partial(_timed, copy.take_place)).result()
        except (Cancelled, GeneratorExit):
            copy.rest()
            raise
        except BaseException:
            engine.copy = None
            copy.close()
            raise
        engine.copy = None
        if copy.unsound:
            log.warning(
                "%d records fail their checksum and were copied as they are; see 'atlasdb repair'", copy.unsound
            )
        yield replace(
            self.result,
            after_bytes=store.environment.file_bytes(),
            disk_bytes=total,
            memory_bytes=COPY_BYTES,
            seconds=time.monotonic() - self._began,
            held_seconds=held,
        )


def _timed(work: Callable[[], None]) -> float:
    """Seconds that it took."""
    began = time.monotonic()
    work()
    return time.monotonic() - began


def worth(engine: Engine, share: float, least: int) -> bool:
    """Whether free pages and what is dead are more than this share of the file, and more than so many bytes."""
    environment = engine.store.environment
    size, page = environment.file_bytes(), environment.page_bytes()
    gain = size - used_bytes(environment)
    for record in engine.store.records():
        dead = record.next_entry - 1 - record.entries - record.dropped
        held = record.delta_entries + sum(tree.entries for tree in record.trees)
        with suppress(AtlasError), engine.store.view(record.name) as view:
            rows, slots = (page * sum(map(view.pages, tables)) for tables in (OF_ROWS, OF_SLOTS))
            gain += rows * dead // (record.entries + dead or 1) + slots * record.tombstones // (held or 1)
    return gain > max(share * size, least)
