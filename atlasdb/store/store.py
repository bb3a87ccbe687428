"""A store folder, open: the environment, its writer, and the views of it."""

import logging
import secrets
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TypeVar

from atlasdb.store import postings, registry
from atlasdb.store.barred import owner
from atlasdb.store.environment import Environment
from atlasdb.store.opened import TABLES, Txn, table_name
from atlasdb.store.registry import CollectionRecord, Out
from atlasdb.store.view import Cache, View
from atlasdb.store.writer import Writer, WriteTxn
from atlasdb_contract.errors import AlreadyExists, DataLoss, FailedPrecondition, ResourceExhausted, Unavailable
from atlasdb_contract.ids import CollectionId
from atlasdb_contract.types import UNLIMITED, CollectionConfig, Quota

T = TypeVar("T")
log = logging.getLogger("atlasdb.store")

CLEAR_RECORDS = 64
"""Records of a superseded tree that one transaction deletes."""


class Store:
    """Owns the environment and the writer thread."""

    def __init__(self, path: Path, map_bytes: int) -> None:
        self.environment = Environment(path, map_bytes, Cache)
        environment = self.environment
        with environment.opening() as txn:
            known = {record.id for record in registry.records(txn)}
            unreadable = registry.unreadable(txn)
            self._note_missing(txn, known)
            for collection in known - set(environment.barred.collections):
                environment.open_tables(txn, collection)
        self.writer = Writer(environment)
        damage = [*unreadable.values(), *environment.barred.collections.values()]
        for told in [*damage, *filter(None, [environment.barred.writes])]:
            log.error("%s", told)
        if not environment.barred.writes:
            self._clear_leftovers(known, drop=not damage)

    def close(self) -> None:
        """Finish the writes that were taken, then close."""
        self.writer.close()
        self.environment.close()

    # ---- reading ----

    @property
    def cache(self) -> Cache:
        """What views of the file share that the next one is of."""
        cache: Cache = self.environment.opened.kept
        return cache

    @contextmanager
    def view(self, name: str) -> Iterator[View]:
        """One collection as it is now. NotFound. Close it soon, and let nothing borrowed out of it."""
        with self.environment.snapshot() as (txn, opened):
            record = registry.get(txn, name)
            self.environment.barred.check_usable(record.id)
            yield View(txn, opened.tables[record.id], record, opened.kept)

    def unreadable(self) -> dict[str, str]:
        """What is wrong with collections that can't be read at all, by name."""
        with self.environment.reading() as txn:
            broken = self.environment.barred.collections
            told = {record.name: broken[record.id] for record in registry.records(txn) if record.id in broken}
            return told | registry.unreadable(txn)

    def records(self) -> list[CollectionRecord]:
        """All collections whose record can be read, by name."""
        with self.environment.reading() as txn:
            return list(registry.records(txn))

    # ---- writing ----

    def submit(self, job: Callable[[WriteTxn], T], weight: int = 0) -> "Future[T]":
        """Queue a job for the writer; see Writer.submit."""
        return self.writer.submit(job, weight)

    def create(
        self, name: str, config: CollectionConfig, created: float, if_missing: bool, quota: Quota = UNLIMITED
    ) -> CollectionRecord:
        """A new collection; AlreadyExists unless `if_missing` and its config is the same: its quota stays its own."""

        def job(write: WriteTxn) -> CollectionRecord:
            if found := registry.find(write.txn, name):
                if if_missing and found.config == config:
                    return found
                what = "with another config" if found.config != config else "already"
                raise AlreadyExists(f"there is a collection {name!r} {what}; choose another name or drop it first")
            salt = (secrets.randbits(64), secrets.randbits(64))
            record = CollectionRecord(registry.next_id(write.txn), name, config, created, salt, quota=quota)
            write.grows = True
            self.environment.open_tables(write.txn, record.id)
            registry.put(write.txn, record)
            return record

        return self.submit(job).result()

    def set_quota(self, name: str, entries: int | None, size: int | None) -> CollectionRecord:
        """What a collection may hold from now on, `size` in bytes; None: as it is. NotFound."""

        def job(write: WriteTxn) -> CollectionRecord:
            changes = write.changes(name)
            quota = changes.record.quota
            return changes.limit(Quota(quota.entries if entries is None else entries,
                                       quota.bytes if size is None else size))  # fmt: skip

        return self.submit(job).result()

    def drop(self, name: str) -> CollectionRecord:
        """Delete a collection: out of the registry first, then, when no view can read them, its tables."""

        def job(write: WriteTxn) -> CollectionRecord:
            record = write.changes(name).record
            registry.delete(write.txn, name)
            write.forget(name)
            return record

        record = self.submit(job).result()
        self.environment.settle()
        self._drop_tables(record.id)
        return record

    def _drop_tables(self, collection: CollectionId) -> None:
        with self.environment.reading() as txn:
            names = [name for name in self.environment.table_names(txn) if owner(name) == collection]
        for dropped in [self.submit(partial(self._drop_table, name)) for name in names]:
            dropped.result()
        self.cache.forget(collection)

    def _drop_table(self, name: bytes, write: WriteTxn) -> None:
        """In the writer's turn its handles are forgotten too: writes that follow count no table that is gone."""
        self.environment.forget_tables(owner(name))
        self.environment.drop_table(write.txn, name)

    # ---- damage ----

    def look_over(self) -> list[str]:
        """Look at the file's pages while they are served: what LMDB must not read is closed, and heads of long records
        are mended. What is damaged, in sentences."""
        environment = self.environment
        found = environment.look_over()
        if found.heads and not environment.barred.writes:
            self.submit(lambda _: environment.mend(environment.structure().heads)).result()
        return [f"the file is damaged: {fault}" for fault in found.faults]

    def _note_missing(self, txn: Txn, collections: set[CollectionId]) -> None:
        """A collection that lacks a table is damaged: one commit makes, or begins to drop, all of it."""
        there = set(self.environment.table_names(txn))
        for collection in collections:
            for name in (table_name(collection, table) for table in TABLES):
                if name not in there:
                    told = f"the table {name.decode()} of a collection is missing; restore the store from a copy"
                    self.environment.barred.collections.setdefault(collection, told)

    def note(self, record: CollectionRecord, out: Iterable[Out]) -> None:
        """Fetches go on without these pieces of a collection: from now on here, and by the registry after this."""
        self.cache.note(record, out)
        noted = self.cache.out(record)

        def job(write: WriteTxn) -> None:
            changes = write.changes(record.name)
            if changes.record.id == record.id:
                changes.leave_out(noted)

        with suppress(FailedPrecondition, Unavailable):
            self.submit(job)

    # ---- leftovers ----

    def clear_generations(self, name: str) -> None:
        """Delete what no tree that is read needs, and the delta that trees have, some in each transaction."""

        def job(write: WriteTxn) -> int:
            changes = write.changes(name)
            keep = frozenset(int(tree.generation) for tree in changes.record.trees)
            cleared = postings.clear(write.txn, changes.tables, keep, changes.record.folded, CLEAR_RECORDS)
            if cleared:
                changes.touch()
            return cleared

        while self.submit(job).result() == CLEAR_RECORDS:
            pass

    def _clear_leftovers(self, known: set[CollectionId], drop: bool) -> None:
        """Tables of collections whose drop, and generations whose build or removal, was interrupted. Where a record of
        the registry or a table is damaged, nobody knows whose tables there are: then none is dropped."""
        with self.environment.reading() as txn:
            found = {owner(name) for name in self.environment.table_names(txn)}
        for collection in found - known if drop else ():
            with suppress(ResourceExhausted):  # in a full disk they stay until the next start
                self._drop_tables(collection)
        for record in self.records():
            try:
                self.clear_generations(record.name)
            except (DataLoss, ResourceExhausted) as error:
                log.error("what builds left of %r stays for now: %s", record.name, error)
