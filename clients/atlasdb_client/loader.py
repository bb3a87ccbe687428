"""Files into a collection, through whatever happens on the way.

    files ──▶ reader ──▶ triples ──▶ client.insert ──▶ acks
                  │                                      │
                  └── places (file, line) of triples ────┘   a queue: what is in it is not acked yet

When the server goes away, the triples of the queue are sent again to the next one that answers; the
store knows those that had arrived. So a load may be stopped at any moment and started again.
"""

import itertools
import time
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from atlasdb_client.client import Client
from atlasdb_client.inserting import ColumnBatch
from atlasdb_client.progress import Meter, Silent
from atlasdb_client.readers import BadLine, TripleFile, check
from atlasdb_client.vectors import VectorFiles
from atlasdb_contract.codec import CHUNK_COLUMNS
from atlasdb_contract.errors import AlreadyExists, AtlasError, Cancelled, InvalidArgument, Unavailable
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, InsertAck, Triple, TripleColumns

KEPT = 20
"""Bad lines whose reason a report keeps; all are counted."""
PATIENCE = 60.0
"""Seconds without an ack after which a server that went away is given up."""
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
    """Lines that hold no triple."""
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
    `vectors` are the lines' keys and values, in order; without them the server encodes.
    Errors: those of `TripleFile` before anything is sent, those of the store, Unavailable.
    """
    paths = [Path(file) for file in files]
    sizes = [check(path) for path in paths]
    if vectors is not None and config is None:
        known = any(one.name == collection for one in client.collections())
        config = None if known else CollectionConfig(NO_ENCODER, vectors.dimension)
    ensure(client, collection, config)
    with progress or Silent() as meter:
        loading = _Loading(client, collection, paths, sum(sizes), on_bad, meter, vectors)
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


class _Sent(NamedTuple):
    """A triple on its way, where it stands, and how many bytes of all files were read with it."""

    triple: Triple
    file: Path
    line: int
    position: int
    row: int
    """Of its vectors."""


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
    ) -> None:
        self._client = client
        self._collection = collection
        self._paths = paths
        self._size = size
        self._on_bad = on_bad
        self._meter = meter
        self._vectors = vectors
        self._report = LoadReport()
        self._unacked: deque[_Sent] = deque()
        self._failure: AtlasError | None = None

    def run(self, patience: float) -> LoadReport:
        """Everything to its ack; the report. Raises what ended the load early."""
        began = time.monotonic()
        sents = self._sents()
        try:
            self._try_until_done(sents, patience)
        except KeyboardInterrupt:
            self._report.interrupted = True
        finally:
            sents.close()
            self._report.seconds = time.monotonic() - began
        if self._failure is not None:
            raise self._failure
        return self._report

    def _try_until_done(self, sents: Iterator[_Sent], patience: float) -> None:
        """Insert; when the server goes away, again with what was not acked, for `patience` seconds."""
        gone_since: float | None = None
        pauses = iter(PAUSES)
        while True:
            again = list(self._unacked)
            try:
                for ack in self._insert(itertools.chain(again, sents)):
                    self._settle(ack)
                    if gone_since is not None:
                        gone_since, pauses = None, iter(PAUSES)
                        self._meter.say(f"the server at {self._client.target} is back")
                return
            except (Unavailable, Cancelled) as error:
                if gone_since is None:
                    gone_since = time.monotonic()
                    self._meter.say(f"the server at {self._client.target} went away; trying for {patience:.0f} s")
                if time.monotonic() - gone_since > patience:
                    raise Unavailable(f"gave up after {patience:.0f} s, what was acked is stored: {error}") from None
                time.sleep(next(pauses, PAUSES[-1]))

    def _insert(self, sents: Iterator[_Sent]) -> Iterator[InsertAck]:
        """Send them, with their vectors if they have any."""
        if self._vectors is None:
            return self._client.insert(self._collection, (sent.triple for sent in sents))
        return self._client.insert_columns(self._collection, self._batches(sents, self._vectors))

    def _batches(self, sents: Iterator[_Sent], vectors: VectorFiles) -> Iterator[ColumnBatch]:
        while batch := list(itertools.islice(sents, CHUNK_COLUMNS)):
            triples: TripleColumns | list[Triple] = [sent.triple for sent in batch]
            if not any(sent.triple.source or sent.triple.metadata for sent in batch):
                triples = TripleColumns.of(sent.triple.identity for sent in batch)
            keys, values, bad = vectors.rows(np.array([sent.row for sent in batch]))
            if bad:
                raise InvalidArgument(bad[min(bad)])
            yield triples, keys, values

    def _sents(self) -> Generator[_Sent, None, None]:
        """The files' triples. Ends early at a failure, so that what was read before it is still stored."""
        before = 0
        try:
            for path in self._paths:
                with TripleFile(path) as file:
                    yield from self._sents_of(file, before)
                    before += file.size
                if self._failure is not None:
                    return
            if self._vectors is not None and self._report.lines < len(self._vectors):
                raise InvalidArgument(
                    f"{self._vectors.keys.name} has {len(self._vectors):,} rows, the files {self._report.lines:,} "
                    "lines; what they have is stored: see that both are of the same load"
                )
        except AtlasError as error:
            self._failure = error

    def _sents_of(self, file: TripleFile, before: int) -> Iterator[_Sent]:
        position = before
        for item in file:
            self._report.lines += 1
            if self._vectors is not None and self._report.lines > len(self._vectors):
                raise InvalidArgument(
                    f"{file.path}:{file.line}: {self._vectors.keys.name} has no row for this line, it ends with row "
                    f"{len(self._vectors) - 1}; what came before is stored"
                )
            if self._report.lines % 256 == 0:
                position = before + file.position
            if isinstance(item, BadLine):
                self._report.bad += 1
                self._problem(file.path, item.number, item.reason)
            else:
                sent = _Sent(item, file.path, file.line, position, self._report.lines - 1)
                self._unacked.append(sent)
                yield sent
            if self._failure is not None:
                return

    def _settle(self, ack: InsertAck) -> None:
        """Take an ack's triples off the queue and count them."""
        reasons = {refusal.position: refusal.reason for refusal in ack.refused}
        for position in range(len(ack.ids)):
            sent = self._unacked.popleft()
            if position in reasons:
                self._report.refused += 1
                self._problem(sent.file, sent.line, reasons[position])
        self._report.created += ack.created
        self._report.existing += ack.existing
        self._report.acked += len(ack.ids) - len(reasons)
        done = sent.position if self._unacked else self._size
        self._meter.show(f"loading {self._collection}", done, self._size, self._report.acked, "triples")

    def _problem(self, file: Path, line: int, reason: str) -> None:
        problem = BadPlace(str(file), line, reason)
        if self._on_bad == "fail":
            self._failure = self._failure or InvalidArgument(f"{problem}; stopped there (--on-bad skip goes on)")
        elif len(self._report.problems) < KEPT:
            self._report.problems += (problem,)
            self._meter.say(str(problem))
