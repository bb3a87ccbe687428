"""Snapshots: whole copies of a store at one moment, in DATA/snapshots/NAME.

    atlas.mdb        a compact copy of the store's file (store/copying.py): a store in itself
    snapshot.json    the manifest: what the copy must be

A snapshot takes its name when it is whole, durable and was read back: every record of the copy was checked, and the
entries of each collection add up to its setsum.
"""

import hashlib
import json
import os
import re
import shutil
import threading
import time
from collections.abc import Callable, Generator, Iterator
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import Any

from atlasdb import format as fmt
from atlasdb.engine.engine import Engine
from atlasdb.engine.rates import check_rate
from atlasdb.store.check import Check
from atlasdb.store.copying import Copy, check_disk, rounds, used_bytes
from atlasdb.store.environment import FILE, SMALLEST_MAP
from atlasdb.store.folder import sync_folder
from atlasdb.store.reading import ReadingStore
from atlasdb_contract.errors import AlreadyExists, AtlasError, Cancelled, DataLoss, InvalidArgument, NotFound
from atlasdb_contract.upkeep import Held, Snapshot, SnapshotProgress

FOLDER = "snapshots"
MANIFEST = "snapshot.json"
PART = ".part"
"""Ends the name of one that is being made."""
NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,63}")
CHUNK = 8 << 20
_CHECKING = threading.Lock()
"""One copy is read back at a time: a process opens no file twice."""


def create(engine: Engine, name: str, rate: int, cancelled: Callable[[], bool]) -> Iterator[SnapshotProgress]:
    """See Database.create_snapshot."""
    check_rate(rate)
    environment = engine.store.environment
    name = name or _of_the_time(environment.path)
    target = _folder(environment.path, name)
    if target.exists():
        raise AlreadyExists(f"there is a snapshot {name!r} already; choose another name or delete it first")
    if unreadable := engine.store.unreadable():
        raise DataLoss(f"a store that can't be read whole can't be copied: {next(iter(unreadable.values()))}")
    with engine.compacting():
        check_disk(environment.path, used_bytes(environment))
        part = target.with_name(target.name + PART)
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir(parents=True)
        try:
            yield from _copied(engine, part, rate, cancelled)
            digest = yield from _digest(part / FILE, cancelled)
            held = yield from _checked(part, cancelled)
            size = (part / FILE).stat().st_size
            made = Snapshot(name, time.time(), fmt.VERSION, size, digest, held)
            with open(part / MANIFEST, "w", encoding="utf-8") as file:
                json.dump(asdict(made), file, indent=2)
                file.flush()
                os.fsync(file.fileno())
            sync_folder(part)
            part.rename(target)
            sync_folder(target.parent)
        finally:
            shutil.rmtree(part, ignore_errors=True)
    yield SnapshotProgress("done", 1, 1, snapshot=made)


def _of_the_time(folder: Path) -> str:
    now = time.strftime("%Y%m%d-%H%M%S", time.gmtime())
    names = (f"{now}-{number}" if number > 1 else now for number in count(1))
    return next(name for name in names if not _folder(folder, name).exists())


def _copied(engine: Engine, part: Path, rate: int, cancelled: Callable[[], bool]) -> Iterator[SnapshotProgress]:
    """The file."""
    began, total = time.monotonic(), used_bytes(engine.store.environment)
    copy = Copy(engine.store.environment, part / FILE)
    try:
        while copy.step():
            _check(cancelled)
            if rate:
                time.sleep(max(0.0, copy.copied / rate - (time.monotonic() - began)))
            yield SnapshotProgress("copying", min(copy.copied, total), total)
        for _ in rounds(copy, lambda: _check(cancelled)):
            yield SnapshotProgress("catching up", 0, 0)
    except BaseException:
        copy.close()
        raise
    copy.detach()


def _check(cancelled: Callable[[], bool]) -> None:
    if cancelled():
        raise Cancelled("it was stopped; the store and its other snapshots are as they were")


def _digest(file: Path, cancelled: Callable[[], bool]) -> Generator[SnapshotProgress, None, str]:
    """The SHA-256 of a file, in hex."""
    digest, done, total = hashlib.sha256(), 0, file.stat().st_size
    with open(file, "rb") as opened:
        while chunk := opened.read(CHUNK):
            _check(cancelled)
            digest.update(chunk)
            done += len(chunk)
            yield SnapshotProgress("adding up", done, total)
    return digest.hexdigest()


