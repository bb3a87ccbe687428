"""A store that is damaged on purpose, and what a process makes of it: run as `damaging.py FOLDER`, it says as JSON what
opening, fetching, verifying and repairing gave. Wrong answers and deaths are told apart by the test that runs it."""

import json
import logging
import sys
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path
from typing import Any

import numpy as np

from atlasdb.engine.database import Database
from atlasdb.engine.read import EntryFields
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import AtlasError
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, Triple, Vectors

D = 32
NAMES = ("one", "two")
ENTRIES = 1500
DELETED = (4, 90, 700, 1450)
MAP_BYTES = 1 << 28
FEW = 32
ROWS = 6
"""Fetches of each collection, each of one row."""


def facts(start: int, stop: int) -> list[Triple]:
    return [Triple(f"head {i // 3}", f"relation {i % 3}", f"tail {i % 400}") for i in range(start, stop)]


def vectors(triples: list[Triple]) -> tuple[Vectors, Vectors]:
    """Of each text what its seed draws."""
    texts = [[f"{t.head} {t.relation}" for t in triples], [t.tail for t in triples]]
    drawn = [
        np.stack([np.random.default_rng(list(text.encode())).standard_normal(D) for text in some]) for some in texts
    ]
    return quantise(drawn[0]), quantise(drawn[1])


@lru_cache
def rows(name: str) -> list[Vectors]:
    keys, _ = vectors(facts(0, ENTRIES))
    return [keys.take([at + len(name)]) for at in range(7, ENTRIES, ENTRIES // ROWS)]


def make(folder: Path) -> None:
    """Two collections, with trees, deltas, deleted entries and freed pages."""
    with Database.open(folder, MAP_BYTES) as database:
        for name in NAMES:
            database.create_collection(name, CollectionConfig(encoder=NO_ENCODER, dimension=D))
            for start, stop in ((0, 500), (500, 1000), (1000, ENTRIES)):
                some = facts(start, stop)
                database.insert(name, some, *vectors(some)).result()
                if stop == 1000:
                    database.build(name)
            database.delete(name, DELETED).result()


def read_all(database: Database, name: str) -> dict[int, Any]:
    """Digests of entries by their ids; None: damage of it was named. Where reading many fails, halves are read; of FEW
    two."""
    fields = EntryFields(keys=True, values=True)
    found: dict[int, Any] = {}
    ranges = [range(1, ENTRIES + 1)]
    while ranges:
        some = ranges.pop()
        try:
            entries = database.get(name, some, fields)
        except AtlasError:
            if len(some) > FEW:
                ranges += [some[: len(some) // 2], some[len(some) // 2 :]]
            else:
                found |= dict.fromkeys(some)
                ranges += [some[:1], some[-1:]] if len(some) > 1 else []
            continue
        for entry in entries:
            assert entry.key
            assert entry.value
            texts = digest("\0".join(entry.triple.identity).encode())
            found[entry.id] = [texts, digest(entry.key.data.tobytes()), digest(entry.value.data.tobytes())]
    return found


def digest(content: bytes) -> str:
    """Few bytes that say which these are."""
    return blake2b(content, digest_size=6).hexdigest()


def fetched(database: Database, name: str, exact: bool) -> list[Any]:
    """Of each row its block: ids with keys and values, or the error; and how many entries were out."""
    told: list[Any] = []
    for row in rows(name):
        try:
            block = database.fetch(name, row, 20, exact=exact)
        except AtlasError as error:
            told.append(str(error))
            continue
        vectors = [
            [int(number), digest(key.tobytes()), digest(value.tobytes())]
            for number, key, value in zip(block.ids, block.keys.data, block.values.data, strict=True)
        ]
        told.append({"entries": vectors, "out": block.cost.entries_out})
    return told


def look(folder: Path) -> dict[str, Any]:
    """What a process makes of a store."""
    said: dict[str, Any] = {}
    try:
        database = Database.open(folder, MAP_BYTES)
    except AtlasError as error:
        return {"refused": str(error)}
    with database:
        said["fetched"] = {name: fetched(database, name, exact=False) for name in NAMES}
        said["exact"] = {name: fetched(database, name, exact=True) for name in NAMES}
        said["entries"] = {name: read_all(database, name) for name in NAMES}
        said["damage"] = [sentence for _, step in database.verify() for sentence in step.damage]
        said["stats"] = {one.name: [one.setsum, one.entries, list(one.damage)] for one in database.stats().collections}
        steps = [step for _, step in database.repair()]
        said["restored"] = [sentence for step in steps for sentence in step.restored]
        said["lost"] = [sentence for step in steps for sentence in step.lost]
        changed = said["damage"] or said["restored"] or said["lost"]
        said["left"] = [sentence for _, step in database.verify() for sentence in step.damage] if changed else []
        said["after"] = {name: read_all(database, name) for name in NAMES} if changed else said["entries"]
        said["setsums"] = {one.name: one.setsum for one in database.stats().collections}
    return said


if __name__ == "__main__":
    logging.disable()
    for line in sys.stdin:
        print(json.dumps(look(Path(line.strip()))), flush=True)
