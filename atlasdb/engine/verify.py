"""The check of a whole store: the file's pages, then collection by collection, in short views, as slowly as asked."""

import time
from collections.abc import Iterator

import msgpack

from atlasdb.engine.engine import Engine
from atlasdb.engine.rates import check_rate
from atlasdb.store.check import Check
from atlasdb.store.cursor import Cursor
from atlasdb_contract.errors import DataLoss, InvalidArgument
from atlasdb_contract.types import Progress

NAP = 0.2
"""Seconds between two looks at whether a slow verification is still wanted."""


def verify(
    engine: Engine, name: str | None, cursor: bytes = b"", bytes_per_second: int = 0
) -> Iterator[tuple[str, Progress]]:
    """See Database.verify."""
    check_rate(bytes_per_second)
    started, onward = _opened(cursor)
    if not cursor:
        found = engine.store.environment.look_over()
        told = [f"the file is damaged: {fault}" for fault in found.faults]
        told += [f"page {page}: the head of a long record is damaged" for page in found.heads]
        unreadable = {} if engine.store.environment.barred.all else engine.store.unreadable()
        told += [f"{each}: {what}" for each, what in unreadable.items() if name in (None, each)]
        yield name or "", Progress("pages", 1, 1, damage=tuple(told))
    if engine.store.environment.barred.all:
        return
    names = [name] if name else [record.name for record in engine.store.records()]
    for each in sorted(names):
        if each < started or (not name and each in engine.store.unreadable()):
            continue
        yield from _collection(engine, each, onward if each == started else None, bytes_per_second)


def _collection(
    engine: Engine, name: str, cursor: Cursor | None, bytes_per_second: int
) -> Iterator[tuple[str, Progress]]:
    try:
        check = Check(engine.store, name, cursor)
    except DataLoss as error:
        yield name, Progress("pages", 1, 1, damage=(f"{name}: {error}",))
        return
    began = time.monotonic()
    for progress in check.run():
        onward = msgpack.packb([name, check.cursor.packed()])
        yield name, Progress(progress.stage, progress.done, progress.total, damage=progress.damage, cursor=onward)
        while bytes_per_second and (early := check.read / bytes_per_second - (time.monotonic() - began)) > 0:
            time.sleep(min(early, NAP))
            yield name, Progress(progress.stage, progress.done, progress.total, cursor=onward)


def _opened(cursor: bytes) -> tuple[str, Cursor | None]:
    """The collection that a verification was at, and how far. InvalidArgument where these bytes are not ours."""
    if not cursor:
        return "", None
    try:
        name, packed = msgpack.unpackb(cursor)
        return str(name), Cursor.of(packed)
    except (ValueError, TypeError, msgpack.UnpackException) as error:
        raise InvalidArgument("this is no cursor of a verification; leave it out to begin anew") from error
