"""A fetch sees one generation, and no read that takes long keeps pages from being used again."""

import threading
import time
from collections.abc import Callable

import lmdb
import numpy as np
from worlds import facts, vectors

from atlasdb.engine.database import Database

Load = Callable[..., tuple[int, ...]]
ENTRIES = 1500


def churn(database: Database, rounds: int) -> int:
    """Replace ten entries again and again; by how many bytes the file grew."""
    before = database.stats().file_bytes
    for number in range(rounds):
        triples = facts(10, 10_000 + 10 * number)
        ids = database.insert("facts", triples, *vectors(triples)).result().ids
        database.delete("facts", ids).result()
    return database.stats().file_bytes - before


def readers(database: Database) -> int:
    """Snapshots that LMDB's readers hold for longer than a moment, as upkeep does when it looks."""
    env: lmdb.Environment = database._engine.store.environment._lmdb
    held = []
    for _ in range(40):
        held.append(sum(not line.strip().endswith("-") for line in env.readers().splitlines()[1:]))
        time.sleep(0.005)
    return min(held)


def test_a_fetch_sees_one_generation_while_trees_are_flipped(database: Database, load: Load) -> None:
    """Every entry is in the block, once, whichever tree or delta it is in."""
    everything = set(load(facts(ENTRIES)))
    rows, _ = vectors(facts(2))
    over = threading.Event()
    generations = set()

    def build() -> None:
        for seed in range(4):
            database.build("facts", seed)
        over.set()

    building = threading.Thread(target=build)
    building.start()
    while not over.is_set():
        block = database.fetch("facts", rows, ENTRIES, exact=True)
        generations.add(int(block.generation))
        assert len(block.ids) == ENTRIES
        assert set(block.ids.tolist()) == everything
    building.join()
    assert len(generations) > 1


def test_a_scan_across_builds_gives_every_entry_once(database: Database, load: Load) -> None:
    ids = load(facts(ENTRIES))
    found: list[int] = []
    for chunk in database.scan("facts"):
        found += [int(entry.id) for entry in chunk]
        database.delete("facts", [found[-1]]).result()
        churn(database, 5)
        database.build("facts")
    kept = [number for number in found if number <= ENTRIES]
    assert kept == list(ids)
    assert len(found) == len(set(found))


def test_a_scan_that_dawdles_holds_nothing(database: Database, load: Load) -> None:
    load(facts(3000))
    churn(database, 60)
    alone = churn(database, 60)
    scan = database.scan("facts")
    assert len(next(scan)) == 1024
    assert readers(database) == 0
    beside = churn(database, 60)
    with database._engine.store.view("facts"):
        assert readers(database) == 1
        held = churn(database, 60)
    assert max(alone, beside) < held / 2
    assert sum(len(chunk) for chunk in scan) == 3000 - 1024


def test_counts_and_stats_hold_nothing(database: Database, load: Load) -> None:
    load(facts(100))
    assert database.count("facts") == database.stats("facts").collections[0].entries == 100
    assert len(database.get("facts", [1, 2])) == 2
    np.testing.assert_array_equal(database.fetch("facts", vectors(facts(1))[0], 1, exact=True).ids, [1])
    assert readers(database) == 0
