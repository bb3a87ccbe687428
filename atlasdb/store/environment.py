"""The one LMDB environment of a store folder, and who may open it.

No WRITEMAP (a stray write would reach the disk), no NOSYNC (an ack means durable). A file `lock`, held with flock for
the life of the process, keeps a second server out: LMDB itself would let it in.
"""

import fcntl
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import lmdb

from atlasdb import format as fmt
from atlasdb.store import pages
from atlasdb.store.barred import Barred
from atlasdb.store.errors import DISK_FULL, MAP_FULL, NO_ROOM, mapped_errors
from atlasdb.store.folder import lock_folder, switching
from atlasdb.store.opened import COLLECTIONS_LIMIT, READERS_LIMIT, TABLES, Opened, Tables, Txn, table_name
from atlasdb.store.pages import is_table
from atlasdb.store.reserve import Reserve, allocate
from atlasdb_contract.errors import DataLoss, ResourceExhausted, Unavailable
from atlasdb_contract.ids import CollectionId

log = logging.getLogger("atlasdb.store")

RESERVE_BYTES = 64 << 20
"""Room that writes which grow the store leave, in the map and on the disk; in a small map, a quarter. On the disk the
file of store/reserve.py comes on top, and that is sure."""
HEAD_PAGES = 2
"""LMDB's own, at the beginning of the file."""
FILE = "atlas.mdb"
"""LMDB's file in a store's folder; its own lock file stands beside it."""
READERS_BYTES = 64 * READERS_LIMIT + 8192
"""Size of LMDB's table of readers, with what LMDB has before the readers; a little more than it needs."""
NEW_FILE = f"{FILE}.new"
"""The same while it is made."""
SMALLEST_MAP = 1 << 30
"""Where halving a map that the machine refuses ends."""
LOOKS = 8
"""Times that the file's pages are looked at anew, as commits write over what a look began with."""


