"""A compact copy of a store's file, made beside it while reads and writes go on.

    fill       every record in the order of its key, in short views and bounded transactions: pages come out full, and
               none are free
    catch up   in one view: what has another record by now, or none, is put right. Rounds of this are ever shorter, as
               tables that nobody wrote to since the last one are passed over
    swap       the last round while the writer is held; then the copy takes the store's place (Environment.replace)

What differs is found by looking, so nobody has to note what he writes: the checksum that every record begins with, its
length and its ends are compared, of short records all of it. (LMDB's own copy holds one read transaction from its start
to its end, so that no page is used again meanwhile, and can be neither slowed down nor gone on with.)
"""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import lmdb

from atlasdb import format as fmt
from atlasdb.store import registry
from atlasdb.store.barred import owner
from atlasdb.store.environment import RESERVE_BYTES, Environment
from atlasdb.store.errors import mapped_errors
from atlasdb.store.opened import TABLES, Db, Opened, Tables, Txn, table_name
from atlasdb.store.pages import is_table
from atlasdb.store.records import records_from
from atlasdb_contract.errors import DataLoss, Internal, ResourceExhausted
from atlasdb_contract.ids import CollectionId

STEP_BYTES = 16 << 20
"""Of records that one step copies in one view and one transaction; a longer record is a step of its own."""
END = 64
"""Bytes of either end of a long record that are compared."""
SHORT = 2048
"""Records up to this long are compared as a whole."""
SMALL_ROUND = 4 << 20
"""A round that copied no more is followed by the last one,"""
ROUNDS = 16
"""and so is this one, however much is written meanwhile."""

_Place = tuple[int, int, bytes]
"""A collection, the place of a table in TABLES, a key."""


class Copy:
    """Of one environment, at `file`, which must not be there. `close` it, unless it took the store's place."""

    def __init__(self, environment: Environment, file: Path) -> None:
        self.file = file
        self.copied = 0
        """Bytes of records so far."""
        self.unsound = 0
        """Records among them that fail their checksum: they are copied as they are, for `repair`."""
        self._environment = environment
        self._at: _Place | None = (0, 0, b"")
        self._pin = ExitStack()
        self._roots: dict[bytes, bytes] = {}
        """Of each table, in the view that `_pin` keeps open: what LMDB's main table says of it."""
        self._doubtful: set[tuple[bytes, bytes]] = set()
        """Tables and keys of unsound records: repaired ones may look the same."""
        self._tables: dict[CollectionId, Tables] = {}
        self._lmdb = environment.lmdb_at(file)

    def close(self) -> None:
        """Give it up: its files are removed. What took the store's place already stays."""
        self._pin.close()
        self._lmdb.close()
        for file in (self.file, self.file.with_name(self.file.name + "-lock")):
            file.unlink(missing_ok=True)

    def rest(self) -> None:
        """Hold nothing of the store up until the next call."""
        self._pin.close()
        self._roots = {}

    def detach(self) -> None:
        """Close it, whole and durable, under its own name."""
        self._pin.close()
        self._lmdb.close()
        self.file.with_name(self.file.name + "-lock").unlink(missing_ok=True)

    # ---- fill ----

    def step(self) -> bool:
        """Copy some records; False: there are no more. ResourceExhausted where the disk leaves only its reserve."""
        if self._at is None:
            return False
        check_disk(self.file.parent, STEP_BYTES)
        size = 0
        with self._environment.snapshot() as (txn, opened), mapped_errors(), self._writing() as into:
            for place, key, record in _records(txn, opened, self._at):
                if size and size + len(record) > STEP_BYTES:
                    self._at = place
                    break
                name, new = self._table(into, place)
                self._look_at(name, key, record)
                into.put(key, record, db=new, append=True)
                size += len(record)
            else:
                self._at = None
        self.copied += size
        return self._at is not None

    def _look_at(self, name: bytes, key: bytes, record: memoryview) -> None:
        try:
            fmt.check(name.decode().split("/")[1], key, record)
        except DataLoss:
            self._doubtful.add((name, key))
            self.unsound += 1

    def _table(self, into: Txn, place: _Place) -> tuple[bytes, Db]:
        collection = CollectionId(place[0])
        if collection not in self._tables:
            names = {table: table_name(collection, table) for table in TABLES}
            handles = {table: self._lmdb.open_db(name, txn=into) for table, name in names.items()}
            self._tables[collection] = Tables.of(handles)
        table = TABLES[place[1]]
        return table_name(collection, table), getattr(self._tables[collection], table)

    def _writing(self) -> "lmdb.Transaction[memoryview]":
        return self._lmdb.begin(write=True, buffers=True)

    # ---- catch up ----

    def catch_up(self) -> int:
        """Make it what the store is at one moment, from now on; bytes that were copied for that."""
        with ExitStack() as stack:
            txn, opened = stack.enter_context(self._environment.snapshot())
            roots = {name: bytes(found) for name, found in _main(txn) if is_table(name)}
            there = {record.id for record in registry.records(txn) if record.id in opened.tables}
            with self._writing() as into:
                size = self._main_records(txn, into)
                for collection in set(self._tables) - there:
                    for db in self._tables.pop(collection).all():
                        into.drop(db, delete=True)
                places = [(collection, number, b"") for collection in sorted(there) for number in range(len(TABLES))]
                named = {self._table(into, place)[0]: place for place in places}
            for name, (collection, number, _) in named.items():
                doubtful = any(table == name for table, _ in self._doubtful)
                if doubtful or name not in roots or roots[name] != self._roots.get(name):
                    size += self._make_equal(
                        txn, getattr(opened.tables[CollectionId(collection)], TABLES[number]), name
                    )
            self._pin.close()
            self._pin = stack.pop_all()
            self._roots = roots
        self.copied += size
        return size

    def _main_records(self, txn: Txn, into: Txn) -> int:
        ours, theirs = ({key: bytes(record) for key, record in _main(one) if not is_table(key)} for one in (txn, into))
        for key in theirs.keys() - ours.keys():
            into.delete(key)
        size = 0
        for key, record in ours.items():
            if theirs.get(key) != record:
                into.put(key, record)
                size += len(record)
        return size

    def _make_equal(self, txn: Txn, ours: Db, name: bytes) -> int:
        """Put and delete what differs in one table; bytes of what was put."""
        doubtful = {key for table, key in self._doubtful if table == name}
        theirs = getattr(self._tables[owner(name)], name.decode().split("/")[1])
        with self._lmdb.begin(buffers=True) as copied:
            wrong = list(_differing(txn, ours, copied, theirs, doubtful))
        total = 0
        while wrong:
            size = 0
            with mapped_errors(), self._writing() as into:
                while wrong and size < STEP_BYTES:
                    key = wrong.pop()
                    record = txn.get(key, db=ours)
                    if record is None:
                        into.delete(key, db=theirs)
                    else:
                        into.put(key, record, db=theirs)
                        size += len(record)
            total += size
        return total

    # ---- swap ----

    def take_place(self) -> None:
        """The last round, and the copy is the store's file. In the writer's thread, while nothing is written.

        Internal where the copy is not what it must be; the store is as it was then.
        """
        self.catch_up()
        with self._environment.snapshot() as (txn, opened), self._lmdb.begin(buffers=True) as copied:
            for collection, tables in self._tables.items():
                held = zip(TABLES, opened.tables[collection].all(), tables.all(), strict=True)
                for table, ours, theirs in held:
                    if txn.stat(ours)["entries"] != copied.stat(theirs)["entries"]:
                        raise Internal(f"the copy of the table {table} has not as many records as the table has")
        self._pin.close()
        descriptor = os.open(self.file, os.O_RDONLY | os.O_CLOEXEC)
        made = Opened(self._lmdb, descriptor, self._environment.keep(), self._tables)
        self._environment.replace(self.file, made)


