"""The runtime's hot path: one stream, many fetches."""

from collections import deque
from types import TracebackType

import grpc

from atlasdb_client import core
from atlasdb_client.duplex import Duplex, StreamEnded, open_duplex
from atlasdb_client.inserting import VectorsLike
from atlasdb_contract.errors import FailedPrecondition
from atlasdb_contract.types import About, Beams, Block
from atlasdb_contract.v1.retrieval_pb2 import Block as BlockMessage

METHOD = "/atlasdb.v1.Retrieval/Fetch"


class FetchStream:
    """Fetches from one collection over one bidirectional stream, for one thread at a time.

    `fetch` is a round trip; `send` and `receive` are its halves, so that several fetches can be under
    way (the next KB layer's rows while this one's block travels). After an error the fetches under way
    are lost and the next `send` opens a new stream: a server that was restarted is found again.
    """

    def __init__(self, channel: grpc.Channel, target: str, collection: str) -> None:
        self.collection = collection
        self._channel = channel
        self._target = target
        self._duplex: Duplex | None = None
        self._sequence = 0
        self._waiting: deque[int] = deque()

    def __enter__(self) -> "FetchStream":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __len__(self) -> int:
        """Fetches sent and not received."""
        return len(self._waiting)

    def fetch(
        self,
        rows: VectorsLike,
        k: int,
        beams: Beams | None = None,
        exact: bool = False,
        explain: About | None = None,
    ) -> Block:
        """Rows (R, D), float or int8, to the Block of the k best entries (design (4)).

        With `explain`, which may name no entry, the Block has its explanation; not together with `exact`.
        FailedPrecondition while sent fetches wait to be received; otherwise the store's errors.
        """
        if self._waiting:
            raise FailedPrecondition(f"{len(self._waiting)} fetches were sent and not received; receive them first")
        self.send(rows, k, beams, exact, explain)
        return self.receive()

    def send(
        self,
        rows: VectorsLike,
        k: int,
        beams: Beams | None = None,
        exact: bool = False,
        explain: About | None = None,
    ) -> int:
        """Send a fetch without waiting for its Block. Returns its sequence number."""
        request = core.fetch_request(self.collection, rows, k, beams, exact, self._sequence + 1, explain)
        if self._duplex is None:
            self._duplex = open_duplex(self._channel, METHOD)
        try:
            self._duplex.send(request.SerializeToString())
        except StreamEnded as end:
            raise self._failed(end) from None
        self._sequence += 1
        self._waiting.append(self._sequence)
        return self._sequence

    def receive(self) -> Block:
        """The Block of the oldest fetch not yet received. FailedPrecondition when there is none."""
        if self._duplex is None or not self._waiting:
            raise FailedPrecondition("no fetch is under way; send one first")
        try:
            message = self._duplex.receive()
        except StreamEnded as end:
            raise self._failed(end) from None
        return core.fetch_reply(BlockMessage.FromString(message), self._waiting.popleft())

    def close(self) -> None:
        """End the stream; what is under way is lost."""
        self._waiting.clear()
        if self._duplex is not None:
            duplex, self._duplex = self._duplex, None
            duplex.close()

    def _failed(self, end: StreamEnded) -> Exception:
        self.close()
        status = "UNAVAILABLE" if end.status == "OK" else end.status
        return core.error_for(status, end.details, self._target)
