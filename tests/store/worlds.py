"""What store tests are made of: facts, vectors that depend on texts alone, a folder to open."""

from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

import numpy as np

from atlasdb.engine.database import Database
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import CollectionConfig, Floats, Triple, Vectors

MAP_BYTES = 1 << 30
D = 16
BARE = CollectionConfig(encoder="none", dimension=D)


class HashEncoder:
    """Texts to unit vectors that depend on the text alone. `asked` holds every text it was asked for, in order."""

    name = "hash"
    dimension = D

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1)
        self.asked: list[str] = []

    def submit(self, texts: Sequence[str]) -> "Future[Floats]":
        self.asked += texts
        return self._thread.submit(lambda: np.array([unit(text) for text in texts], np.float32).reshape(-1, D))

    def close(self) -> None:
        self._thread.shutdown()


@lru_cache(1 << 16)
def unit(text: str) -> Floats:
    """The vector of a text."""
    seed = int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "little")
    vector = np.random.default_rng(seed).standard_normal(D).astype(np.float32)
    return vector / np.linalg.norm(vector)


def facts(count: int, start: int = 0) -> list[Triple]:
    """Distinct triples, three to a head."""
    return [Triple(f"head {i // 3}", f"relation {i % 3}", f"tail {i % 7}") for i in range(start, start + count)]


def vectors(triples: Sequence[Triple]) -> tuple[Vectors, Vectors]:
    """Keys and values for triples."""
    keys = np.stack([unit(f"the {triple.relation} of {triple.head}") for triple in triples])
    return quantise(keys), quantise(np.stack([unit(triple.tail) for triple in triples]))


def damage(database: Database) -> list[str]:
    """All that verify finds wrong."""
    return [sentence for _, progress in database.verify() for sentence in progress.damage]


class Stores:
    """Opens one folder, as often as a test likes."""

    def __init__(self, folder: Path, encoder: HashEncoder) -> None:
        self.folder = folder
        self.encoder = encoder
        self.sound = True
        """False where a test does damage on purpose."""
        self._database: Database | None = None

    def open(self, map_bytes: int = MAP_BYTES) -> Database:
        """Open it, or close it and open it again."""
        self.close()
        self._database = Database.open(self.folder, map_bytes, self.encoder)
        return self._database

    def close(self) -> None:
        if self._database is not None:
            self._database.close()
            self._database = None
