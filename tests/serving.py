"""A server under test and what talks to it; tests/conftest.py makes fixtures of these."""

import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import grpc
import numpy as np

from atlasdb.engine.database import Database
from atlasdb.service.encoder import LazyEncoder
from atlasdb.service.server import Server
from atlasdb.settings import Settings
from atlasdb_contract import codec
from atlasdb_contract.types import NO_ENCODER, Vectors
from atlasdb_contract.v1 import admin_pb2_grpc, knowledge_pb2_grpc, retrieval_pb2_grpc
from atlasdb_contract.v1 import knowledge_pb2 as kpb

DIMENSION = 16


@dataclass(frozen=True)
class Wire:
    """One channel with the stubs of every service, and the calls that many tests make."""

    channel: grpc.Channel
    knowledge: Any = field(init=False)
    retrieval: Any = field(init=False)
    admin: Any = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "knowledge", knowledge_pb2_grpc.KnowledgeStub(self.channel))
        object.__setattr__(self, "retrieval", retrieval_pb2_grpc.RetrievalStub(self.channel))
        object.__setattr__(self, "admin", admin_pb2_grpc.AdminStub(self.channel))

    def create(self, name: str = "facts", **config: Any) -> kpb.Collection:
        """A collection whose inserts bring vectors, unless `config` says otherwise."""
        chosen = kpb.CollectionConfig(**({"encoder": NO_ENCODER, "dimension": DIMENSION} | config))
        return self.knowledge.CreateCollection(kpb.CreateCollectionRequest(name=name, config=chosen))

    def ask(self, method: str, request: Any) -> Any:
        """The answer of a method of Knowledge or Admin; of one that streams, all of it."""
        stub = self.knowledge if hasattr(self.knowledge, method) else self.admin
        answer = getattr(stub, method)(request, timeout=60)
        return list(answer) if hasattr(answer, "__next__") else answer

    def insert(self, requests: Sequence[kpb.InsertRequest]) -> list[kpb.InsertAck]:
        """All acks of one Insert stream."""
        return list(self.knowledge.Insert(iter(requests), timeout=60))

    def fill(self, count: int, name: str = "facts", seed: int = 0) -> Vectors:
        """`count` triples with random keys, in one or more requests; their keys."""
        keys = random_vectors(count, seed)
        self.insert(list(insert_requests(name, count, keys)))
        return keys


def random_vectors(count: int, seed: int = 0, dimension: int = DIMENSION) -> Vectors:
    """Unit vectors, quantised."""
    floats = np.random.default_rng(seed).standard_normal((count, dimension))
    return codec.quantise(floats / np.linalg.norm(floats, axis=1, keepdims=True))


def triple(number: int) -> kpb.Triple:
    """The fact of a number: ten to a head."""
    return kpb.Triple(head=f"head {number // 10}", relation=f"relation {number % 10}", tail=f"tail {number}")


def insert_requests(name: str, count: int, keys: Vectors) -> Iterator[kpb.InsertRequest]:
    """`count` numbered triples with their vectors, cut as a client cuts them."""
    for sequence, start in enumerate(range(0, count, codec.CHUNK_TRIPLES), 1):
        stop = min(start + codec.CHUNK_TRIPLES, count)
        vectors = codec.vectors_to_proto(keys.take(slice(start, stop)))
        yield kpb.InsertRequest(
            collection=name,
            sequence=sequence,
            triples=[triple(number) for number in range(start, stop)],
            keys=vectors,
            values=vectors,
        )


@dataclass
class Served:
    """A server in this process."""

    database: Database
    server: Server
    settings: Settings

    @property
    def targets(self) -> dict[str, str]:
        """gRPC targets by transport."""
        return {"tcp": self.server.address, "unix": f"unix:{self.settings.socket}"}


def serving(folder: Path, encoder: LazyEncoder | None, **settings: Any) -> Iterator[Served]:
    """Open, start, lend, stop, close."""
    chosen = Settings(data=folder / "data", listen="127.0.0.1:0", socket=folder / "socket", **settings)
    with Database.open(chosen.data, 1 << 30, encoder) as database:
        server = Server(database, chosen, encoder)
        server.start()
        try:
            yield Served(database, server, chosen)
        finally:
            server.stop(5)


@dataclass
class Spawned:
    """`atlasdb serve` as a process. `address` is HOST:PORT, `line` what it said when it listened."""

    process: subprocess.Popen[str]
    line: str

    @property
    def address(self) -> str:
        return self.line.split(" on ")[1].split(" and ")[0].strip()

    def stop(self, number: int = signal.SIGTERM, seconds: float = 20) -> int:
        """Send a signal; the exit status."""
        self.process.send_signal(number)
        return self.process.wait(seconds)


Spawner: TypeAlias = Callable[..., Spawned]
"""Starts `atlasdb serve` on a folder, with more flags, and waits until it listens."""
Connector: TypeAlias = Callable[[str], Wire]
"""Makes a Wire for a gRPC target."""