class Environment:
    """The LMDB environment, open; owns the folder's lock."""

    def __init__(self, path: Path, map_bytes: int, keep: Callable[[], Any] = object, read_only: bool = False) -> None:
        """Opens or makes the folder; see Database.open for the errors. `keep` makes what views of a file share.
        `read_only`: beside its owner, without lock."""
        self.path = path
        self.map_bytes = map_bytes
        self.keep = keep
        self._views: dict[int, float] = {}
        """Those that are open, with when they began (perf_counter)."""
        self._serial = 0
        self._views_changed = threading.Condition()
        self._closed = False
        self.barred = Barred(path / FILE)
        self.reserve = Reserve(path)
        self._read_only = read_only
        self._lock: int | None = None
        self.opened: Opened
        """The file that views are of from now on."""
        if read_only:
            with switching(path, fcntl.LOCK_SH):
                self.opened = self._open(path / FILE)
            self._check_format()
            return
        self._lock = lock_folder(path, make=True)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for left in path.glob(f"{FILE}.*"):
                left.unlink()
            if not (path / FILE).exists():
                _make(path)
            self.opened = self._open(path / FILE)
            self._check_format()
            self.reserve.keep()
            os.fsync(folder)
        except BaseException:
            os.close(self._lock)
            raise
        finally:
            os.close(folder)

    def _allocate_readers(self, lock: Path) -> None:
        """LMDB writes its table of readers through a map: it may have no holes. Before LMDB opens it only: to close
        a file that this process has under a lock of fcntl lets go of that lock."""
        try:
            allocate(lock, READERS_BYTES)
        except OSError as error:
            if error.errno not in NO_ROOM:
                return  # a file system that promises nothing
            if self.reserve.give_up():
                self._allocate_readers(lock)
                return
            raise ResourceExhausted(DISK_FULL.format(error.strerror)) from error

    @property
    def _lmdb(self) -> lmdb.Environment:
        return self.opened.lmdb

    def _open(self, file: Path, look: bool = True) -> Opened:
        if not self._read_only:
            self._check_pages(pages.look(file))
        while True:
            try:
                opened = self.lmdb_at(file)
                break
            except ResourceExhausted:
                if self.map_bytes // 2 < max(SMALLEST_MAP, file.stat().st_size if file.exists() else 0):
                    raise
                self.map_bytes //= 2
        opened.reader_check()
        written = (opened.info()["last_pgno"] + 1) * opened.stat()["psize"]
        if (size := file.stat().st_size) < written and size > 0:
            opened.close()
            raise DataLoss(f"{file} is cut short: {size} bytes of {written}; restore it from a copy")
        if self._read_only and look:
            for _ in range(LOOKS):
                with suppress(pages.Overtaken), mapped_errors(), opened.begin() as txn:
                    found = pages.look(file, txn.id())
                    self.barred.note([fault for fault in found.faults if fault.table])
                    break
        return Opened(opened, os.open(file, os.O_RDONLY | os.O_CLOEXEC), self.keep())

    def lmdb_at(self, file: Path) -> lmdb.Environment:
        """An LMDB environment on a file, which is made where this one may write."""
        if not self._read_only:
            self._allocate_readers(file.with_name(f"{file.name}-lock"))
        with mapped_errors():
            return lmdb.open(
                os.fspath(file),
                map_size=self.map_bytes,
                readonly=self._read_only,
                create=not self._read_only,
                subdir=False,
                readahead=False,
                max_readers=READERS_LIMIT,
                max_dbs=COLLECTIONS_LIMIT * len(TABLES),
                max_spare_txns=8,
            )

    def _check_pages(self, found: pages.Structure) -> None:
        """DataLoss where the file as a whole is damaged; heads of long records, whose content is known, are mended."""
        self.barred.note(found.faults)
        self.barred.check_readable()
        self.mend(found.heads)

    def mend(self, heads: Mapping[int, int]) -> None:
        """Write the heads of long records that are damaged: page -> pages of the record."""
        if not heads:
            return
        told = "%s: the heads of %d long records were damaged and are mended: pages %s"
        log.warning(told, self.path / FILE, len(heads), ", ".join(map(str, sorted(heads)[:5])))
        pages.mend(self.path / FILE, heads)

    def structure(self, keep: str = "") -> pages.Structure:
        """The file's pages as a transaction that begins now has them; see pages.look. Unavailable where commits are too
        quick for it."""
        for _ in range(LOOKS):
            with suppress(pages.Overtaken), self.snapshot() as (txn, opened):
                return pages.look(opened.file, txn.id(), keep)
        raise Unavailable("the file's pages can't be looked at while so much is written; try again")

    def look_over(self) -> pages.Structure:
        """The same, and from now on what is damaged is kept from LMDB. A fault counts when it is there twice: heads of
        the file may be read while they are written."""
        self.barred.note(pages.heads(self.opened.file))
        found = self.structure()
        if found.faults:
            found = self.structure()
        self.barred.note(found.faults)
        return found

    def _check_format(self) -> None:
        try:
            with mapped_errors(), self._lmdb.begin(write=not self._read_only, buffers=True) as txn:
                if txn.stat()["entries"] == 0 and not self._read_only:
                    for key in (fmt.FORMAT_KEY, fmt.COPY_PREFIX + fmt.FORMAT_KEY):
                        txn.put(key, fmt.format_record(key))
                copy = txn.get(fmt.COPY_PREFIX + fmt.FORMAT_KEY)
                fmt.check_format(str(self.path), txn.get(fmt.FORMAT_KEY), copy)
        except BaseException:
            self.opened.close()
            raise

    def close(self) -> None:
        """Wait for open views, then close. May be called twice."""
        self.settle()
        if not self._closed:
            self._closed = True
            self.opened.close()
            if self._lock is not None:
                os.close(self._lock)

    # ---- transactions ----

    @contextmanager
    def snapshot(self) -> Iterator[tuple[Txn, Opened]]:
        """A read transaction and the file that it is of; keep it short: while it lives, no page it can see is used
        again."""
        self.barred.check_readable()
        with self._views_changed:
            serial, opened = self._begin()
        try:
            with mapped_errors(), opened.lmdb.begin(buffers=True) as txn:
                yield txn, opened
        finally:
            self._end(serial, opened)

    @contextmanager
    def reading(self) -> Iterator[Txn]:
        """The transaction alone, for what needs no table of a collection."""
        with self.snapshot() as (txn, _):
            yield txn

    def _begin(self) -> tuple[int, Opened]:
        """A view more; the lock is held."""
        if self._closed:
            raise Unavailable("the store is closed")
        self._serial += 1
        self._views[self._serial] = time.perf_counter()
        self.opened.views += 1
        return self._serial, self.opened

    def _end(self, serial: int, opened: Opened) -> None:
        with self._views_changed:
            self._views.pop(serial, None)
            opened.views -= 1
            last = opened.left and not opened.views
            self._views_changed.notify_all()
        if last:
            opened.close()

    def switch(self, opened: Opened) -> None:
        """Views are of another file from now on; the one before goes with its last view. No write may be going on."""
        with self._views_changed:
            before, self.opened = self.opened, opened
            before.left = True
            idle = not before.views
        if idle:
            before.close()

    def replace(self, file: Path, opened: Opened) -> None:
        """A file in this folder, open and synced, takes the place of the store's, in the directory and for views.

        Whatever stops this in the middle, the store's file is the one or the other, whole. LMDB's list of readers goes
        first: so it is never that of another file.
        """
        with switching(self.path, fcntl.LOCK_EX) as folder:
            lock, wanted = (path.with_name(path.name + "-lock") for path in (file, self.path / FILE))
            kept = self.path / f"{FILE}.lock-before"
            os.link(wanted, kept)
            try:
                lock.replace(wanted)
                file.replace(self.path / FILE)
            except OSError:
                kept.replace(wanted)
                raise
            self.switch(opened)
            os.fsync(folder)
            kept.unlink()

    def settle(self) -> None:
        """Wait until every view that is open now has been closed."""
        with self._views_changed:
            now = self._serial
            self._views_changed.wait_for(lambda: all(serial > now for serial in self._views))

    @contextmanager
    def writing(self) -> Iterator[Txn]:
        """The write transaction, for the writer thread alone: synced at the end, undone on an error. DataLoss."""
        self.barred.check_writable()
        with self.opening() as txn:
            yield txn

    @contextmanager
    def opening(self) -> Iterator[Txn]:
        """The same, damaged or not, to open tables in and write nothing."""
        with mapped_errors(), self._lmdb.begin(write=True, buffers=True) as txn:
            yield txn

    def clear_dead_readers(self) -> None:
        """Free what processes that died while they read had reserved: no page that they could see is used again."""
        with mapped_errors():
            self._lmdb.reader_check()

    # ---- tables ----

    def tables(self, collection: CollectionId) -> Tables:
        """The handles of a collection that is in the registry. DataLoss where they must not be used."""
        self.barred.check_usable(collection)
        return self.opened.tables[collection]

    def open_tables(self, txn: Txn, collection: CollectionId) -> None:
        """Open a collection's tables, in a write transaction made where there are none; `tables` then knows them."""
        names, make = {table: table_name(collection, table) for table in TABLES}, not self.barred.writes
        with mapped_errors():
            handles = {table: self._lmdb.open_db(name, txn=txn, create=make) for table, name in names.items()}
        self.opened.tables[collection] = Tables.of(handles)

    def drop_table(self, txn: Txn, name: bytes) -> None:
        """Delete a table and all in it. No view may be open that could read it: `settle` first."""
        txn.drop(self._lmdb.open_db(name, txn=txn), delete=True)

    def forget_tables(self, collection: CollectionId) -> None:
        """Their handles are gone with the tables."""
        self.opened.tables.pop(collection, None)

    def table_names(self, txn: Txn) -> list[bytes]:
        """Every collection table there is, also of collections that are in the registry no more."""
        with txn.cursor() as cursor:
            keys = [bytes(key) for key in cursor.iternext(values=False)]
        return [key for key in keys if is_table(key)]

    # ---- sizes ----

    def check_room(self, txn: Txn) -> None:
        """ResourceExhausted where this write transaction leaves less than the reserve."""
        if self.used_pages(txn) * self.page_bytes() > self.map_bytes - min(RESERVE_BYTES, self.map_bytes // 4):
            raise ResourceExhausted(MAP_FULL)
        disk = os.statvfs(self.path)
        if disk.f_bavail * disk.f_frsize < RESERVE_BYTES:
            left = f"less than {RESERVE_BYTES >> 20} MiB left"
            raise ResourceExhausted(f"the disk of {self.path} has {left}: make room on it, or delete something")

    def used_pages(self, txn: Txn) -> int:
        """Pages that hold something, less those of the list of free pages."""
        tables = [db for some in self.opened.tables.values() for db in some.all()]
        stats = [txn.stat(), *(txn.stat(db) for db in tables)]
        return sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)

    def pages(self) -> tuple[int, int]:
        """Pages of the file up to the last in use, and how many of them hold nothing, or are the list of those."""
        with self.reading() as txn:
            used = self.used_pages(txn) + HEAD_PAGES
        every = int(self._lmdb.info()["last_pgno"]) + 1
        return every, max(0, every - used)

    def oldest_view(self) -> float:
        """Seconds since the oldest view of this process that is open began; 0 where none is."""
        with self._views_changed:
            begun = list(self._views.values())
        return max(0.0, time.perf_counter() - min(begun)) if begun else 0.0

    def commits_behind(self) -> int:
        """How many commits old the oldest view of any process is."""
        reading = [
            int(line.split()[-1]) for line in self._lmdb.readers().splitlines()[1:] if line.split()[-1].isdigit()
        ]
        return max(0, int(self._lmdb.info()["last_txnid"]) - min(reading)) if reading else 0

    def page_bytes(self) -> int:
        """Bytes of one LMDB page."""
        return int(self._lmdb.stat()["psize"])

    def file_bytes(self) -> int:
        """Bytes of the file up to its last page in use."""
        return int(self._lmdb.info()["last_pgno"] + 1) * self.page_bytes()


def _make(path: Path) -> None:
    """Make LMDB's file under another name, and give it its own when it is on the disk: a power cut leaves it whole."""
    new = path / NEW_FILE
    new.unlink(missing_ok=True)
    with mapped_errors(), lmdb.open(os.fspath(new), subdir=False, lock=False) as made, made.begin(write=True) as txn:
        for key in (fmt.FORMAT_KEY, fmt.COPY_PREFIX + fmt.FORMAT_KEY):
            txn.put(key, fmt.format_record(key))
    new.replace(path / FILE)