def _checked(folder: Path, cancelled: Callable[[], bool]) -> Generator[SnapshotProgress, None, tuple[Held, ...]]:
    """The collections of a copy, every record of which was checked. DataLoss names what is wrong."""
    held: list[Held] = []
    with _CHECKING:
        yield from _looked_at(folder, held, cancelled)
    return tuple(held)


def _looked_at(folder: Path, held: list[Held], cancelled: Callable[[], bool]) -> Iterator[SnapshotProgress]:
    store = ReadingStore(folder, max(SMALLEST_MAP, 2 * (folder / FILE).stat().st_size))
    try:
        if told := list(store.unreadable().values()):
            raise DataLoss(told[0])
        for record in store.records():
            for progress in Check(store, record.name, None).run():
                _check(cancelled)
                if progress.damage:
                    raise DataLoss(f"the copy is damaged: {progress.damage[0]}; repair the store first")
                yield SnapshotProgress(f"checking {record.name}: {progress.stage}", progress.done, progress.total)
            held.append(Held(record.name, record.entries, record.setsum.hex()))
    finally:
        store.close()
        (folder / f"{FILE}-lock").unlink(missing_ok=True)


def verify(folder: Path, name: str, cancelled: Callable[[], bool] = lambda: False) -> Iterator[SnapshotProgress]:
    """See Database.verify_snapshot; `folder` is the store's."""
    known = find(folder, name)
    damage: list[str] = []
    file = _folder(folder, name) / FILE
    try:
        size = file.stat().st_size
        digest = yield from _digest(file, cancelled)
        if (size, digest) != (known.file_bytes, known.sha256):
            damage.append(
                f"{name}: the file is not what was written: {size} bytes of {known.file_bytes}, SHA-256 {digest}"
            )
        held = yield from _checked(file.parent, cancelled)
        for one, other in zip(known.collections, held, strict=False):
            if one != other:
                damage.append(
                    f"{name}: the collection {one.name!r} is not what was written: its setsum is {other.setsum}"
                )
        if len(known.collections) != len(held):
            damage.append(f"{name}: it has {len(held)} collections of {len(known.collections)}")
    except FileNotFoundError:
        damage.append(f"{name}: there is no file {FILE} in it")
    except Cancelled:
        raise
    except AtlasError as error:
        damage.append(f"{name}: {error}")
    yield SnapshotProgress("done", 1, 1, tuple(damage), known)


def listed(folder: Path) -> list[Snapshot]:
    """Those whose manifest can be read, oldest first."""
    found = []
    for each in (folder / FOLDER).glob(f"*/{MANIFEST}"):
        if not each.parent.name.endswith(PART):
            try:
                found.append(_opened(each))
            except DataLoss:
                continue
    return sorted(found, key=lambda one: (one.created, one.name))


def find(folder: Path, name: str) -> Snapshot:
    """The snapshot of this name. NotFound names those there are; DataLoss: its manifest can't be read."""
    manifest = _folder(folder, name) / MANIFEST
    if not manifest.exists():
        known = ", ".join(one.name for one in listed(folder)) or "none"
        raise NotFound(f"there is no snapshot {name!r}; there are: {known}")
    return _opened(manifest)


def file_of(folder: Path, name: str) -> Path:
    """Where a snapshot's copy of the store's file is."""
    return _folder(folder, name) / FILE


def delete(folder: Path, name: str) -> int:
    """Remove a snapshot; bytes that it took."""
    target = _folder(folder, name)
    if not target.is_dir():
        find(folder, name)
    size = sum(file.stat().st_size for file in target.iterdir())
    doomed = target.with_name(target.name + PART)
    shutil.rmtree(doomed, ignore_errors=True)
    target.rename(doomed)
    sync_folder(target.parent)
    shutil.rmtree(doomed)
    return size


def clear_leftovers(folder: Path) -> None:
    """Remove what an interrupted making or deletion left."""
    for part in (folder / FOLDER).glob(f"*{PART}"):
        shutil.rmtree(part, ignore_errors=True)


def _folder(folder: Path, name: str) -> Path:
    if not NAME.fullmatch(name) or name.endswith(PART):
        raise InvalidArgument(
            f"{name!r} is no name of a snapshot: take a-z, 0-9, then up to 63 of a-z, 0-9, '-', '_', '.'"
        )
    return folder / FOLDER / name


def _opened(manifest: Path) -> Snapshot:
    try:
        content: dict[str, Any] = json.loads(manifest.read_text("utf-8"))
        collections = tuple(Held(**one) for one in content.pop("collections"))
        return Snapshot(**content, collections=collections)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataLoss(f"{manifest} can't be read: {error}; take another snapshot") from None
