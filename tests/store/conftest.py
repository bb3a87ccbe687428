"""Every store that a test opens is checked whole, after a restart, when the test is over."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest
from worlds import BARE, HashEncoder, Stores, damage, vectors

from atlasdb.engine.database import Database
from atlasdb_contract.types import Triple


@pytest.fixture
def encoder() -> Iterator[HashEncoder]:
    encoder = HashEncoder()
    yield encoder
    encoder.close()


@pytest.fixture
def stores(tmp_path: Path, encoder: HashEncoder) -> Iterator[Stores]:
    stores = Stores(tmp_path / "data", encoder)
    yield stores
    if stores.sound:
        assert damage(stores.open()) == []
    stores.close()


@pytest.fixture
def database(stores: Stores) -> Database:
    """A store with the collection `facts`, whose vectors are given."""
    database = stores.open()
    database.create_collection("facts", BARE)
    return database


@pytest.fixture
def load(database: Database) -> Callable[..., tuple[int, ...]]:
    """Insert triples into `facts`; their ids."""

    def load(triples: Sequence[Triple], name: str = "facts") -> tuple[int, ...]:
        return database.insert(name, triples, *vectors(triples)).result().ids

    return load
