"""What the crash test kills: `python writing.py FOLDER SEED FIRST` writes to a store and says what was acked.

Lines: `insert START COUNT ID...` after an ack, `deleting ID` before a delete, `deleted ID` after its ack, `built N`.
"""

import sys
import threading
from collections import deque
from pathlib import Path

import numpy as np

from atlasdb.engine.database import Database
from atlasdb_contract.types import CollectionConfig, Triple, Vectors

D = 8
CONFIG = CollectionConfig(encoder="none", dimension=D)


def triples(start: int, count: int) -> list[Triple]:
    """Distinct ones, by number."""
    return [Triple(f"head {i // 4}", f"relation {i % 4}", f"tail {i % 1000}") for i in range(start, start + count)]


def vectors(start: int, count: int, salt: int) -> Vectors:
    """A vector for each."""
    rng = np.random.default_rng([salt, start])
    return Vectors(rng.integers(-127, 128, (count, D), np.int8), np.full(count, 0.01, np.float32))


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def build_for_ever(database: Database) -> None:
    while True:
        say("built", database.build("facts"))


def main(folder: Path, seed: int, first: int) -> None:
    rng = np.random.default_rng(seed)
    database = Database.open(folder, 1 << 30)
    database.create_collection("facts", CONFIG, if_missing=True)
    threading.Thread(target=build_for_ever, args=(database,), daemon=True).start()
    waiting: deque = deque()
    while True:
        count = int(rng.choice([1, 7, 100]))
        again = max(0, first - 50) if rng.random() < 0.2 else first
        acked = database.insert("facts", triples(again, count), vectors(again, count, 1), vectors(again, count, 2))
        waiting.append((again, count, acked))
        first = max(first, again + count)
        if len(waiting) < 6:
            continue
        start, count, acked = waiting.popleft()
        ids = acked.result().ids
        say("insert", start, count, *ids)
        if rng.random() < 0.3:
            say("deleting", ids[0])
            database.delete("facts", [ids[0]]).result()
            say("deleted", ids[0])


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
