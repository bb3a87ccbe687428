"""Files into a collection, through whatever happens on the way.

    files ──▶ reader ──▶ batches ──▶ client.insert ──▶ acks
                            │                            │
                            └── places of their lines ───┘   a queue: what is in it is not acked yet

When the server goes away, the batches of the queue are sent again to the next one that answers; the store knows those
that had arrived. So a load may be stopped at any moment and started again. Triples that bring their vectors are then
looked up first, and those that are there already aren't sent.
"""

import itertools
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from atlasdb_client.batches import Batch, batches
from atlasdb_client.client import Client
from atlasdb_client.inserting import ColumnBatch
from atlasdb_client.progress import Meter, Silent
from atlasdb_client.readers import TripleFile, check
from atlasdb_client.vectors import VectorFiles
from atlasdb_contract.codec import CHUNK_COLUMNS, CHUNK_TRIPLES
from atlasdb_contract.errors import AlreadyExists, AtlasError, Cancelled, InvalidArgument, Unavailable
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, InsertAck, Triple

KEPT = 20
"""Bad lines whose reason a report keeps; all are counted."""
PATIENCE = 60.0
"""Seconds without an answer after which a server that went away is given up."""
PAUSES = (0.2, 0.5, 1.0, 2.0)
"""Seconds between tries; the last one again and again."""


@dataclass(frozen=True, slots=True)
class BadPlace:
    """A line that was not loaded, and why."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.reason}"


@dataclass(slots=True)
class LoadReport:
    """What came of a load. `lines` = triples acked + refused + bad, unless it was interrupted."""

    lines: int = 0
    """Lines read that hold something."""
    created: int = 0
    """Entries written; inverse ones count too."""
    existing: int = 0
    """Triples that were there already."""
    refused: int = 0
    """Triples the server did not take."""
    bad: int = 0
    """Lines that hold no triple, or whose vectors are none."""
    acked: int = 0
    """Triples in the store: those of this load that were created or there."""
    problems: tuple[BadPlace, ...] = ()
    """The first bad and refused lines."""
    seconds: float = 0.0
    interrupted: bool = False
    """True: stopped by Ctrl-C; loading again continues."""


def load(
    client: Client,
    files: Sequence[Path | str],
    collection: str,
    config: CollectionConfig | None = None,
    on_bad: Literal["skip", "fail"] = "skip",
    progress: Meter | None = None,
    patience: float = PATIENCE,
    vectors: VectorFiles | None = None,
) -> LoadReport:
    """Load files (see `readers`) into a collection, which is made when it is missing.

    `config` None takes the collection as it is, or the default for a new one. `on_bad` "skip" reports
    bad lines and goes on; "fail" ends with InvalidArgument at the first, what came before it being
    stored. `progress` None shows nothing. `patience` is how many seconds a server that went away is waited for.
    `vectors` are the lines' keys and values, in order; without them the server encodes. Where the collection holds
    entries already, only the vectors of triples that are missing are sent.
    Errors: those of `TripleFile` before anything is sent, those of the store, Unavailable.
    """
    paths = [Path(file) for file in files]
    sizes = [check(path) for path in paths]
    if vectors is not None and config is None:
        known = any(one.name == collection for one in client.collections())
        config = None if known else CollectionConfig(NO_ENCODER, vectors.dimension)
    ensure(client, collection, config)
    resumes = vectors is not None and client.count(collection) > 0
    with progress or Silent() as meter:
        loading = _Loading(client, collection, paths, sum(sizes), on_bad, meter, vectors, resumes)
        return loading.run(patience)


def ensure(client: Client, collection: str, config: CollectionConfig | None) -> None:
    """Make the collection if it is missing. AlreadyExists when `config` is given and another's there."""
    if config is not None:
        client.create_collection(collection, config, if_missing=True)
    elif all(known.name != collection for known in client.collections()):
        try:
            client.create_collection(collection, if_missing=True)
        except AlreadyExists:
            return


