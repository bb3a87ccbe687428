"""The storage engine: what a server, or a program in its place, calls.

A Database owns one store folder, the one thread that writes to it and, for its life, the encoder given to it. All of
its methods may be called from any thread. Errors are those of `atlasdb_contract.errors`.
"""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from pathlib import Path
from typing import Self

from atlasdb.engine import snapshot
from atlasdb.engine.build import build
from atlasdb.engine.collections import count, create, drop, listed
from atlasdb.engine.compact import Compaction
from atlasdb.engine.delete import delete
from atlasdb.engine.draft import TripleLike, Triples
from atlasdb.engine.engine import EncoderLike, Engine
from atlasdb.engine.explain import explained
from atlasdb.engine.fetch import fetch, search
from atlasdb.engine.find import find
from atlasdb.engine.insert import encode, insert
from atlasdb.engine.meters import Measured
from atlasdb.engine.rates import check_rate
from atlasdb.engine.read import EntryFields, get, scan
from atlasdb.engine.repair import RepairStep, repair
from atlasdb.engine.sampler import Sampler
from atlasdb.engine.stats import StoreStats, stats
from atlasdb.engine.upkeep import Upkeep
from atlasdb.engine.verify import verify
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import (
    UNLIMITED,
    About,
    Beams,
    Block,
    Collection,
    CollectionConfig,
    Entry,
    Hit,
    Ids,
    InsertAck,
    Progress,
    Quota,
    Vectors,
)
from atlasdb_contract.upkeep import CompactProgress, Snapshot, SnapshotProgress

MAP_BYTES = 1 << 40
"""Default size of the sparse map: the most that a store can grow to."""
BARE = EntryFields()
DEFAULT_BEAMS = Beams()
NOTHING = About()


