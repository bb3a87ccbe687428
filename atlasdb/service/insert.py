"""The Insert stream: requests taken ahead of their acks, so that encoder and writer always have work.

    reader thread   requests ──▶ Database.insert ──▶ futures, at most DEPTH
    gRPC's thread   acks     ◀── in order         ◀──┘

The reader stops at the first request that can't be taken, and when the server is stopping; what was
taken before is acked first.
"""

import queue
import threading
from collections.abc import Iterator
from concurrent.futures import Future

from atlasdb.engine.database import Database
from atlasdb.engine.draft import Triples
from atlasdb.service.lifetime import Lifetime
from atlasdb.service.limits import check_columns, check_triples
from atlasdb.service.memory import anonymous_bytes
from atlasdb.service.room import Room
from atlasdb_contract.codec import columns_from_proto, vectors_from_proto
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import InsertAck
from atlasdb_contract.v1 import knowledge_pb2 as kpb

DEPTH = 8
"""Requests of one stream in hand. Two keep an encoder busy; eight also halve the commits of a load that brings its
vectors, as those that wait together are written together."""
IN_HAND_BYTES = 256 << 20
"""Requests of all streams in hand, of streams that are gone too: one more is not taken before others are written."""
LEAST_BYTES = 1 << 14
"""What a request counts for at least: what is done for it takes room too."""


class InsertStream:
    """One Insert RPC. `acks` is its answer; the reader thread ends with the RPC."""

    def __init__(
        self, database: Database, lifetime: Lifetime, in_hand: Room, requests: Iterator[kpb.InsertRequest]
    ) -> None:
        """`in_hand` is shared by all streams."""
        self._database = database
        self._in_hand = in_hand
        self._lifetime = lifetime
        self._requests = requests
        self._taken: queue.SimpleQueue[Future[InsertAck] | Exception | None] = queue.SimpleQueue()
        self._room = threading.Semaphore(DEPTH)
        self._lock = threading.Lock()
        self._left = False

    def acks(self) -> Iterator[kpb.InsertAck]:
        """The acks in the order of the requests; an error of request n comes after the acks before it."""
        threading.Thread(target=self._read, name="insert-reader", daemon=True).start()
        try:
            while (taken := self._taken.get()) is not None:
                if isinstance(taken, Exception):
                    raise taken
                try:
                    yield ack_to_proto(taken.result(), anonymous_bytes())
                finally:
                    self._lifetime.end()
                    self._room.release()
        finally:
            self._leave()

    def _read(self) -> None:
        """Take requests while there is room for them; None or an error comes last."""
        try:
            while self._room.acquire() and not self._left and (request := next(self._requests, None)) is not None:
                size = max(LEAST_BYTES, request.ByteSize())
                if not self._in_hand.take(size, lambda: self._left):
                    break
                self._hand_over(self._begun(request, size))
        except Exception as error:  # noqa: BLE001 - raised again in acks()
            self._taken.put(error)
        else:
            self._taken.put(None)

    def _begun(self, request: kpb.InsertRequest, size: int) -> Future[InsertAck]:
        """In hand, and in need of an answer, from here on; its room is given back when it is written."""
        try:
            self._lifetime.begin()
            try:
                future = self._take(request)
            except BaseException:
                self._lifetime.end()
                raise
        except BaseException:
            self._in_hand.give(size)
            raise
        future.add_done_callback(lambda _: self._in_hand.give(size))
        return future

    def _take(self, request: kpb.InsertRequest) -> Future[InsertAck]:
        triples = triples_of(request)
        keys = vectors_from_proto(request.keys, "keys") if request.HasField("keys") else None
        values = vectors_from_proto(request.values, "values") if request.HasField("values") else None
        return self._database.insert(request.collection, triples, keys, values, request.sequence)

    def _hand_over(self, future: Future[InsertAck]) -> None:
        with self._lock:
            if self._left:
                self._lifetime.end()
            else:
                self._taken.put(future)

    def _leave(self) -> None:
        """Nobody waits for the acks any more: what was taken is stored all the same."""
        with self._lock:
            self._left = True
            while not self._taken.empty():
                if isinstance(self._taken.get(), Future):
                    self._lifetime.end()
        self._room.release()


def triples_of(request: kpb.InsertRequest | kpb.FindRequest) -> Triples:
    """Those of a request, in whichever form it has them. InvalidArgument for both, too many, or one too large."""
    if not request.HasField("columns"):
        check_triples(request.triples)
        return request.triples
    if request.triples:
        raise InvalidArgument("a request brings triples or columns, not both; send the rest in another one")
    columns = columns_from_proto(request.columns)
    check_columns(columns)
    return columns


def ack_to_proto(ack: InsertAck, memory: int) -> kpb.InsertAck:
    """An ack for the wire, with the bytes of memory that the server has."""
    return kpb.InsertAck(
        sequence=ack.sequence,
        ids=ack.ids,
        created=ack.created,
        existing=ack.existing,
        refused=[kpb.TripleError(position=refusal.position, reason=refusal.reason) for refusal in ack.refused],
        memory_bytes=memory,
    )
