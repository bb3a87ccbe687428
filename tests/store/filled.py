"""A store on a disk that fills up: run as a process of its own, which mounts a small disk for itself alone.

python filled.py FOLDER     status 0: all held; 77: nothing can be mounted here
"""

import sys
from pathlib import Path

import pytest
from worlds import BARE, damage, facts, vectors

from atlasdb.engine.database import Database
from atlasdb.store import environment, reserve
from atlasdb_contract.errors import AtlasError, ResourceExhausted
from atlasdb_contract.types import Triple
from tests.soak.smalldisk import Ballast, NotAllowed, mount

ROOM = 40 << 20
"""What the disk has beyond the two reserves."""
ENTRIES = 3000
NOT_ALLOWED = 77


def main(folder: Path) -> None:
    mount(folder, environment.RESERVE_BYTES + reserve.BYTES + ROOM)
    ballast = Ballast(folder)
    data = folder / "data"
    with Database.open(data, 1 << 30) as database:
        database.create_collection("facts", BARE)
        insert(database, facts(ENTRIES))
        in_a_commit(database, ballast)
        refused(database, ballast, data)
    with Database.open(data, 1 << 30) as database:
        reopened(database)
        ballast.release()
        with_room_again(database, data)


def in_a_commit(database: Database, ballast: Ballast) -> None:
    """Somebody takes the disk between the store's look and its write: LMDB itself finds it full, amidst a commit."""
    usual, environment.RESERVE_BYTES = environment.RESERVE_BYTES, 0
    for left in (0, 100_000):
        ballast.leave(left)
        told = refusal(database, facts(5000, 20_000))
        assert "make room on it" in told, told
        assert database.count("facts") == ENTRIES
    environment.RESERVE_BYTES = usual
    ballast.release()
    whole(database, ENTRIES)


def refused(database: Database, ballast: Ballast, data: Path) -> None:
    """With not a byte left: no insert, no build, every read, and deletes by what is kept for them."""
    insert(database, facts(1, 19_999))
    assert (data / reserve.FILE).stat().st_size == reserve.BYTES
    ballast.leave(environment.RESERVE_BYTES - 1)
    assert "less than 64 MiB left: make room on it" in refusal(database, facts(1, 20_000))
    ballast.leave(0)
    with pytest.raises(ResourceExhausted, match="make room"):
        database.build("facts")
    with database._engine.store.view("facts"):  # no page that it sees is free
        for start in range(1, 1001, 50):
            assert database.delete("facts", [*range(start, start + 50)]).result() == (50, 0)
    assert not (data / reserve.FILE).exists()
    ballast.leave(0)
    for start in range(1001, 2001, 100):
        assert database.delete("facts", [*range(start, start + 100)]).result() == (100, 0)


def reopened(database: Database) -> None:
    """A full disk keeps nobody from reading after a restart, and from deleting."""
    whole(database, ENTRIES - 1999)
    assert database.delete("facts", [2001]).result() == (1, 0)
    assert "make room" in refusal(database, facts(1, 20_000))


def with_room_again(database: Database, data: Path) -> None:
    insert(database, facts(100, 20_000))
    assert (data / reserve.FILE).stat().st_size == reserve.BYTES
    database.build("facts")
    whole(database, ENTRIES - 1900)


def insert(database: Database, triples: list[Triple]) -> None:
    assert database.insert("facts", triples, *vectors(triples)).result().created == len(triples)


def refusal(database: Database, triples: list[Triple]) -> str:
    """What an insert is refused with."""
    error = database.insert("facts", triples, *vectors(triples)).exception()
    assert isinstance(error, ResourceExhausted), error
    return str(error)


def whole(database: Database, entries: int) -> None:
    """So many are there, each is read and fetched, and nothing is amiss."""
    assert database.count("facts") == entries
    assert sum(len(chunk) for chunk in database.scan("facts")) == entries
    keys, _ = vectors(facts(1, 2500))
    assert 2501 in database.fetch("facts", keys, 8, exact=True).ids
    assert damage(database) == []


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]))
    except NotAllowed as error:
        print(error)
        sys.exit(NOT_ALLOWED)
    except AtlasError as error:
        sys.exit(f"{type(error).__name__}: {error}")
