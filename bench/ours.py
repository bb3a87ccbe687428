"""Our store as bench/peers.py measures it: a served collection, filled and asked through the client."""

from collections.abc import Iterator
from contextlib import ExitStack
from typing import ClassVar

import numpy as np
import psutil
from methods import Fetch, Found, resident
from store import built, served
from world import World

from atlasdb_contract.codec import quantise
from atlasdb_contract.types import NO_ENCODER, Beams, CollectionConfig, TripleColumns, Vectors

INSERT = 1 << 15
"""Triples of one call."""


def batches(world: World) -> Iterator[tuple[TripleColumns, Vectors, Vectors]]:
    """A world's entries, with their keys for values."""
    for start in range(0, len(world), INSERT):
        span = slice(start, start + INSERT)
        keys = Vectors(np.array(world.keys.data[span]), world.keys.scales[span])
        texts = zip(world.heads[span].tolist(), world.texts[span].tolist(), strict=True)
        yield TripleColumns.of((f"h{h}", f"t{t}", f"e{start + i}") for i, (h, t) in enumerate(texts)), keys, keys


class Ours:
    """A setting is the beam at INTER; 0: the store's own."""

    name: ClassVar[str] = "atlasdb"
    note: ClassVar[str] = "gRPC, unix socket"
    settings: ClassVar[tuple[int, ...]] = (0, 32, 64, 128, 256, 512)

    def __init__(self, world: World, threads: int) -> None:  # noqa: ARG002 - as the protocol
        self.stack = ExitStack()
        client = self.stack.enter_context(served())
        self.server = psutil.Process().children()[-1].pid
        client.create_collection("peers", CollectionConfig(NO_ENCODER, world.keys.dimension))
        self.empty = resident(self.processes())
        ids = [number for ack in client.insert_columns("peers", batches(world)) for number in ack.ids]
        order = np.array(ids, np.int64)
        self.position = np.full(int(order.max(initial=0)) + 1, -1)
        self.position[order] = np.arange(len(order))
        built(client, "peers")
        self.stream = self.stack.enter_context(client.fetch_stream("peers"))

    @staticmethod
    def needs(entries: int, dimension: int) -> int:
        return entries * (dimension + 64)

    def fetch(self, fetch: Fetch, k: int, setting: int) -> tuple[Found, int]:
        block = self.stream.fetch(quantise(fetch.rows), k, Beams(inter=setting))
        cost = block.cost
        return self.position[block.ids], cost.root_scored + cost.inter_scored + cost.entries_scored

    def least(self, k: int) -> int:  # noqa: ARG002 - as the protocol
        return 0

    def processes(self) -> list[int]:
        """The server, and what it started."""
        server = psutil.Process(self.server)
        return [server.pid, *(child.pid for child in server.children(recursive=True))]

    def close(self) -> None:
        """Ends the server."""
        self.stack.close()
