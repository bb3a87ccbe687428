"""What of LMDB's file must not be read, or written, for the damage of its pages: LMDB would follow wrong numbers."""

from pathlib import Path

from atlasdb.store.claims import FREE, Fault
from atlasdb.store.pages import is_table
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import CollectionId


def owner(table: bytes) -> CollectionId:
    """The collection that a table of this name belongs to."""
    return CollectionId(int(table[:8], 16))


class Barred:
    """Grows as faults are noted, for the life of the process."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self.collections: dict[CollectionId, str] = {}
        """Those with damaged tables, and what is wrong."""
        self.writes = ""
        """Why nothing can be written; empty: it can."""
        self.all = ""
        """Why nothing can be read either."""

    def note(self, faults: list[Fault]) -> None:
        """From now on without what these are in."""
        for fault in faults:
            table = fault.table.encode("latin-1")
            if fault.table == FREE:
                self.writes = f"nothing can be written: {self._file} is damaged: {fault}; restore it from a copy"
            elif is_table(table):
                told = f"the pages of a collection are damaged, and it can't be read: {fault}; restore it from a copy"
                self.collections[owner(table)] = told
            else:
                self.all = self.writes = f"{self._file} is damaged: {fault}; restore it from a copy"

    def check_readable(self) -> None:
        """DataLoss where nothing can be read."""
        if self.all:
            raise DataLoss(self.all)

    def check_writable(self) -> None:
        """DataLoss where nothing can be written."""
        if self.writes:
            raise DataLoss(self.writes)

    def check_usable(self, collection: CollectionId) -> None:
        """DataLoss where a collection's tables must not be read."""
        if told := self.collections.get(collection):
            raise DataLoss(told)
