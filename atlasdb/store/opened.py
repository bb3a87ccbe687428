"""One LMDB file, open: its handles, what is known of where things lie in it, and the views of it.

A compaction puts another file in its place. Views that are open stay with the file that they began with, and it goes
when the last of them ends; whatever leads to memory (handles, caches) belongs to one file and goes with it.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import lmdb

from atlasdb_contract.ids import CollectionId

Txn: TypeAlias = "lmdb.Transaction[memoryview]"
"""A read or write transaction; what it lends out dies with it, and in a write transaction with the next write."""
Db: TypeAlias = "lmdb._Database"
"""The handle of one table."""

COLLECTIONS_LIMIT = 500
"""Collections that one store can have; each costs an LMDB transaction half a microsecond."""
READERS_LIMIT = 1024
"""Views that can be open at the same moment."""
TABLES = ("entries", "values", "index", "postings", "nodes", "tombstones")


def table_name(collection: CollectionId, table: str) -> bytes:
    """The name of a collection's table in LMDB's main table."""
    return f"{collection:08x}/{table}".encode()


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


@dataclass(eq=False, slots=True)
class Opened:
    """An LMDB environment on one file. `descriptor`: of the file, however it is called by now. `kept`: what views of
    it share, made by whoever opened it."""

    lmdb: lmdb.Environment
    descriptor: int
    kept: Any
    tables: dict[CollectionId, Tables] = field(default_factory=dict)
    views: int = 0
    """That are open."""
    left: bool = False
    """No view begins any more."""
    inode: tuple[int, int] = field(init=False)
    """What tells the file from any other."""

    def __post_init__(self) -> None:
        known = os.fstat(self.descriptor)
        self.inode = known.st_dev, known.st_ino

    @property
    def file(self) -> Path:
        """The file, also when another one has taken its name."""
        return Path(f"/dev/fd/{self.descriptor}")

    def close(self) -> None:
        """No view may be open."""
        self.lmdb.close()
        os.close(self.descriptor)