def rounds(copy: Copy, cancelled: Callable[[], None]) -> Iterator[int]:
    """Catch up until little is left for the last round; the bytes of each."""
    for _ in range(ROUNDS):
        cancelled()
        size = copy.catch_up()
        yield size
        if size <= SMALL_ROUND:
            return


def check_disk(folder: Path, needed: int) -> None:
    """ResourceExhausted where a folder's disk has not that much room beyond the reserve."""
    disk = os.statvfs(folder)
    room = disk.f_bavail * disk.f_frsize
    if room < needed + RESERVE_BYTES:
        wanted = (needed + RESERVE_BYTES) / 1e6
        raise ResourceExhausted(f"the copy needs {wanted:,.0f} MB on the disk of {folder}, which has {room / 1e6:,.0f}")


def used_bytes(environment: Environment) -> int:
    """Bytes of the pages that records are in: about what a compact copy takes."""
    with environment.snapshot() as (txn, opened):
        held = [opened.tables[record.id] for record in registry.records(txn) if record.id in opened.tables]
        stats = [txn.stat(), *(txn.stat(db) for tables in held for db in tables.all())]
    pages = sum(stat["branch_pages"] + stat["leaf_pages"] + stat["overflow_pages"] for stat in stats)
    return int(pages * environment.page_bytes())


def _records(txn: Txn, opened: Opened, first: _Place) -> Iterator[tuple[_Place, bytes, memoryview]]:
    """The records of all collections from a place on, each with its place."""
    for collection in sorted(record.id for record in registry.records(txn)):
        for number, table in enumerate(TABLES):
            if (collection, number) < first[:2] or collection not in opened.tables:
                continue
            start = first[2] if (collection, number) == first[:2] else b""
            for key, record in records_from(txn, getattr(opened.tables[collection], table), start):
                yield (collection, number, key), key, record


def _main(txn: Txn) -> Iterator[tuple[bytes, memoryview]]:
    with txn.cursor() as cursor:
        for key, record in cursor:
            yield bytes(key), record


def _differing(txn: Txn, ours: Db, into: Txn, theirs: Db, doubtful: set[bytes]) -> Iterator[bytes]:
    """The keys of two tables that one alone has, or that have other records."""
    left, right = records_from(txn, ours, b""), records_from(into, theirs, b"")
    one, other = next(left, None), next(right, None)
    while one is not None or other is not None:
        if other is None or (one is not None and one[0] < other[0]):
            assert one is not None
            yield one[0]
            one = next(left, None)
        elif one is None or other[0] < one[0]:
            yield other[0]
            other = next(right, None)
        else:
            if one[0] in doubtful or not _same(one[1], other[1]):
                yield one[0]
            one, other = next(left, None), next(right, None)


def _same(one: memoryview, other: memoryview) -> bool:
    if len(one) != len(other):
        return False
    if len(one) <= SHORT:
        return bytes(one) == bytes(other)
    return bytes(one[:END]) == bytes(other[:END]) and bytes(one[-END:]) == bytes(other[-END:])
