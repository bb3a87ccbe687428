"""Our store as bench/peers.py measures it: a collection that was filled and built, served, and asked through the
client."""

from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from loading import NAME, fill
from methods import Fetch, Found, resident
from store import listening
from world import World

from atlasdb_client.client import connect
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Beams


class Ours:
    """A setting is the beam at INTER; 0: the store's own."""

    name: ClassVar[str] = "atlasdb"
    note: ClassVar[str] = "gRPC, unix socket"
    settings: ClassVar[tuple[int, ...]] = (0, 32, 64, 128, 256, 512)

    def __init__(self, world: World, threads: int) -> None:  # noqa: ARG002 - as the protocol
        self.stack = ExitStack()
        scratch = Path(self.stack.enter_context(TemporaryDirectory(prefix="atlasdb-peers-")))
        loaded = fill(scratch / "data", world)
        self.position, self.seconds = loaded.position, loaded.marks[-1][1] + loaded.build
        self.server = self.stack.enter_context(listening(scratch / "data"))
        client = self.stack.enter_context(connect(self.server.targets["unix"], timeout=600))
        self.stream = self.stack.enter_context(client.fetch_stream(NAME))

    @staticmethod
    def needs(entries: int, dimension: int) -> int:
        return entries * (dimension + 320)

    def fetch(self, fetch: Fetch, k: int, setting: int) -> tuple[Found, int]:
        block = self.stream.fetch(quantise(fetch.rows), k, Beams(inter=setting))
        cost = block.cost
        return self.position[block.ids], cost.root_scored + cost.inter_scored + cost.entries_scored

    @property
    def empty(self) -> int:
        """Of a server that has nothing to serve."""
        with TemporaryDirectory(prefix="atlasdb-peers-") as scratch, listening(Path(scratch) / "data") as server:
            return resident(server.processes())

    def processes(self) -> list[int]:
        """The server, and what it started."""
        return self.server.processes()

    def close(self) -> None:
        """Ends the server."""
        self.stack.close()
