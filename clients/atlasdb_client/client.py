"""The sync client: carries out what `core` says, over one channel. Safe to share between threads."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from types import TracebackType
from typing import Any, TypeVar

import grpc
import numpy as np

from atlasdb_client import core
from atlasdb_client.fetch import FetchStream
from atlasdb_client.inserting import (
    ColumnBatch,
    InsertWindow,
    TripleLike,
    VectorsLike,
    column_requests,
    insert_requests,
)
from atlasdb_client.stats import RepairProgress, StoreStats
from atlasdb_client.target import DEFAULT_TARGET, parse_target
from atlasdb_contract import types as t
from atlasdb_contract.codec import text_row
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.errors import Internal, InvalidArgument
from atlasdb_contract.upkeep import CompactProgress, Snapshot, SnapshotProgress
from atlasdb_contract.v1.admin_pb2_grpc import AdminStub
from atlasdb_contract.v1.knowledge_pb2 import InsertRequest
from atlasdb_contract.v1.knowledge_pb2_grpc import KnowledgeStub

R = TypeVar("R")

TIMEOUT = 60.0
"""Seconds that a single answer may take."""


def connect(target: str = DEFAULT_TARGET, timeout: float = TIMEOUT) -> "Client":
    """A client of the server at `target`: "HOST:PORT" or "unix:/path/to/socket".

    The connection is made at the first call, and again by itself after it broke. `timeout` is in
    seconds for each single answer; streams (insert, scan, build …) may take as long as they need.
    """
    return Client(target, timeout)


class Client:
    """One server's collections. Close it, or use it in a `with`.

    Every method raises the errors of `atlasdb_contract.errors`: InvalidArgument for what can't be
    right, NotFound for an unknown collection, Unavailable when no server answers, and so on.
    """

    def __init__(self, target: str, timeout: float) -> None:
        self.target = target
        self._timeout = timeout
        self._channel = grpc.insecure_channel(parse_target(target), options=core.CHANNEL_OPTIONS)
        self._stubs: dict[str, Any] = {
            "Knowledge": KnowledgeStub(self._channel),  # type: ignore[no-untyped-call]
            "Admin": AdminStub(self._channel),  # type: ignore[no-untyped-call]
        }

    def __enter__(self) -> "Client":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let the connection go; calls under way end as Cancelled."""
        self._channel.close()

    # Collections

    def create_collection(
        self,
        name: str,
        config: t.CollectionConfig | None = None,
        if_missing: bool = False,
        quota: t.Quota | None = None,
    ) -> t.Collection:
        """Make a collection. AlreadyExists, unless `if_missing` and the one there has the same config."""
        call = core.create_collection(name, config or t.CollectionConfig(), if_missing, quota or t.Quota())
        return self._answer(call)

    def set_quota(self, name: str, entries: int | None = None, size: int | None = None) -> t.Collection:
        """The most that a collection may hold from now on, `size` in bytes; 0: no limit, None: as it is.

        An insert that would go beyond is ResourceExhausted as a whole; nothing is deleted.
        """
        return self._answer(core.set_quota(name, entries, size))

    def collections(self) -> list[t.Collection]:
        """All collections."""
        return self._answer(core.collections())

    def drop_collection(self, name: str) -> int:
        """Delete a collection with all its entries; returns how many those were."""
        return self._answer(core.drop_collection(name))

    # Entries

    def insert(
        self,
        collection: str,
        triples: Iterable[TripleLike],
        keys: VectorsLike | None = None,
        values: VectorsLike | None = None,
    ) -> Iterator[t.InsertAck]:
        """Insert triples; yields an ack for each chunk, in order, once it is durable.

        Nothing is sent before the first ack is asked for, and little more than what is asked for: iterate
        to the end. `triples` is read in the caller's thread, some 16 chunks of 1,024 ahead of the acks.
        `keys` and `values` (N, D), float or int8, go with N triples; without them the server encodes.
        A triple that is there already is acked with its id as existing, so after Unavailable send again
        what was not acked.
        """
        return self._insert(insert_requests(collection, triples, keys, values))

    def insert_columns(self, collection: str, batches: Iterable[ColumnBatch]) -> Iterator[t.InsertAck]:
        """Insert triples that bring their vectors, as columns: the quick way for many.

        A batch is N triples as TripleColumns, keys and values, (N, D) each, float or int8. Acks come as from `insert`,
        one for each chunk of at most 8,192 triples of a batch.
        """
        return self._insert(column_requests(collection, batches))

    def _insert(self, requests: Iterator[InsertRequest]) -> Iterator[t.InsertAck]:
        window = InsertWindow()
        outbox: SimpleQueue[InsertRequest | None] = SimpleQueue()
        with self._named_errors():
            acks = self._stubs["Knowledge"].Insert(iter(outbox.get, None))
            try:
                for request in requests:
                    window.sent(request)
                    outbox.put(request)
                    if window.full:
                        yield window.acked(next(acks, None))
                outbox.put(None)
                while window:
                    yield window.acked(next(acks, None))
                if next(acks, None) is not None:
                    raise Internal("the server acked more chunks than were sent")
            finally:
                outbox.put(None)
                acks.cancel()

    def delete(self, collection: str, ids: Iterable[int] = (), triples: Iterable[TripleLike] = ()) -> core.Deleted:
        """Delete entries by id and by triple; an entry's inverse goes with it."""
        done = [self._answer(call) for call in core.delete(collection, ids, triples)]
        return core.Deleted(sum(d.deleted for d in done), sum(d.missing for d in done))

    def get(
        self, collection: str, ids: Iterable[int], texts: bool = False, keys: bool = False, values: bool = False
    ) -> list[t.Entry]:
        """Entries by id, in the order asked for; ids that are not there are left out.

        `texts`, `keys` and `values` say what comes along beyond the triple.
        """
        return [entry for call in core.get(collection, ids, texts, keys, values) for entry in self._answer(call)]

    def find(self, collection: str, triples: TripleColumns | Iterable[TripleLike]) -> t.Ids:
        """The entry of each of N triples: u64 (N,), 0 where it is not there. Their sources don't count."""
        found = [self._answer(call) for call in core.find(collection, triples)]
        return np.concatenate([np.zeros(0, np.uint64), *found])

    def scan(
        self,
        collection: str,
        after: int = 0,
        limit: int = 0,
        head: str = "",
        relation: str = "",
        texts: bool = False,
        keys: bool = False,
        values: bool = False,
    ) -> Iterator[t.Entry]:
        """Entries in id order from above `after`, at most `limit` (0: all), of one head or relation if given."""
        for entries in self._stream(core.scan(collection, after, limit, head, relation, texts, keys, values)):
            yield from entries

    def count(self, collection: str) -> int:
        """The number of entries, inverse ones included."""
        return self._answer(core.count(collection))

    def search(self, collection: str, text: str, k: int = 10, exact: bool = False) -> list[t.Hit]:
        """The k entries whose keys are nearest to a text; `exact` compares with every key."""
        return self._answer(core.search(collection, text, k, exact))

    def encode(self, collection: str, texts: Sequence[str]) -> t.Vectors:
        """Unit vectors (N, D) of N texts by the collection's encoder. InvalidArgument for no text at all."""
        if not texts:
            raise InvalidArgument("there is no text to encode")
        parts = [self._answer(call) for call in core.encode(collection, texts)]
        return t.Vectors(np.concatenate([p.data for p in parts]), np.concatenate([p.scales for p in parts]))

    # Retrieval

    def fetch(
        self, collection: str, rows: VectorsLike, k: int, beams: t.Beams | None = None, exact: bool = False
    ) -> t.Block:
        """The k best entries for rows (R, D), float or int8. For many fetches, `fetch_stream` is faster."""
        with self.fetch_stream(collection) as stream:
            return stream.fetch(rows, k, beams, exact)

    def explain(
        self,
        collection: str,
        asked: VectorsLike | str,
        k: int = 10,
        ids: Iterable[int] = (),
        triples: Iterable[TripleLike] = (),
        beams: t.Beams | None = None,
    ) -> tuple[t.Block, t.Explanation]:
        """The block that `fetch` gives for rows, or `search` looks for with a text, and how it came about.

        The explanation has a verdict on each entry named by `ids`, then on each named by `triples`, 64 at most;
        there may be 256 rows. FailedPrecondition from a server that can't explain.
        """
        about = core.about(ids, triples)
        rows = text_row(self.encode(collection, [core.searched(asked)])) if isinstance(asked, str) else asked
        with self.fetch_stream(collection) as stream:
            block = stream.fetch(rows, k, beams, explain=about)
        return block, core.explanation_of(block, self.target)

    def fetch_stream(self, collection: str) -> FetchStream:
        """A stream for many fetches from one thread; any number may be open."""
        return FetchStream(self._channel, self.target, collection)

    # Admin

    def stats(self, collection: str = "") -> StoreStats:
        """Numbers of one collection, or of all."""
        return self._answer(core.stats(collection))

    def build(self, collection: str, seed: int = 0) -> Iterator[t.Progress]:
        """Build the tree; the last progress has the generation. Dropping the iterator stops the build."""
        return self._stream(core.build(collection, seed))

    def verify(self, collection: str = "", cursor: bytes = b"", bytes_per_second: int = 0) -> Iterator[t.Progress]:
        """Check every record of a collection, or of all; damage comes as sentences.

        `cursor`, of the last progress of a verification that was cut off, goes on there; `bytes_per_second` 0: as fast
        as can be.
        """
        return self._stream(core.verify(collection, cursor, bytes_per_second))

    def repair(self, collection: str = "", dry_run: bool = False) -> Iterator[RepairProgress]:
        """Put right what is damaged in a collection, or in all; `dry_run` says what would be done."""
        return self._stream(core.repair(collection, dry_run))

    def compact(
        self, dry_run: bool = False, bytes_per_second: int = 0, max_seconds: float = 0.0
    ) -> Iterator[CompactProgress]:
        """Drop what deleted entries leave and give free pages back to the disk, while all goes on.

        The last progress says what that freed; `dry_run` only says what it would. Dropping the iterator stops it, as
        does `max_seconds` (Cancelled); the next compaction goes on from there.
        """
        return self._stream(core.compact(dry_run, bytes_per_second, max_seconds))

    def create_snapshot(self, name: str = "", bytes_per_second: int = 0) -> Iterator[SnapshotProgress]:
        """Copy the store as it is at one moment, and check the copy; the last progress has the snapshot.

        `name` "": the time.
        """
        return self._stream(core.create_snapshot(name, bytes_per_second))

    def list_snapshots(self) -> list[Snapshot]:
        """All, oldest first."""
        return self._answer(core.list_snapshots())

    def verify_snapshot(self, name: str) -> Iterator[SnapshotProgress]:
        """Check a snapshot as a whole; the last progress has what is wrong."""
        return self._stream(core.verify_snapshot(name))

    def delete_snapshot(self, name: str) -> int:
        """Remove a snapshot; the bytes that it took."""
        return self._answer(core.delete_snapshot(name))

    # Carrying out

    def _answer(self, call: core.Call[R]) -> R:
        with self._named_errors():
            timeout = None if call.patient else self._timeout
            return call.read(self._method(call)(call.request, timeout=timeout))

    def _stream(self, call: core.Call[R]) -> Iterator[R]:
        with self._named_errors():
            messages = self._method(call)(call.request)
            try:
                for message in messages:
                    yield call.read(message)
            finally:
                messages.cancel()

    def _method(self, call: core.Call[Any]) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._stubs[call.service], call.method)
        return method

    @contextmanager
    def _named_errors(self) -> Iterator[None]:
        try:
            yield
        except grpc.RpcError as error:
            raise core.error_for(error.code().name, error.details(), self.target) from None
