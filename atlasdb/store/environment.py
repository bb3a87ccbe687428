"""The one LMDB environment of a store folder, and who may open it.

No WRITEMAP (a stray write would reach the disk), no NOSYNC (an ack means durable). A file `lock`, held with flock for
the life of the process, keeps a second server out: LMDB itself would let it in.
"""

import errno
import fcntl
import logging
import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import lmdb

from atlasdb import format as fmt
from atlasdb.store import pages
from atlasdb.store.barred import Barred
from atlasdb.store.pages import TABLE_NAME
from atlasdb_contract.errors import AtlasError, DataLoss, FailedPrecondition, Internal, ResourceExhausted, Unavailable
from atlasdb_contract.ids import CollectionId

log = logging.getLogger("atlasdb.store")

Txn: TypeAlias = "lmdb.Transaction[memoryview]"
"""A read or write transaction; what it lends out dies with it, and in a write transaction with the next write."""
Db: TypeAlias = "lmdb._Database"
"""The handle of one table."""
Record: TypeAlias = tuple[bytes, memoryview]
"""A key, and a record where it lies; unchecked."""

COLLECTIONS_LIMIT = 500
"""Collections that one store can have; each costs an LMDB transaction half a microsecond."""
READERS_LIMIT = 1024
"""Views that can be open at the same moment."""
RESERVE_BYTES = 64 << 20
"""Room that writes which grow the store leave to deletes, in the map and on the disk; in a small map, a quarter."""
FILE = "atlas.mdb"
"""LMDB's file in a store's folder; its own lock file stands beside it."""
NEW_FILE = f"{FILE}.new"
"""The same while it is made."""
SMALLEST_MAP = 1 << 30
"""Where halving a map that the machine refuses ends."""
LOOKS = 8
"""Times that the file's pages are looked at anew, as commits write over what a look began with."""
_MAP_FULL = "the store's map is full; delete something or start with a larger map"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.ENOMEM, errno.EIO})
"""LMDB reports a write that was cut short by a full disk as EIO."""


@dataclass(frozen=True, slots=True)
class Tables:
    """The handles of one collection's tables."""

    entries: Db
    values: Db
    index: Db
    postings: Db
    nodes: Db
    tombstones: Db
    seen: dict[bytes, int] = field(default_factory=dict)
    """Index records that this process has checked: key -> checksum."""
    lying: dict[str, Any] = field(default_factory=dict)
    """Where the writer last saw the committed rows of a table: its name -> store.directory.Directory."""

    @staticmethod
    def of(handles: Mapping[str, Db]) -> "Tables":
        """By their names."""
        entries, values, index, postings, nodes, tombstones = (handles[table] for table in TABLES)
        return Tables(entries, values, index, postings, nodes, tombstones)

    def all(self) -> list[Db]:
        """The six handles."""
        return [getattr(self, table) for table in TABLES]


TABLES = ("entries", "values", "index", "postings", "nodes", "tombstones")


def table_name(collection: CollectionId, table: str) -> bytes:
    """The name of a collection's table in LMDB's main table."""
    return f"{collection:08x}/{table}".encode()