class Database:
    """One store folder, open."""

    def __init__(self, engine: Engine, compact_above: float = 0.0) -> None:
        self._engine = engine
        self._upkeep = Upkeep(engine, compact_above)
        self._sampler = Sampler(engine)

    @classmethod
    def open(
        cls, path: Path, map_bytes: int = MAP_BYTES, encoder: EncoderLike | None = None, compact_above: float = 0.0
    ) -> Self:
        """Open the folder, made where there is none.

        FailedPrecondition: another server has it open (its pid is named), or it was written by an unknown version.
        DataLoss: the file is cut short. Leftovers of whatever was interrupted are cleared. `compact_above`: the share
        of the file that must be free or dead for it to be compacted when nothing else is to do; 0: never.
        """
        database = cls(Engine.open(path, map_bytes, encoder), compact_above)
        snapshot.clear_leftovers(path)
        database._upkeep.start()
        return database

    @classmethod
    def read(cls, path: Path, map_bytes: int = MAP_BYTES) -> Self:
        """Open a folder that another process on this machine has open, to read it beside that one.

        Each call sees what that process has committed before. `map_bytes`: its own. Whatever would write is a
        FailedPrecondition, as is a folder that holds no store.
        """
        return cls(Engine.read(path, map_bytes))

    def close(self) -> None:
        """Finish the writes that were taken, then close. The encoder stays its owner's. May be called twice."""
        self._sampler.close()
        self._upkeep.close()
        self._engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        self.close()

    # ---- collections ----

    def create_collection(
        self, name: str, config: CollectionConfig, if_missing: bool = False, quota: Quota = UNLIMITED
    ) -> Collection:
        """A new collection; `if_missing` returns one that is there with the same config.

        InvalidArgument: the name is not [a-z0-9][a-z0-9_-]{0,63}, or config and encoder do not fit. AlreadyExists.
        """
        return create(self._engine, name, config, if_missing, quota)

    def list_collections(self) -> list[Collection]:
        """All, by name."""
        return listed(self._engine)

    def set_quota(self, name: str, entries: int | None = None, size: int | None = None) -> Collection:
        """The most that a collection may hold from now on, `size` in bytes of its tables; 0: no limit, None: as it is.

        An insert that would go beyond is ResourceExhausted as a whole; what is there stays. NotFound, InvalidArgument.
        """
        return self._engine.store.set_quota(name, entries, size).public

    def drop_collection(self, name: str) -> int:
        """Delete it; how many entries it had. NotFound."""
        with self._upkeep.stopped_for(name):
            dropped = drop(self._engine, name)
        self._upkeep.wake(name)
        self._engine.meters.forget(name, dropped.id)
        return dropped.entries

    # ---- entries ----

    def insert(
        self,
        name: str,
        triples: Triples,
        keys: Vectors | None = None,
        values: Vectors | None = None,
        sequence: int = 0,
    ) -> Future[InsertAck]:
        """Store triples; durable when the future is done. Idempotent: a triple that is there keeps its id and source.

        `keys` and `values`, both or neither: int8 (len(triples), D). Without them the collection's encoder is asked,
        for each distinct text of triples that are not there; calls may overlap. The future's errors: InvalidArgument
        (vectors of a wrong number or dimension: nothing is stored), NotFound, ResourceExhausted. A triple with an empty
        part, or without vectors where there is no encoder, is refused in the ack, and the others are stored.
        """
        ack = insert(self._engine, name, triples, keys, values, sequence)
        ack.add_done_callback(lambda done: self._inserted(name, done))
        return ack

    def _inserted(self, name: str, done: Future[InsertAck]) -> None:
        self._upkeep.wake(name)
        if not done.cancelled() and done.exception() is None:
            self._engine.meters.inserted(name, done.result().created)

    def delete(self, name: str, ids: Sequence[int] = (), triples: Sequence[TripleLike] = ()) -> Future[tuple[int, int]]:
        """(entries deleted, ids and triples that were not there). A triple's inverse entry goes with it, either way."""
        deleted = delete(self._engine, name, ids, triples)
        deleted.add_done_callback(lambda _: self._upkeep.wake(name))
        return deleted

    def get(self, name: str, ids: Sequence[int], fields: EntryFields = BARE) -> list[Entry]:
        """The entries of these ids, in this order; a missing one is left out."""
        return get(self._engine, name, ids, fields)

    def find(self, name: str, triples: TripleColumns) -> Ids:
        """The entry of each of N triples: u64 (N,), 0 where it is not there, as one with a blank part never is."""
        return find(self._engine, name, triples)

    def scan(
        self,
        name: str,
        after: int = 0,
        limit: int = 0,
        fields: EntryFields = BARE,
        head: str = "",
        relation: str = "",
    ) -> Iterator[list[Entry]]:
        """Entries above the id `after`, in id order, in chunks below a message's size; `limit` 0: to the end.

        `head` and `relation`, where given, are compared with the triple's. Each chunk is read in a view of its own:
        entries inserted meanwhile may appear, deleted ones may not.
        """
        return scan(self._engine, name, after, limit, fields, head, relation)

    def count(self, name: str) -> int:
        """Entries of a collection, inverse ones included."""
        return count(self._engine, name)

    # ---- retrieval ----

    def fetch(
        self, name: str, rows: Vectors, k: int, beams: Beams = DEFAULT_BEAMS, exact: bool = False, sequence: int = 0
    ) -> Block:
        """The k entries that these rows attend to most; design (4). `rows` int8 (R, D), R and k from 1 to 4096.

        `exact` scores every key. InvalidArgument names what is wrong, of a dimension both.
        """
        return fetch(self._engine, name, rows, k, beams, exact, sequence)

    def explain(
        self,
        name: str,
        rows: Vectors,
        k: int,
        beams: Beams = DEFAULT_BEAMS,
        about: About = NOTHING,
        sequence: int = 0,
    ) -> Block:
        """As `fetch`, with the block's `explanation`; it speaks of the entries of `about`, those named by id first.

        The same block, at a multiple of the time. InvalidArgument also for more than 256 rows or 64 entries.
        """
        return explained(self._engine, name, rows, k, beams, about, sequence)

    def search(self, name: str, text: str, k: int, exact: bool = False) -> list[Hit]:
        """The k entries whose keys are nearest to a text by cosine, best first. FailedPrecondition without encoder."""
        return search(self._engine, name, text, k, exact)

    def encode(self, name: str, texts: Sequence[str]) -> Vectors:
        """Texts to unit vectors with the collection's encoder: int8 (len(texts), D)."""
        return encode(self._engine, name, texts)

    # ---- administration ----

    def build(
        self,
        name: str,
        seed: int = 0,
        cancelled: Callable[[], bool] = lambda: False,
        progress: Callable[[Progress], None] = lambda _: None,
    ) -> Generation:
        """Make one new tree of all entries; the new generation.

        Reads and writes go on. Stopped anywhere (Cancelled where `cancelled` says so), the old trees stay.
        FailedPrecondition: a build of this collection is running.
        """
        with self._upkeep.stopped_for(name):
            return build(self._engine, name, seed, cancelled, progress)

    def stats(self, name: str | None = None, others: Sequence[Measured] = ()) -> StoreStats:
        """Counts and sizes, and what was measured lately; of every collection where `name` is None.

        `others`: what processes that read the folder have measured (`measured`); it is added to this one's.
        """
        return stats(self._engine, name, others)

    def measured(self) -> Measured:
        """What this process measured lately: for the `stats` of the one that writes."""
        return self._engine.measured()

    def sample_recall(self, per_minute: float, processes: int = 1) -> None:
        """From now on compare up to so many fetches a minute with the exact answer, in the background; see
        engine/sampler. 0: none. `processes` that do so share that number."""
        self._sampler.start(per_minute, processes)

    @property
    def map_bytes(self) -> int:
        """Size of the map; less than was asked for where the machine refused that."""
        return self._engine.store.environment.map_bytes

    def clear_dead_readers(self) -> None:
        """To be called when a process that had the folder open by `read` was killed: else the file may grow."""
        self._engine.store.environment.clear_dead_readers()

    def verify(
        self, name: str | None = None, cursor: bytes = b"", bytes_per_second: int = 0
    ) -> Iterator[tuple[str, Progress]]:
        """Check every record and how they fit together, in short views; damage comes as sentences.

        Yields (collection, how far, with the damage found since the last one). `cursor`: of the progress to go on from.
        InvalidArgument where it is none.
        """
        return verify(self._engine, name, cursor, bytes_per_second)

    def repair(
        self, name: str | None = None, dry_run: bool = False, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[tuple[str, RepairStep]]:
        """Put right what is damaged, or say what would be: by parity, by the encoder, or from what it was made of.

        Yields (collection, how far, with what was put right and what is lost since the last one). Nothing is dropped:
        what is lost stays, left out of fetches, until it is deleted.
        """
        return repair(self._engine, name, dry_run, cancelled)

    def compact(
        self,
        dry_run: bool = False,
        bytes_per_second: int = 0,
        max_seconds: float = 0.0,
        cancelled: Callable[[], bool] = lambda: False,
    ) -> Iterator[CompactProgress]:
        """Drop what deleted entries leave, and make the file anew without free pages; reads and writes go on.

        `dry_run`: only say what that would free, and what it takes. Stopped anywhere (Cancelled after `max_seconds`,
        0: never), nothing is lost, and the next compaction goes on from there. ResourceExhausted: no room for the copy.
        DataLoss: a collection can't be read. FailedPrecondition: a compaction, a snapshot or a build is being made.
        """
        check_rate(bytes_per_second)
        until = time.monotonic() + (max_seconds or math.inf)

        def ends() -> bool:
            return cancelled() or time.monotonic() > until

        return Compaction(self._engine, self._upkeep.stopped_for, ends, bytes_per_second).run(dry_run)

    # ---- snapshots ----

    def create_snapshot(
        self, name: str = "", bytes_per_second: int = 0, cancelled: Callable[[], bool] = lambda: False
    ) -> Iterator[SnapshotProgress]:
        """Copy the store as it is at one moment, and read the copy back; the last step has the snapshot.

        `name`: default, the time. Reads and writes go on. AlreadyExists; ResourceExhausted: no room for it; DataLoss:
        the store is damaged; FailedPrecondition: a compaction or another snapshot is being made.
        """
        return snapshot.create(self._engine, name, bytes_per_second, cancelled)

    def list_snapshots(self) -> list[Snapshot]:
        """All that are whole, oldest first."""
        return snapshot.listed(self._engine.store.environment.path)

    def verify_snapshot(self, name: str, cancelled: Callable[[], bool] = lambda: False) -> Iterator[SnapshotProgress]:
        """Check a snapshot's file, every record in it and its setsums; the last step has the damage. NotFound."""
        return snapshot.verify(self._engine.store.environment.path, name, cancelled)

    def delete_snapshot(self, name: str) -> int:
        """Remove a snapshot; the bytes that it took. NotFound."""
        return snapshot.delete(self._engine.store.environment.path, name)
