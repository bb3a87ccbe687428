"""The first fetch's compilation ahead of it: the life of a tiny store, in the background.

numba compiles a loop when it is first called, some twenty seconds in all on a fresh installation, and keeps what it
made in a cache beside the sources (or where NUMBA_CACHE_DIR says). Meanwhile the server serves everything; a fetch that
comes this early waits for its own loops. Processes of one installation take turns, so that one compiles and the others
find it done.
"""

import fcntl
import logging
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from atlasdb.engine.database import Database
from atlasdb_contract.codec import quantise
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, Triple, Vectors

log = logging.getLogger("atlasdb.service")

NAME = "warm"
ENTRIES, DIMENSION = 64, 16
MAP_BYTES = 1 << 26


def warm() -> None:
    """Begin, in a thread that holds up nothing. What goes wrong is logged: the first fetch will tell more."""
    threading.Thread(target=_warm, name="atlasdb-warm", daemon=True).start()


def _warm() -> None:
    started = time.monotonic()
    log.info("getting the compiled loops of fetches ready; where they were never compiled, that takes some 20 s")
    try:
        with _turn(), TemporaryDirectory(prefix="atlasdb-warm-") as folder:
            live(Path(folder))
    except Exception:
        log.exception("the loops of fetches could not be compiled ahead of the first")
    else:
        log.info("fetches are compiled (%.1f s)", time.monotonic() - started)


def live(folder: Path) -> None:
    """All that a collection goes through until it is fetched from: inserts, a build, a delta."""
    draw = np.random.default_rng(0)
    keys = quantise(draw.standard_normal((ENTRIES, DIMENSION)))
    triples = [Triple(f"head {n % 8}", f"relation {n // 8}", f"tail {n}") for n in range(ENTRIES)]
    half = ENTRIES // 2
    with Database.open(folder, MAP_BYTES) as database:
        database.create_collection(NAME, CollectionConfig(encoder=NO_ENCODER, dimension=DIMENSION))
        for part in (slice(0, half), slice(half, ENTRIES)):
            database.insert(NAME, triples[part], keys.take(part), keys.take(part)).result()
            database.fetch(NAME, keys.take(slice(0, 4)), ENTRIES)
            if part.start == 0:
                database.build(NAME)
        columns = TripleColumns.of(triple.identity for triple in [*triples, Triple("a head", "a relation", "a tail")])
        at = np.append(np.arange(ENTRIES), 0)
        vectors = Vectors(np.frombuffer(keys.data[at].tobytes(), np.int8).reshape(-1, DIMENSION), keys.scales[at])
        database.insert(NAME, columns, vectors, vectors).result()


@contextmanager
def _turn() -> Iterator[None]:
    """While no other process of this installation compiles."""
    with open(__file__, "rb") as ours:
        with suppress(OSError):  # no locks on this file system: several compile the same
            fcntl.flock(ours, fcntl.LOCK_EX)
        yield
