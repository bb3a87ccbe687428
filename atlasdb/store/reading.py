"""A store folder as a process beside its owner reads it: the owner alone has the lock and writes.

LMDB shows a transaction what was committed before it began, whoever committed it. What a reader has to do by itself is
to open the tables of collections that came after it did, and to let go of those that were dropped:

    a view begins ──▶ registry has the name ──▶ its tables were open before? ──yes──▶ the view
          ▲                                                 no
          └────────── they are open from now on ◀───────────┘

LMDB lets no transaction use a handle that was opened after it began, and py-lmdb closes no handle but with the
environment. So after some drops all views are waited for, and the environment is opened anew. Where the owner has put
another file in the place of ours, the next view is of that one.
"""

import fcntl
import logging
import os
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from atlasdb.store import registry
from atlasdb.store.environment import FILE, Environment
from atlasdb.store.errors import mapped_errors
from atlasdb.store.folder import switching
from atlasdb.store.opened import COLLECTIONS_LIMIT, TABLES, Opened, Tables, Txn, table_name
from atlasdb.store.recent import Latencies
from atlasdb.store.store import Store
from atlasdb.store.view import Cache, View
from atlasdb.store.writer import Writer, WriteTxn
from atlasdb_contract.errors import DataLoss, FailedPrecondition
from atlasdb_contract.ids import CollectionId

T = TypeVar("T")

log = logging.getLogger("atlasdb.store")

GONE_LIMIT = 32
"""Dropped collections whose handles are kept open; each costs a transaction half a microsecond."""


class ReadingEnvironment(Environment):
    """The LMDB environment of a folder that another process owns, open for reading."""

    def __init__(self, path: Path, map_bytes: int, keep: Callable[[], Any]) -> None:
        if not (path / FILE).exists():
            raise FailedPrecondition(f"there is no store in {path}; open it for writing first")
        self._reopening = False
        self._following = threading.Lock()
        self._moves = 0
        super().__init__(path, map_bytes, keep, read_only=True)

    @contextmanager
    def seen(self) -> Iterator[tuple[Txn, Opened, Mapping[CollectionId, Tables]]]:
        """A read transaction, the file that it is of, and the tables that it may use: those that were open before it
        began."""
        self._follow()
        with ExitStack() as stack:
            with self._views_changed:
                self._views_changed.wait_for(lambda: not self._reopening)
                serial, opened = self._begin()
                stack.callback(self._end, serial, opened)
                tables = opened.tables
                stack.enter_context(mapped_errors())
                txn = stack.enter_context(opened.lmdb.begin(buffers=True))
            yield txn, opened, tables

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Txn, Opened]]:
        """As its owner's, but that it waits while the environment is opened anew."""
        with self.seen() as (txn, opened, _):
            yield txn, opened

    def known(self) -> set[CollectionId]:
        """Collections whose tables are open, dropped ones included."""
        return set(self.opened.tables)

    def find_tables(self, collection: CollectionId) -> bool:
        """Open a collection's tables for the snapshots to come; False where they are gone. One thread at a time."""
        opened = self.opened
        with mapped_errors():
            try:
                handles = {table: opened.lmdb.open_db(table_name(collection, table), create=False) for table in TABLES}
            except lmdb.NotFoundError:
                return False
        opened.tables = opened.tables | {collection: Tables.of(handles)}
        return True

    def _follow(self) -> None:
        """Go over to the file that its owner has put in the place of ours."""
        if self._is_ours():
            return
        with self._following:
            if self._is_ours():
                return
            try:
                with switching(self.path, fcntl.LOCK_SH):
                    self.switch(self._open_beside())
            except OSError as error:
                log.warning("%s: %s; views wait for each other instead", self.path / FILE, error)
                self.reopen()

    def _is_ours(self) -> bool:
        found = os.stat(self.path / FILE)
        return (found.st_dev, found.st_ino) == self.opened.inode

    def _open_beside(self) -> Opened:
        """The file, while another that had its name is open: py-lmdb opens no path twice, so for that moment it has
        one more."""
        self._moves += 1
        beside = self.path / f"{FILE}.{os.getpid()}-{self._moves}"
        names = [(self.path / (FILE + end), beside.with_name(beside.name + end)) for end in ("", "-lock")]
        try:
            for name, more in names:
                os.link(name, more)
            return self._open(beside, look=False)  # the owner wrote it just now
        finally:
            for _, more in names:
                more.unlink(missing_ok=True)

    def reopen(self) -> None:
        """Wait for open views, while new ones wait, and begin again with no table open. One thread at a time."""
        with self._views_changed:
            self._reopening = True
            try:
                self._views_changed.wait_for(lambda: not self._views)
                self.opened.close()
                with switching(self.path, fcntl.LOCK_SH):
                    self.opened = self._open(self.path / FILE)
            finally:
                self._reopening = False
                self._views_changed.notify_all()


class NoWriter(Writer):
    """In a writer's place: refuses."""

    def __init__(self) -> None:
        self.commits = 0
        self.latencies = Latencies()

    def submit(self, job: Callable[[WriteTxn], T], weight: int = 0) -> "Future[T]":  # noqa: ARG002
        """FailedPrecondition."""
        raise FailedPrecondition("this process only reads the store; its owner writes to it")

    def close(self) -> None:
        """There is nothing to finish."""


class ReadingStore(Store):
    """Owns the environment of a reader. What its owner commits is in the views that begin after."""

    environment: ReadingEnvironment

    def __init__(self, path: Path, map_bytes: int) -> None:
        self.environment = ReadingEnvironment(path, map_bytes, Cache)
        self.writer = NoWriter()
        self._finding = threading.Lock()

    @contextmanager
    def view(self, name: str) -> Iterator[View]:
        """As its owner's."""
        missing: CollectionId | None = None
        while True:
            with self.environment.seen() as (txn, opened, tables):
                record = registry.get(txn, name)
                self.environment.barred.check_usable(record.id)
                if record.id in tables:
                    yield View(txn, tables[record.id], record, opened.kept)
                    return
            if self._find(record.id):
                continue
            if record.id == missing:
                raise DataLoss(f"the tables of the collection {name!r} are missing; restore the store from a copy")
            missing = record.id

    def _find(self, collection: CollectionId) -> bool:
        """Have a collection's tables open; False where it was dropped meanwhile. Lets go of what was dropped before."""
        with self._finding:
            known = self.environment.known()
            if collection in known:
                return True
            gone = known - {record.id for record in self.records()}
            for each in gone:
                self.cache.forget(each)
            if len(gone) > GONE_LIMIT or len(known) >= COLLECTIONS_LIMIT:
                self.environment.reopen()
            return self.environment.find_tables(collection)
