"""A store folder as a process beside its owner reads it: the owner alone has the lock and writes.

LMDB shows a transaction what was committed before it began, whoever committed it. What a reader has to do by itself is
to open the tables of collections that came after it did, and to let go of those that were dropped:

    a view begins ──▶ registry has the name ──▶ its tables were open before? ──yes──▶ the view
          ▲                                                 no
          └────────── they are open from now on ◀───────────┘

LMDB lets no transaction use a handle that was opened after it began, and py-lmdb closes no handle but with the
environment. So after some drops all views are waited for, and the environment is opened anew.
"""

import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TypeVar

import lmdb

from atlasdb.store import registry
from atlasdb.store.environment import (
    COLLECTIONS_LIMIT,
    FILE,
    TABLES,
    Environment,
    Tables,
    Txn,
    mapped_errors,
    table_name,
)
from atlasdb.store.store import Store
from atlasdb.store.view import Cache, View
from atlasdb.store.writer import Writer, WriteTxn
from atlasdb_contract.errors import DataLoss, FailedPrecondition
from atlasdb_contract.ids import CollectionId

T = TypeVar("T")

GONE_LIMIT = 32
"""Dropped collections whose handles are kept open; each costs a transaction half a microsecond."""


class ReadingEnvironment(Environment):
    """The LMDB environment of a folder that another process owns, open for reading."""

    def __init__(self, path: Path, map_bytes: int) -> None:
        if not (path / FILE).exists():
            raise FailedPrecondition(f"there is no store in {path}; open it for writing first")
        self._reopening = False
        super().__init__(path, map_bytes, read_only=True)

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Txn, Mapping[CollectionId, Tables]]]:
        """A read transaction with the tables that it may use: those that were open before it began."""
        with ExitStack() as stack:
            with self._views_changed:
                self._views_changed.wait_for(lambda: not self._reopening)
                tables = self._tables
                txn = stack.enter_context(super().reading())
            yield txn, tables

    @contextmanager
    def reading(self) -> Iterator[Txn]:
        """As its owner's, but that it waits while the environment is opened anew."""
        with self.snapshot() as (txn, _):
            yield txn

    def known(self) -> set[CollectionId]:
        """Collections whose tables are open, dropped ones included."""
        return set(self._tables)

    def find_tables(self, collection: CollectionId) -> bool:
        """Open a collection's tables for the snapshots to come; False where they are gone. One thread at a time."""
        with mapped_errors():
            try:
                handles = {table: self._lmdb.open_db(table_name(collection, table), create=False) for table in TABLES}
            except lmdb.NotFoundError:
                return False
        self._tables = self._tables | {collection: Tables.of(handles)}
        return True

    def reopen(self, forget: Callable[[], None]) -> None:
        """Wait for open views, while new ones wait, and begin again with no table open. One thread at a time.

        The map will lie elsewhere: `forget`, called when no view is open, lets go of all that knows where things lie.
        """
        with self._views_changed:
            self._reopening = True
            try:
                self._views_changed.wait_for(lambda: not self._views)
                forget()
                self._lmdb.close()
                self._tables = {}
                self._lmdb = self._open()
            finally:
                self._reopening = False
                self._views_changed.notify_all()


class NoWriter(Writer):
    """In a writer's place: refuses."""

    def __init__(self) -> None:
        self.commits = 0

    def submit(self, job: Callable[[WriteTxn], T], weight: int = 0) -> "Future[T]":  # noqa: ARG002
        """FailedPrecondition."""
        raise FailedPrecondition("this process only reads the store; its owner writes to it")

    def close(self) -> None:
        """There is nothing to finish."""


class ReadingStore(Store):
    """Owns the environment of a reader. What its owner commits is in the views that begin after."""

    environment: ReadingEnvironment

    def __init__(self, path: Path, map_bytes: int) -> None:
        self.environment = ReadingEnvironment(path, map_bytes)
        self.cache = Cache()
        self.writer = NoWriter()
        self._finding = threading.Lock()

    @contextmanager
    def view(self, name: str) -> Iterator[View]:
        """As its owner's."""
        missing: CollectionId | None = None
        while True:
            with self.environment.snapshot() as (txn, tables):
                record = registry.get(txn, name)
                self.environment.barred.check_usable(record.id)
                if record.id in tables:
                    yield View(txn, tables[record.id], record, self.cache)
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
                self.environment.reopen(self._forget)
            return self.environment.find_tables(collection)

    def _forget(self) -> None:
        self.cache = Cache()
