"""Room on the disk that is kept for deletes: a file `reserve` in the store's folder, whose blocks nobody else can take.

    the disk has room       keep      the file is there, whole
    a delete finds it full  give up   the file goes, and the delete runs again
    there is room again     keep      at the next commit that adds to the store

LMDB writes a changed page elsewhere, so a delete in a full disk needs room before it frees any. A look at what is free
can't promise that room, as another program may take it the moment after; blocks of our own can't be taken.
"""

import os
from pathlib import Path

FILE = "reserve"
"""Its name in a store's folder."""
BYTES = 16 << 20
"""Its size: some commits of deletes, each of at most 512 entries, or a step of upkeep; see engine/delete.py."""


class Reserve:
    """The file. The writer thread's alone, once the store is open."""

    def __init__(self, folder: Path) -> None:
        self._file = folder / FILE

    @property
    def kept(self) -> bool:
        """Whether it is there, whole."""
        try:
            found = self._file.stat()
        except OSError:
            return False
        return found.st_size == BYTES and found.st_blocks * 512 >= BYTES

    def keep(self) -> bool:
        """Have it there; False where the disk has no room for it, or its file system promises none."""
        if self.kept:
            return True
        try:
            with self._file.open("ab") as file:
                os.posix_fallocate(file.fileno(), 0, BYTES)
        except OSError:
            self.give_up()
            return False
        return True

    def give_up(self) -> bool:
        """Give its room to whoever writes next; False where there was none to give."""
        try:
            given = self._file.stat().st_blocks > 0
            self._file.unlink()
        except OSError:
            return False
        return given


def allocate(file: Path, least: int = 0) -> None:
    """Give a file all of its blocks, at least so many bytes: a hole that is written through a map in a full disk ends
    the process. OSError."""
    with file.open("ab") as opened:
        if (size := max(least, os.fstat(opened.fileno()).st_size)) > 0:
            os.posix_fallocate(opened.fileno(), 0, size)