class Environment:
    """The LMDB environment, open; owns the folder's lock."""

    def __init__(self, path: Path, map_bytes: int, read_only: bool = False) -> None:
        """Opens or makes the folder; see Database.open for the errors. `read_only`: beside its owner, without lock."""
        self.path = path
        self.map_bytes = map_bytes
        self._tables: dict[CollectionId, Tables] = {}
        self._views: set[int] = set()
        self._serial = 0
        self._views_changed = threading.Condition()
        self._closed = False
        self.barred = Barred(path / FILE)
        self._read_only = read_only
        self._lock: int | None = None
        if read_only:
            self._lmdb = self._open()
            self._check_format()
            return
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = _lock(path)
        except OSError as error:
            raise FailedPrecondition(f"the folder {path} can't be used: {error.strerror or error}") from error
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if not (path / FILE).exists():
                _make(path)
            self._lmdb = self._open()
            self._check_format()
            os.fsync(folder)
        except BaseException:
            os.close(self._lock)
            raise
        finally:
            os.close(folder)

    def _open(self) -> lmdb.Environment:
        file = self.path / FILE
        if not self._read_only:
            self._check_pages(pages.look(file))
        while True:
            try:
                with mapped_errors():
                    opened = lmdb.open(
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
        if self._read_only:
            for _ in range(LOOKS):
                with suppress(pages.Overtaken), mapped_errors(), opened.begin() as txn:
                    found = pages.look(file, txn.id())
                    self.barred.note([fault for fault in found.faults if fault.table])
                    break
        return opened

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
            with suppress(pages.Overtaken), self.reading() as txn:
                return pages.look(self.path / FILE, txn.id(), keep)
        raise Unavailable("the file's pages can't be looked at while so much is written; try again")

    def look_over(self) -> pages.Structure:
        """The same, and from now on what is damaged is kept from LMDB. A fault counts when it is there twice: heads of
        the file may be read while they are written."""
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
            self._lmdb.close()
            raise

    def close(self) -> None:
        """Wait for open views, then close. May be called twice."""
        self.settle()
        if not self._closed:
            self._closed = True
            self._lmdb.close()
            if self._lock is not None:
                os.close(self._lock)

    # ---- transactions ----

    @contextmanager
    def reading(self) -> Iterator[Txn]:
        """A read transaction; keep it short: while it lives, no page it can see is used again."""
        self.barred.check_readable()
        with self._views_changed:
            if self._closed:
                raise Unavailable("the store is closed")
            self._serial += 1
            serial = self._serial
            self._views.add(serial)
        try:
            with mapped_errors(), self._lmdb.begin(buffers=True) as txn:
                yield txn
        finally:
            with self._views_changed:
                self._views.discard(serial)
                self._views_changed.notify_all()

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
        return self._tables[collection]

    def open_tables(self, txn: Txn, collection: CollectionId) -> None:
        """Open a collection's tables, in a write transaction made where there are none; `tables` then knows them."""
        names, make = {table: table_name(collection, table) for table in TABLES}, not self.barred.writes
        with mapped_errors():
            handles = {table: self._lmdb.open_db(name, txn=txn, create=make) for table, name in names.items()}
        self._tables[collection] = Tables.of(handles)

    def drop_table(self, txn: Txn, name: bytes) -> None:
        """Delete a table and all in it. No view may be open that could read it: `settle` first."""
        txn.drop(self._lmdb.open_db(name, txn=txn), delete=True)

    def forget_tables(self, collection: CollectionId) -> None:
        """Their handles are gone with the tables."""
        self._tables.pop(collection, None)

    def table_names(self, txn: Txn) -> list[bytes]:
        """Every collection table there is, also of collections that are in the registry no more."""
        with txn.cursor() as cursor:
            keys = [bytes(key) for key in cursor.iternext(values=False)]
        return [key for key in keys if TABLE_NAME.fullmatch(key)]

    # ---- sizes ----

    def check_room(self, txn: Txn) -> None:
        """ResourceExhausted where this write transaction leaves less than the reserve."""
        tables = [db for some in self._tables.values() for db in some.all()]
        stats = [txn.stat(), *(txn.stat(db) for db in tables)]
        pages = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
        if pages * self.page_bytes() > self.map_bytes - min(RESERVE_BYTES, self.map_bytes // 4):
            raise ResourceExhausted(_MAP_FULL)
        disk = os.statvfs(self.path)
        if disk.f_bavail * disk.f_frsize < RESERVE_BYTES:
            raise ResourceExhausted(f"the disk of {self.path} has less than {RESERVE_BYTES >> 20} MiB left; make room")

    def page_bytes(self) -> int:
        """Bytes of one LMDB page."""
        return int(self._lmdb.stat()["psize"])

    def file_bytes(self) -> int:
        """Bytes of the file up to its last page in use."""
        return int(self._lmdb.info()["last_pgno"] + 1) * self.page_bytes()


def records_from(txn: Txn, db: Db, first: bytes, prefix: bytes = b"") -> Iterator[Record]:
    """The records of a table from the key `first` on, in order, as long as their keys begin with `prefix`."""
    with txn.cursor(db) as cursor:
        more = cursor.set_range(first)
        while more and (key := bytes(cursor.key())).startswith(prefix):
            yield key, cursor.value()
            more = cursor.next()


def _make(path: Path) -> None:
    """Make LMDB's file under another name, and give it its own when it is on the disk: a power cut leaves it whole."""
    new = path / NEW_FILE
    new.unlink(missing_ok=True)
    with mapped_errors(), lmdb.open(os.fspath(new), subdir=False, lock=False) as made, made.begin(write=True) as txn:
        txn.put(fmt.FORMAT_KEY, fmt.format_record())
    new.replace(path / FILE)


def _lock(path: Path) -> int:
    """Take the folder: the open descriptor of its lock file, with our pid in it."""
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        pid = os.read(descriptor, 32).decode("ascii", "replace").strip() or "unknown"
        os.close(descriptor)
        if error.errno not in (errno.EAGAIN, errno.EACCES):
            raise
        raise FailedPrecondition(f"{path} is in use by the server with pid {pid}; stop it first") from error
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
    return descriptor


@contextmanager
def mapped_errors() -> Iterator[None]:
    """LMDB's errors as ours. py-lmdb's deletes raise theirs under a SystemError."""
    try:
        yield
    except lmdb.Error as error:
        raise typed(error) from error
    except SystemError as error:
        if not isinstance(error.__cause__, lmdb.Error):
            raise
        raise typed(error.__cause__) from error


def typed(error: lmdb.Error) -> AtlasError:
    """The error of ours that an LMDB error is."""
    match error:
        case lmdb.MapFullError():
            return ResourceExhausted(_MAP_FULL)
        case lmdb.DiskError() | lmdb.MemoryError():
            return ResourceExhausted(f"the disk or the memory is full: {error}")
        case lmdb.DbsFullError():
            return ResourceExhausted(f"a store holds at most {COLLECTIONS_LIMIT} collections; drop one first")
        case lmdb.ReadersFullError():
            return ResourceExhausted(f"more than {READERS_LIMIT} reads at the same moment; try again")
        case lmdb.CorruptedError() | lmdb.PageNotFoundError() | lmdb.PanicError():
            return DataLoss(f"the LMDB file is damaged: {error}; restore it from a copy")
        case lmdb.BadTxnError():  # what came before it has been passed over, as damage is
            return DataLoss(f"a write met damage of the LMDB file and was undone: {error}; `atlasdb verify` names it")
        case lmdb.InvalidError() | lmdb.VersionMismatchError():
            return FailedPrecondition(f"not an LMDB file that this atlasdb can read: {error}")
        case _:
            if error.code in _NO_ROOM:
                return ResourceExhausted(f"the disk is full or refuses writes: {error}")
            return Internal(f"LMDB: {error}")
