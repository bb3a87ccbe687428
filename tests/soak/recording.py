"""A process's writes and syncs as strace saw them, and the disk that a power cut at any point of them could leave.

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
CALLS = "openat,pwrite64,pwritev,write,writev,lseek,fdatasync,fsync,ftruncate,msync,rename"
"""What strace is to tell."""
MODES = ("dropped", "some writes", "torn", "all")
"""What becomes of writes that were not synced: none is there, some are, some sectors are, all are."""


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that may be on the disk from now on."""

    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Synced:
    """These writes, or all before where None, are on the disk."""

    write: Write | None


@dataclass(frozen=True, slots=True)
class Mark:
    """A message of the actor."""

    message: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Named:
    """The file has got its name. `sure`: its folder was synced since."""

    sure: bool


Event: TypeAlias = Write | Synced | Mark | Named

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


def events(log: Path, file: Path, new: Path, marks: Path) -> list[Event]:
    """What a log says of a file, called `new` until it is renamed, and of the marks, in order: a write where it began,
    a sync where it ended."""
    names = {str(file), str(new)}
    placed: list[tuple[int, int, Event]] = []
    synchronous: dict[str, bool] = {}
    at: dict[str, int] = {}
    for call in _calls(log):
        if call.name == "openat":
            if (opened := _OPENED.search(call.text)) and _path(opened[2]) in names:
                synchronous[opened[1]] = "O_DSYNC" in call.text
            continue
        if call.name == "rename":
            if _texts(call.text) == [bytes(new), bytes(file)]:
                placed.append((call.began, 0, Named(sure=False)))
            continue
        descriptor = _DESCRIPTOR.match(call.text)
        if descriptor is None:
            continue
        if _path(descriptor[2]) == str(marks):
            placed.append((call.began, 0, Mark(pickle.loads(_data(call.text)))))
        elif _path(descriptor[2]) == str(file.parent) and call.name == "fsync":
            placed.append((call.ended, 1, Named(sure=True)))
        elif _path(descriptor[2]) in names:
            placed += _of_file(call, descriptor[1], synchronous, at)
    return [event for *_, event in sorted(placed, key=lambda one: one[:2])]


def _of_file(
    call: _Call, descriptor: str, synchronous: dict[str, bool], at: dict[str, int]
) -> Iterator[tuple[int, int, Event]]:
    match call.name:
        case "lseek":
            at[descriptor] = int(call.text.split(", ")[1])
        case "fdatasync" | "fsync":
            yield call.ended, 1, Synced(None)
        case "pwrite64" | "write" | "writev":
            data = _data(call.text)
            offset = at.get(descriptor, 0)
            if call.name == "pwrite64":
                offset = int(_PLACE.findall(call.text)[-1])
            else:
                at[descriptor] = offset + len(data)
            write = Write(offset, data)
            yield call.began, 0, write
            if synchronous.get(descriptor):
                yield call.ended, 1, Synced(write)
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
class Disk:
    """What is surely on the disk, and what may be."""

    sure: bytearray = field(default_factory=bytearray)
    pending: list[Write] = field(default_factory=list)
    named: bool = False
    """Whether the file surely has its name; `renamed`: it may have."""
    renamed: bool = False

    def take(self, event: Write | Synced | Named) -> None:
        """The next event."""
        if isinstance(event, Named):
            if event.sure:
                self.named = self.renamed
            else:
                self.renamed = True
            return
        if isinstance(event, Write):
            self.pending.append(event)
            return
        synced = self.pending if event.write is None else [event.write]
        for write in synced:
            _put(self.sure, write.offset, write.data)
        self.pending = [] if event.write is None else [one for one in self.pending if one is not event.write]

    def image(self, mode: str, rng: np.random.Generator) -> bytearray:
        """The file as a power cut could leave it now."""
        image = bytearray(self.sure)
        chance = float(rng.random())
        for write in [self.pending[i] for i in rng.permutation(len(self.pending))]:
            match mode:
                case "all":
                    _put(image, write.offset, write.data)
                case "some writes" if rng.random() < chance:
                    _put(image, write.offset, write.data)
                case "torn":
                    for offset, sector in _sectors(write):
                        if rng.random() < chance:
                            _put(image, offset, sector)
        longest = max([len(image), *(write.offset + len(write.data) for write in self.pending)])
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
