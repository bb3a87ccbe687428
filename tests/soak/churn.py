"""Everything replaced, again and again, at a constant number of entries: the trees must stay as good as fresh ones.

An episode replaces all entries ROUNDS times, through upkeep alone, and compares the store with one made afresh of the
same entries: the recall of pruned fetches, the memory of the process, and the size of the file, which upkeep compacts.
"""

import time
from functools import partial
from pathlib import Path

import numpy as np

from atlasdb.engine import upkeep
from atlasdb.engine.database import Database
from atlasdb.settings import Settings
from atlasdb.store.environment import FILE
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import NO_ENCODER, Beams, CollectionConfig, Triple, Vectors

from .acting import hasten_upkeep
from .forked import Broken, Ended, Late, Say, forked, own_memory
from .ledger import MAIN
from .tally import Tally

ROUNDS = 20
"""Of one episode, each a replacement of all."""
LIVE = 4000
D = 32
HEAD_ENTRIES = 4
BATCH = 500
QUERIES = 200
K = 10
SHARPNESS = 12.0
RECALL_LOST = 0.005
"""Most that recall may be below that of a fresh build."""
FILE_GROWTH = 2.0
"""Most that the file may be, times what the entries take in a fresh store."""
MEMORY_GROWTH = 96 << 20
"""Bytes by which the process may grow after the second round."""
BEAMS = Beams(4, 40)
"""Narrow ones, with which a bad tree would show."""
SECONDS = 120.0
MAP_BYTES = 1 << 30


def episode(seed: int, folder: Path, tally: Tally) -> None:
    """See the module."""
    child = forked(lambda say: _churn(seed, folder, say))
    try:
        while not tally.over():
            kind, what = child.receive(SECONDS)
            if kind == "wrong":
                tally.fail(what)
            elif kind == "measured":
                tally.measure(*what)
            else:
                tally.count()
    except Ended as ended:
        if ended.status:
            tally.fail(str(ended))
    except Late:
        child.show_stacks()
        tally.fail(f"a hang of {SECONDS:.0f} s")
    except Broken as error:
        tally.fail(str(error))
    finally:
        child.close()


def _churn(seed: int, folder: Path, say: Say) -> None:
    hasten_upkeep()
    upkeep.LEAST_GAIN = 0
    rng, memory = np.random.default_rng(seed), 0
    with Database.open(folder / "churned", MAP_BYTES, compact_above=Settings(folder).compact_above) as database:
        database.create_collection(MAIN, CollectionConfig(NO_ENCODER, D))
        old: list[int] = []
        for number in range(ROUNDS + 1):
            given = _facts(number, rng)
            old = _replaced(database, old, given)
            _settled(database)
            if number == 2:
                memory = own_memory()
            if number:
                problems = _compared(database, folder, given, rng, say)
                grown = own_memory() - memory if memory else 0
                say(("measured", ("memory grown, MiB", grown / (1 << 20))))
                if grown > MEMORY_GROWTH:
                    problems.append(f"memory grew by {grown >> 20} MiB since round 2")
                for what in problems:
                    say(("wrong", f"round {number}: {what}"))
                say(("round", number))


Facts = tuple[list[Triple], Vectors, Vectors]


def _facts(number: int, rng: np.random.Generator) -> Facts:
    """LIVE entries of a round: the keys of a head lie near each other."""
    heads = rng.standard_normal((LIVE // HEAD_ENTRIES, D)).repeat(HEAD_ENTRIES, axis=0)
    keys = heads + 0.4 * rng.standard_normal((LIVE, D))
    triples = [
        Triple(f"head {number}/{i // HEAD_ENTRIES}", f"relation {i % HEAD_ENTRIES}", f"tail {number}/{i}")
        for i in range(LIVE)
    ]
    values = rng.standard_normal((LIVE, D))
    return triples, *(quantise(one / np.linalg.norm(one, axis=1, keepdims=True)) for one in (keys, values))


def _replaced(database: Database, old: list[int], given: Facts) -> list[int]:
    """The ids of the new entries, of which some came for some old ones each time."""
    triples, keys, values = given
    ids: list[int] = []
    for start in range(0, LIVE, BATCH):
        part = slice(start, start + BATCH)
        ids += map(int, database.insert(MAIN, triples[part], keys.take(part), values.take(part)).result().ids)
        if old:
            database.delete(MAIN, old[part]).result()
    return ids


def _settled(database: Database) -> None:
    """Wait until upkeep has nothing to do."""
    while not database._upkeep.idle():
        time.sleep(0.1)


def _compared(database: Database, folder: Path, given: Facts, rng: np.random.Generator, say: Say) -> list[str]:
    """What is worse than in a fresh store."""
    fresh_folder = folder / f"fresh-{int(rng.integers(1 << 40))}"
    with Database.open(fresh_folder, MAP_BYTES) as fresh:
        fresh.create_collection(MAIN, CollectionConfig(NO_ENCODER, D))
        _replaced(fresh, [], given)
        fresh.build(MAIN)
        rows = [_row(given, rng) for _ in range(QUERIES)]
        ours, theirs = (sum(map(partial(_recall, one), rows)) / QUERIES for one in (database, fresh))
        stats = fresh.stats(MAIN)
        taken = (stats.pages - stats.free_pages) * stats.file_bytes // stats.pages
        growth = (folder / "churned" / FILE).stat().st_size / taken
    problems = [f"{damage}" for _, progress in database.verify() for damage in progress.damage]
    if (count := database.count(MAIN)) != LIVE:
        problems.append(f"there are {count} entries, not {LIVE}")
    if ours < theirs - RECALL_LOST:
        problems.append(f"recall is {ours:.4f}, that of a fresh build {theirs:.4f}")
    if growth > FILE_GROWTH:
        problems.append(f"the file is {growth:.2f} times what its entries take")
    for name, value in (("recall lost", theirs - ours), ("file, times what its entries take", growth)):
        say(("measured", (name, value)))
    say(("measured", ("recall missed by a fresh build", 1 - theirs)))
    return problems


def _row(given: Facts, rng: np.random.Generator) -> Vectors:
    """A row near an entry."""
    near = given[1].floats()[int(rng.integers(LIVE))] + 0.1 * rng.standard_normal(D)
    return quantise((SHARPNESS * near / np.linalg.norm(near))[None])


def _recall(database: Database, row: Vectors) -> float:
    """The share of the exact best K that a pruned fetch finds; ids differ between stores, so each has its own."""
    exact, pruned = (database.fetch(MAIN, row, K, BEAMS, exact).ids.tolist() for exact in (True, False))
    return len(set(exact) & set(pruned)) / K
