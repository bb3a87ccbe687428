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

from atlasdb_client.client import Client
from atlasdb_client.progress import Meter, Silent
from atlasdb_client.readers import BadLine, TripleFile, check
from atlasdb_contract.errors import AlreadyExists, AtlasError, Cancelled, InvalidArgument, Unavailable
from atlasdb_contract.types import CollectionConfig, InsertAck, Triple

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
) -> LoadReport:
    """Load files (see `readers`) into a collection, which is made when it is missing.

    `config` None takes the collection as it is, or the default for a new one. `on_bad` "skip" reports
    bad lines and goes on; "fail" ends with InvalidArgument at the first, what came before it being
    stored. `progress` None shows nothing. `patience` is how many seconds a server that went away is waited for.
    Errors: those of `TripleFile` before anything is sent, those of the store, Unavailable.
    """
    paths = [Path(file) for file in files]
    sizes = [check(path) for path in paths]
    ensure(client, collection, config)
    with progress or Silent() as meter:
        loading = _Loading(client, collection, paths, sum(sizes), on_bad, meter)
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
    ) -> None:
        self._client = client
        self._collection = collection
        self._paths = paths
        self._size = size
        self._on_bad = on_bad
        self._meter = meter
        self._report = LoadReport()
        self._unacked: deque[_Sent] = deque()
        self._failure: AtlasError | None = None

    def run(self, patience: float) -> LoadReport:
        """Everything to its ack; the report. Raises what ended the load early."""
        began = time.monotonic()
        triples = self._triples()
        try:
            self._try_until_done(triples, patience)
        except KeyboardInterrupt:
            self._report.interrupted = True
        finally:
            triples.close()
            self._report.seconds = time.monotonic() - began
        if self._failure is not None:
            raise self._failure
        return self._report

    def _try_until_done(self, triples: Iterator[Triple], patience: float) -> None:
        """Insert; when the server goes away, again with what was not acked, for `patience` seconds."""
        gone_since: float | None = None
        pauses = iter(PAUSES)
        while True:
            again = [sent.triple for sent in self._unacked]
            try:
                for ack in self._client.insert(self._collection, itertools.chain(again, triples)):
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

    def _triples(self) -> Generator[Triple, None, None]:
        """The files' triples. Ends early at a failure, so that what was read before it is still stored."""
        before = 0
        try:
            for path in self._paths:
                with TripleFile(path) as file:
                    yield from self._triples_of(file, before)
                    before += file.size
                if self._failure is not None:
                    return
        except AtlasError as error:
            self._failure = error

    def _triples_of(self, file: TripleFile, before: int) -> Iterator[Triple]:
        position = before
        for item in file:
            self._report.lines += 1
            if self._report.lines % 256 == 0:
                position = before + file.position
            if isinstance(item, BadLine):
                self._report.bad += 1
                self._problem(file.path, item.number, item.reason)
            else:
                self._unacked.append(_Sent(item, file.path, file.line, position))
                yield item
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
