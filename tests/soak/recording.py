"""A process's writes, renames and syncs as strace saw them, and the folder that a power cut at any point of them could
leave.

What LMDB does with our flags: the pages of a commit by pwrite and writev, fdatasync, then the meta page by a pwrite to
a descriptor opened with O_DSYNC. A write is on the disk once an fdatasync that began after it has returned, or, through
the O_DSYNC descriptor, once it has returned itself; until then any of its sectors may be there, or none.
"""

import pickle
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

SECTOR = 512
CALLS = "openat,pwrite64,pwritev,write,writev,lseek,fdatasync,fsync,ftruncate,msync,rename,unlink"
"""What strace is to tell."""
MODES = ("dropped", "some writes", "torn", "all")
"""What becomes of writes that were not synced: none is there, some are, some sectors are, all are."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes of a file that may be on the disk from now on."""

    file: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Synced:
    """This write, or all of a file so far where None, is on the disk."""

    file: int
    write: Write | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A message of the actor."""

    message: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """From now on these names may be those of these files, or, None, of none: all of them at once."""

    files: tuple[tuple[str, int | None], ...]


@dataclass(frozen=True, slots=True)
class FolderSynced:
    """And now they surely are."""


Event: TypeAlias = Write | Synced | Mark | Named | FolderSynced

_CALL = re.compile(r"(\d+) +(\w+)\((.*)", re.DOTALL)
_RESUMED = re.compile(r"(\d+) +<\.\.\. (\w+) resumed>(.*)", re.DOTALL)
_UNFINISHED = "<unfinished ...>"
_DESCRIPTOR = re.compile(r"(\d+)<([^>]*)>")
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_PLACE = re.compile(r'", \d+, (\d+)')
_OPENED = re.compile(r"= (\d+)<([^>]*)>")


@dataclass(slots=True)
class _Call:
    name: str
    text: str
    began: int
    ended: int = 0


def events(log: Path, folder: Path, name: str, marks: Path) -> list[Event]:
    """What a log says of a folder's files whose names begin with `name`, but for LMDB's lists of readers, and of the
    marks, in order: a write where it began, a sync where it ended. Files are numbered as they come."""
    reader = _Reader(folder, name, marks)
    for call in _calls(log):
        reader.read(call)
    return [event for *_, event in sorted(reader.placed, key=lambda one: one[:2])]


class _Reader:
    """Calls in the order in which they ended; `placed`: events, each with the call where it belongs."""

    def __init__(self, folder: Path, name: str, marks: Path) -> None:
        self.placed: list[tuple[int, int, Event]] = []
        self._folder, self._name, self._marks = str(folder), name, str(marks)
        self._names: dict[str, int] = {}
        self._open: dict[str, tuple[int, bool]] = {}
        """By descriptor: the file, and whether O_DSYNC was asked for."""
        self._at: dict[str, int] = {}
        self._files = 0

    def read(self, call: _Call) -> None:
        """The next one."""
        match call.name:
            case "openat":
                self._opened(call)
            case "rename" if call.text.rstrip().endswith("= 0"):
                old, new = map(self._known, map(bytes.decode, _texts(call.text)))
                if old and new:
                    self._rename(call, old, new)
            case "unlink" if call.text.rstrip().endswith("= 0"):
                if (name := self._known(_data(call.text).decode())) and self._names.pop(name, None) is not None:
                    self.placed.append((call.began, 0, Named(((name, None),))))
            case "rename" | "unlink":
                pass
            case _:
                self._used(call)

    def _known(self, path: str) -> str | None:
        """The name of a file that is followed."""
        folder, _, name = path.rpartition("/")
        return name if folder == self._folder and name.startswith(self._name) and "lock" not in name else None

    def _opened(self, call: _Call) -> None:
        if not (opened := _OPENED.search(call.text)):
            return
        descriptor, name = opened[1], self._known(_path(opened[2]))
        self._open.pop(descriptor, None)
        if name is None:
            return
        if name not in self._names:
            self._names[name] = self._files
            self._files += 1
            self.placed.append((call.began, 0, Named(((name, self._names[name]),))))
        self._open[descriptor] = self._names[name], "O_DSYNC" in call.text
        self._at[descriptor] = 0

    def _rename(self, call: _Call, old: str, new: str) -> None:
        self._names[new] = self._names.pop(old)
        self.placed.append((call.began, 0, Named(((old, None), (new, self._names[new])))))

    def _used(self, call: _Call) -> None:
        descriptor = _DESCRIPTOR.match(call.text)
        if descriptor is None:
            return
        path = _path(descriptor[2]).removesuffix(" (deleted)")
        if path == self._marks:
            self.placed.append((call.began, 0, Mark(pickle.loads(_data(call.text)))))
        elif path == self._folder and call.name == "fsync":
            self.placed.append((call.ended, 1, FolderSynced()))
        elif self._known(path) and descriptor[1] in self._open:
            self.placed += self._of_file(call, descriptor[1])

    def _of_file(self, call: _Call, descriptor: str) -> Iterator[tuple[int, int, Event]]:
        file, synchronous = self._open[descriptor]
        match call.name:
            case "lseek":
                self._at[descriptor] = int(call.text.split(", ")[1])
            case "fdatasync" | "fsync":
                yield call.ended, 1, Synced(file, None)
            case "pwrite64" | "write" | "writev":
                data = _data(call.text)
                offset = self._at[descriptor]
                if call.name == "pwrite64":
                    offset = int(_PLACE.findall(call.text)[-1])
                else:
                    self._at[descriptor] = offset + len(data)
                write = Write(file, offset, data)
                yield call.began, 0, write
                if synchronous:
                    yield call.ended, 1, Synced(file, write)
            case other:
                raise ValueError(f"the store is written by {other}, which a recording does not know")


def _calls(log: Path) -> Iterator[_Call]:
    """Calls, whole; those that others interrupted are put together."""
    waiting: dict[str, _Call] = {}
    with log.open() as lines:
        for number, line in enumerate(lines):
            if resumed := _RESUMED.match(line):
                call = waiting.pop(resumed[1], None)
                if call is None:
                    continue
                call.text, call.ended = call.text + resumed[3], number
                yield call
            elif begun := _CALL.match(line):
                call = _Call(begun[2], begun[3].rstrip("\n"), number, number)
                if call.text.endswith(_UNFINISHED):
                    call.text = call.text.removesuffix(_UNFINISHED)
                    waiting[begun[1]] = call
                else:
                    yield call
    yield from waiting.values()


def _path(text: str) -> str:
    return bytes.fromhex(text.replace("\\x", "")).decode() if text.startswith("\\x") else text


def _data(text: str) -> bytes:
    return b"".join(_texts(text))


def _texts(text: str) -> list[bytes]:
    return [bytes.fromhex(part.replace("\\x", "")) for part in _TEXT.findall(text)]


@dataclass
class _File:
    sure: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)


@dataclass
class Disk:
    """What is surely on the disk, and what may be: of each file, and of the folder."""

    _files: dict[int, _File] = field(default_factory=dict)
    _names: dict[str, int] = field(default_factory=dict)
    _renamed: list[Named] = field(default_factory=list)
    """In order: a file system keeps a journal of them."""

    def take(self, event: Write | Synced | Named | FolderSynced) -> None:
        """The next event."""
        match event:
            case Named():
                self._renamed.append(event)
            case FolderSynced():
                self._names = self._named(len(self._renamed))
                self._renamed = []
            case Write():
                self._files.setdefault(event.file, _File()).pending.append(event)
            case Synced():
                file = self._files.setdefault(event.file, _File())
                for write in file.pending if event.write is None else [event.write]:
                    _put(file.sure, write.offset, write.data)
                file.pending = [] if event.write is None else [one for one in file.pending if one is not event.write]

    def image(self, mode: str, rng: np.random.Generator) -> dict[str, bytearray]:
        """The folder as a power cut could leave it now."""
        match mode:
            case "dropped":
                done = 0
            case "all":
                done = len(self._renamed)
            case _:
                done = int(rng.integers(len(self._renamed) + 1))
        return {name: self._content(file, mode, rng) for name, file in self._named(done).items()}

    def _named(self, done: int) -> dict[str, int]:
        """The folder after so many of the changes that are not sure."""
        names = dict(self._names)
        for change in self._renamed[:done]:
            for name, file in change.files:
                if file is None:
                    names.pop(name, None)
                else:
                    names[name] = file
        return names

    def _content(self, number: int, mode: str, rng: np.random.Generator) -> bytearray:
        file = self._files.get(number, _File())
        image = bytearray(file.sure)
        chance = float(rng.random())
        for write in [file.pending[i] for i in rng.permutation(len(file.pending))]:
            match mode:
                case "all":
                    _put(image, write.offset, write.data)
                case "some writes" if rng.random() < chance:
                    _put(image, write.offset, write.data)
                case "torn":
                    for offset, sector in _sectors(write):
                        if rng.random() < chance:
                            _put(image, offset, sector)
        longest = max([len(image), *(write.offset + len(write.data) for write in file.pending)])
        if rng.random() < 0.5:
            image.extend(bytes(longest - len(image)))
        return image


def _sectors(write: Write) -> Iterator[tuple[int, bytes]]:
    """A write cut where sectors of the disk end."""
    at = write.offset
    end = at + len(write.data)
    while at < end:
        stop = min(end, (at // SECTOR + 1) * SECTOR)
        yield at, write.data[at - write.offset : stop - write.offset]
        at = stop


def _put(image: bytearray, offset: int, data: bytes) -> None:
    if len(image) < offset + len(data):
        image.extend(bytes(offset + len(data) - len(image)))
    image[offset : offset + len(data)] = data
