"""The Retrieval service: rows in, a Block out."""

import threading
from collections.abc import Iterator
from contextlib import nullcontext

import grpc

from atlasdb.engine.database import Database
from atlasdb.service.lifetime import Lifetime
from atlasdb.service.limits import check_explain
from atlasdb_contract.codec import about_from_proto, block_to_proto, vectors_from_proto
from atlasdb_contract.types import Beams
from atlasdb_contract.v1 import retrieval_pb2 as rpb
from atlasdb_contract.v1 import retrieval_pb2_grpc as rgrpc

AT_ONCE = 2
"""Fetches in hand at the same moment: what one does outside Python's lock runs beside another. More of them take the
lock from each other: 8 clients of one process get 1,360 fetches a second instead of 1,160 (bench/streams.py). A scan of
all entries is long and mostly outside the lock, so it takes no place."""


class Retrieval(rgrpc.RetrievalServicer):
    """Fetches, each answered before the next of its stream is read."""

    def __init__(self, database: Database, lifetime: Lifetime) -> None:
        self._database = database
        self._lifetime = lifetime
        self._places = threading.Semaphore(AT_ONCE)

    def Fetch(self, requests: Iterator[rpb.FetchRequest], _: grpc.ServicerContext) -> Iterator[rpb.Block]:  # noqa: N802
        """One Block for each request, in order."""
        for request in requests:
            with self._lifetime.work():
                with nullcontext() if request.exact else self._places:
                    block = self._block(request)
                yield block
                del block  # its stream may wait for long

    def _block(self, request: rpb.FetchRequest) -> rpb.Block:
        name, rows = request.collection, vectors_from_proto(request.rows, "rows")
        beams = Beams(request.beams.root, request.beams.inter)
        if request.explain or request.about or request.about_triples:
            check_explain(request)
            about = about_from_proto(request)
            block = self._database.explain(name, rows, request.k, beams, about, request.sequence)
        else:
            block = self._database.fetch(name, rows, request.k, beams, request.exact, request.sequence)
        return block_to_proto(block)