class _Loading:
    """One load under way."""

    def __init__(
        self,
        client: Client,
        collection: str,
        paths: Sequence[Path],
        size: int,
        on_bad: Literal["skip", "fail"],
        meter: Meter,
        vectors: VectorFiles | None,
        resumes: bool,
    ) -> None:
        self._client = client
        self._collection = collection
        self._paths = paths
        self._size = size
        self._on_bad = on_bad
        self._meter = meter
        self._vectors = vectors
        self._resumes = resumes
        """Triples are looked up before their vectors are sent."""
        self._report = LoadReport()
        self._unacked: deque[Batch] = deque()
        self._position = 0
        """Bytes of the files that are done with."""
        self._memory = 0
        """Bytes that the server has, as its last ack told."""
        self._failure: AtlasError | None = None
        self._gone_since: float | None = None
        """When the server went away."""
        self._pauses: Iterator[float] = iter(())

    def run(self, patience: float) -> LoadReport:
        """Everything to its ack; the report. Raises what ended the load early."""
        began = time.monotonic()
        read = self._read()
        try:
            self._try_until_done(read, patience)
        except KeyboardInterrupt:
            self._report.interrupted = True
        finally:
            read.close()
            self._report.seconds = time.monotonic() - began
        if self._failure is not None:
            raise self._failure
        return self._report

    def _try_until_done(self, read: Iterator[Batch], patience: float) -> None:
        """Insert; when the server goes away, again with what was not acked, for `patience` seconds."""
        while True:
            again = list(self._unacked)
            try:
                for ack in self._insert(itertools.chain(again, read)):
                    self._settle(ack)
                    self._heard_of()
                return
            except (Unavailable, Cancelled) as error:
                if self._gone_since is None:
                    self._gone_since, self._pauses = time.monotonic(), iter(PAUSES)
                    self._meter.say(f"the server at {self._client.target} went away; trying for {patience:.0f} s")
                if time.monotonic() - self._gone_since > patience:
                    raise Unavailable(f"gave up after {patience:.0f} s, what was acked is stored: {error}") from None
                time.sleep(next(self._pauses, PAUSES[-1]))

    def _heard_of(self) -> None:
        """The server has answered."""
        if self._gone_since is not None:
            self._gone_since = None
            self._meter.say(f"the server at {self._client.target} is back")

    # ---- from the files to the store ----

    def _read(self) -> Generator[Batch, None, None]:
        """The files' lines. Ends early at a failure, so that what was read before it is still stored."""
        before = 0
        try:
            for path in self._paths:
                with TripleFile(path) as file:
                    for batch in self._batches_of(file):
                        batch.file, batch.position = str(path), before + file.position
                        self._unacked.append(batch)
                        yield batch
                        if self._failure is not None:
                            return
                    before += file.size
            if self._vectors is not None and self._report.lines < len(self._vectors):
                raise InvalidArgument(
                    f"{self._vectors.keys.name} has {len(self._vectors):,} rows, the files {self._report.lines:,} "
                    "lines; what they have is stored: see that both are of the same load"
                )
        except AtlasError as error:
            self._failure = error

    def _batches_of(self, file: TripleFile) -> Iterator[Batch]:
        """A file's lines, counted; no more of them than there are vectors for."""
        if self._vectors is None:
            for batch in batches(file.lines(), CHUNK_TRIPLES, self._report.lines, columns=False):
                self._report.lines = batch.stop
                yield batch
            return
        rows = len(self._vectors)
        for batch in batches(file.runs(), CHUNK_COLUMNS, self._report.lines, columns=True):
            beyond = batch.line_of(rows)
            batch.cut(rows)
            self._report.lines = batch.stop
            yield batch
            if beyond is not None:
                raise InvalidArgument(
                    f"{file.path}:{beyond}: {self._vectors.keys.name} has no row for this line, it ends with row "
                    f"{rows - 1}; what came before is stored"
                )

    def _insert(self, read: Iterator[Batch]) -> Iterator[InsertAck]:
        """Send what is still to be sent of batches, with vectors if there are any."""
        if self._vectors is None:
            return self._client.insert(self._collection, self._triples(read))
        return self._client.insert_columns(self._collection, self._with_vectors(read, self._vectors))

    def _triples(self, read: Iterator[Batch]) -> Iterator[Triple]:
        for batch in read:
            batch.forget_acked()
            self._tell_bad(batch)
            if isinstance(batch.triples, list) and batch.triples:
                yield from batch.triples
            else:
                self._done(batch)

    def _with_vectors(self, read: Iterator[Batch], files: VectorFiles) -> Iterator[ColumnBatch]:
        for batch in read:
            batch.forget_acked()
            if self._resumes and not batch.looked_up:
                self._look_up(batch)
            try:
                keys, values, bad = files.rows(batch.rows)
            except AtlasError as error:
                self._failure = error
                self._unacked.remove(batch)
                return
            batch.refuse(bad)
            self._tell_bad(batch)
            if len(batch):
                yield batch.triples, keys.take(slice(len(batch))), values.take(slice(len(batch)))
            else:
                self._done(batch)

    def _look_up(self, batch: Batch) -> None:
        """Which of its triples are there already? Those need no vectors."""
        there = self._client.find(self._collection, batch.triples) != 0
        self._heard_of()
        batch.keep(~there)
        batch.looked_up = True
        self._report.existing += int(there.sum())
        self._report.acked += int(there.sum())

    def _tell_bad(self, batch: Batch) -> None:
        """Report its bad lines, once; of a load that ends at the first, nothing from there on is sent."""
        for row, line in sorted(batch.bad.items()):
            self._report.bad += 1
            self._problem(batch.file, line.number, line.reason)
            if self._failure is not None:
                batch.cut(row)
                break
        batch.bad = {}

    # ---- from the store ----

    def _settle(self, ack: InsertAck) -> None:
        """Take an ack's triples off the queue and count them."""
        at, count = 0, len(ack.ids)
        reasons = {refusal.position: refusal.reason for refusal in ack.refused}
        while at < count:
            batch = self._unacked[0]
            stop = min(count, at + len(batch) - batch.acked)
            for position in sorted(position for position in reasons if at <= position < stop):
                line = int(batch.lines[batch.acked + position - at])
                self._problem(batch.file, line, reasons[position])
            batch.acked += stop - at
            at = stop
            if batch.acked == len(batch):
                self._unacked.popleft()
                self._position = batch.position
        self._report.created += ack.created
        self._report.existing += ack.existing
        self._report.refused += len(reasons)
        self._report.acked += count - len(reasons)
        self._memory = ack.memory
        self._show()

    def _done(self, batch: Batch) -> None:
        """Nothing of it is to be sent."""
        self._unacked.remove(batch)
        if not self._unacked:
            self._position = batch.position
        self._show()

    def _show(self) -> None:
        stage, acked = f"loading {self._collection}", self._report.acked
        self._meter.show(stage, self._position, self._size, acked, "triples", self._memory)

    def _problem(self, file: str, line: int, reason: str) -> None:
        problem = BadPlace(file, line, reason)
        if self._on_bad == "fail":
            self._failure = self._failure or InvalidArgument(f"{problem}; stopped there (--on-bad skip goes on)")
        elif len(self._report.problems) < KEPT:
            self._report.problems += (problem,)
            self._meter.say(str(problem))
