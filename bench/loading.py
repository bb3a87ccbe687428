"""A world in a store: loaded and built by the engine itself, with no wire between, as fast as it goes.

An entry of the world is the triple (its head, its text, its own number); its value is one of so many that VALUES
entries share each, about as in FB13 with its inverse entries.
"""

import time
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import numpy.typing as npt
from world import Ints, World

from atlasdb.engine.database import Database
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, InsertAck, Vectors

NAME = "facts"
BATCH = 8192
AHEAD = 16
"""Batches under way at a time."""
VALUES = 9


@dataclass(frozen=True)
class Loaded:
    """`position` int64, by entry id: where it is in the world, -1 where no entry is; the seconds of the build; and
    `marks`, (entries, seconds) from the first insert on, a pair for each batch."""

    position: npt.NDArray[np.int64]
    build: float
    marks: list[tuple[int, float]]

    def rate(self, start: int, stop: int) -> float:
        """Entries a second while those from `start` to `stop` were loaded."""
        inside = [mark for mark in [(0, 0.0), *self.marks] if start <= mark[0] <= stop]
        (first, began), (last, ended) = inside[0], inside[-1]
        return (last - first) / (ended - began) if ended > began else float("nan")


def columns(world: World, entries: Ints) -> tuple[TripleColumns, Vectors, Vectors]:
    """Triples, keys and values of these entries of a world."""
    heads, texts = world.heads[entries].tolist(), world.texts[entries].tolist()
    triples = zip(heads, texts, entries.tolist(), strict=True)
    named = TripleColumns.of((f"head {head}", f"text {text}", f"tail {entry}") for head, text, entry in triples)
    return named, world.keys.take(entries), world.keys.take(entries % max(1, len(world) // VALUES))


def inserted(
    database: Database, world: World, order: Ints, batch: int, ahead: int = AHEAD
) -> Iterator[tuple[Ints, InsertAck]]:  # fmt: skip
    """Insert the entries of `order`, batch after batch; (which, their ack) as they are durable."""
    waiting: deque[tuple[Ints, Future[InsertAck]]] = deque()
    for start in range(0, len(order), batch):
        some = order[start : start + batch]
        waiting.append((some, database.insert(NAME, *columns(world, some))))
        if len(waiting) >= ahead:
            which, ack = waiting.popleft()
            yield which, ack.result()
    yield from ((which, ack.result()) for which, ack in waiting)


def fill(data: Path, world: World) -> Loaded:
    """The world into a new store in `data`; what loops there are to compile is compiled before, for a few entries."""
    position = np.full(len(world) + 1, -1)
    marks: list[tuple[int, float]] = []
    done = 0
    with Database.open(data) as database:
        config = CollectionConfig(NO_ENCODER, world.keys.dimension)
        database.create_collection("warm", config)
        database.insert("warm", *columns(world, np.arange(min(BATCH, len(world))))).result()
        database.build("warm")
        database.drop_collection("warm")
        database.create_collection(NAME, config)
        begun = time.perf_counter()
        for which, ack in inserted(database, world, np.arange(len(world)), BATCH):
            position[np.array(ack.ids, np.int64)] = which
            done += len(which)
            marks.append((done, time.perf_counter() - begun))
        begun = time.perf_counter()
        database.build(NAME)
        return Loaded(position, time.perf_counter() - begun, marks)


def filled(data: Path, folder: Path) -> Loaded:
    """The world in `folder` into a new store, in a process of its own, whose memory goes back at its end."""
    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(_fill, data, folder).result()


def _fill(data: Path, folder: Path) -> Loaded:
    return fill(data, World.load(folder))
