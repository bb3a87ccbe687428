"""What one fetch costs on the way: gRPC's sync server against grpc.aio, over a unix socket and over TCP.

    python bench/roundtrip.py [--fetches N] [--rounds N] [--json]

Each server is a process of its own and answers blocks of k entries with D = 384. "sync", "direct" (sync with
atlasdb/service/direct.py), "aio" and "aio+thread" (a handler that hands its work to a thread, as it must where a
descent takes a millisecond) answer a ready block: the wire alone. "atlasdb" is the real server on a collection of 64
entries. All are asked by atlasdb_client, a fetch at a time on each stream, the servers in turns; p50 and p99 are of
single round trips in a server's best turn.

All poll as atlasdb_contract/polling.py has it; for gRPC's own way run it with GRPC_EXPERIMENTS=event_engine_client.
"""

import argparse
import asyncio
import json
import multiprocessing
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent import futures
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from atlasdb_client import Client, CollectionConfig, Triple, connect
from atlasdb_client.fetch import METHOD
from atlasdb_contract import codec
from atlasdb_contract import types as t
from atlasdb_contract.ids import Generation
from atlasdb_contract.v1 import retrieval_pb2 as rpb
from atlasdb_contract.v1 import retrieval_pb2_grpc as rgrpc

DIMENSION = 384
ROWS = 4
ENTRIES = 64
THREADS = 8
WARM_UP = 20


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    server: str
    transport: str
    k: int
    streams: int
    p50_us: float
    p99_us: float
    per_second: float


def vectors(count: int) -> t.Vectors:
    return codec.quantise(np.random.default_rng(0).standard_normal((count, DIMENSION)))


def ready_block(request: rpb.FetchRequest) -> rpb.Block:
    """What decoding and encoding a fetch costs, and nothing else."""
    codec.vectors_from_proto(request.rows, "rows")
    block = BLOCKS[request.k]
    return codec.block_to_proto(
        t.Block(block.ids, block.keys, block.values, block.scores, block.generation, block.cost, request.sequence)
    )


def made_block(k: int) -> t.Block:
    ids, scores = np.arange(k, dtype=np.uint64), np.ones(k, np.float32)
    return t.Block(ids, vectors(k), vectors(k), scores, Generation(0), t.FetchCost())


BLOCKS = {k: made_block(k) for k in (1, ENTRIES)}


class Sync(rgrpc.RetrievalServicer):
    def Fetch(self, requests: Iterator[rpb.FetchRequest], _: Any) -> Iterator[rpb.Block]:  # noqa: N802
        yield from map(ready_block, requests)


class Aio(rgrpc.RetrievalServicer):
    """Answers on the event loop, or in a thread where it has a pool."""

    def __init__(self, pool: futures.Executor | None) -> None:
        self.pool = pool

    async def Fetch(self, requests: AsyncIterator[rpb.FetchRequest], _: Any) -> AsyncIterator[rpb.Block]:  # noqa: N802
        loop = asyncio.get_running_loop()
        async for request in requests:
            yield await loop.run_in_executor(self.pool, ready_block, request) if self.pool else ready_block(request)


def serve_sync(folder: str, ready: Connection, directly: bool = False) -> None:
    import grpc

    threads = futures.ThreadPoolExecutor(THREADS)
    server = grpc.server(threads, options=codec.GRPC_OPTIONS)
    direct = None
    if directly:
        from atlasdb.service.direct import Direct

        handler = grpc.stream_stream_rpc_method_handler(
            Sync().Fetch, rpb.FetchRequest.FromString, rpb.Block.SerializeToString
        )
        direct = Direct(server, METHOD, handler, threads)
    else:
        rgrpc.add_RetrievalServicer_to_server(Sync(), server)
    port = server.add_insecure_port("127.0.0.1:0")
    server.add_insecure_port(f"unix:{folder}/socket")
    server.start()
    if direct is not None:
        direct.await_call()
    ready.send(f"127.0.0.1:{port}")
    server.wait_for_termination()


def serve_direct(folder: str, ready: Connection) -> None:
    serve_sync(folder, ready, directly=True)


def serve_aio(folder: str, ready: Connection, threads: int = 0) -> None:
    import grpc

    async def serve() -> None:
        server = grpc.aio.server(options=codec.GRPC_OPTIONS)
        pool = futures.ThreadPoolExecutor(threads) if threads else None
        rgrpc.add_RetrievalServicer_to_server(Aio(pool), server)
        port = server.add_insecure_port("127.0.0.1:0")
        server.add_insecure_port(f"unix:{folder}/socket")
        await server.start()
        ready.send(f"127.0.0.1:{port}")
        await server.wait_for_termination()

    asyncio.run(serve())


def serve_aio_in_threads(folder: str, ready: Connection) -> None:
    serve_aio(folder, ready, THREADS)


def serve_atlasdb(folder: str, ready: Connection) -> None:
    from atlasdb.engine.database import Database
    from atlasdb.service.server import Server
    from atlasdb.settings import Settings

    settings = Settings(data=Path(folder) / "data", listen="127.0.0.1:0", socket=Path(folder) / "socket")
    with Database.open(settings.data, 1 << 30) as database:
        server = Server(database, settings)
        server.start()
        with connect(server.address) as client:
            client.create_collection("facts", CollectionConfig(encoder=t.NO_ENCODER, dimension=DIMENSION))
            triples = [Triple(f"head {n}", "relation", f"tail {n}") for n in range(ENTRIES)]
            list(client.insert("facts", triples, vectors(ENTRIES), vectors(ENTRIES)))
        ready.send(server.address)
        threading.Event().wait()


SERVERS: dict[str, Callable[[str, Connection], None]] = {
    "sync": serve_sync,
    "direct": serve_direct,
    "aio": serve_aio,
    "aio+thread": serve_aio_in_threads,
    "atlasdb": serve_atlasdb,
}


def measured(target: str, k: int, streams: int, fetches: int) -> tuple[float, float, float]:
    """p50 and p99 of a round trip in microseconds, and fetches a second over all streams."""
    took: list[float] = []

    def ask(client: Client) -> None:
        rows = vectors(ROWS)
        with client.fetch_stream("facts") as stream:
            for _ in range(WARM_UP):
                stream.fetch(rows, k)
            barrier.wait()
            for _ in range(fetches // streams):
                before = time.perf_counter()
                stream.fetch(rows, k)
                took.append(time.perf_counter() - before)

    barrier = threading.Barrier(streams + 1)
    with connect(target) as client:
        threads = [threading.Thread(target=ask, args=(client,)) for _ in range(streams)]
        for thread in threads:
            thread.start()
        barrier.wait()
        started = time.perf_counter()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - started
    p50, p99 = np.percentile(np.array(took) * 1e6, [50, 99])
    return float(p50), float(p99), len(took) / seconds


@contextmanager
def running() -> Iterator[dict[tuple[str, str], str]]:
    """All servers, each in its process: (server, transport) -> target. Idle ones cost nothing."""
    spawning = multiprocessing.get_context("spawn")
    targets: dict[tuple[str, str], str] = {}
    with ExitStack() as stack:
        for name, serve in SERVERS.items():
            folder = stack.enter_context(tempfile.TemporaryDirectory())
            ours, theirs = spawning.Pipe()
            process = spawning.Process(target=serve, args=(folder, theirs), daemon=True)
            process.start()
            stack.callback(process.join)
            stack.callback(process.kill)
            targets[name, "tcp"] = ours.recv()
            targets[name, "unix"] = f"unix:{folder}/socket"
        yield targets


def bench(fetches: int, rounds: int) -> list[Line]:
    """The best of `rounds` for each line, the servers taking turns: another program's load is not theirs."""
    best: dict[tuple[str, str, int, int], Line] = {}
    with running() as targets:
        for _ in range(rounds):
            for (name, transport), target in targets.items():
                for k, streams in ((1, 1), (ENTRIES, 1), (ENTRIES, 4)):
                    line = Line(name, transport, k, streams, *measured(target, k, streams, fetches // rounds))
                    known = best.setdefault((name, transport, k, streams), line)
                    if line.p50_us < known.p50_us:
                        best[name, transport, k, streams] = line
    return list(best.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fetches", type=int, default=3000, metavar="N", help="fetches of each line (default 3000)")
    parser.add_argument("--rounds", type=int, default=10, metavar="N", help="in so many turns (default 10)")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of the table")
    flags = parser.parse_args()
    lines = bench(flags.fetches, flags.rounds)
    if flags.json:
        print(json.dumps([asdict(line) for line in lines], indent=1))
        return
    print(f"{'server':<12}{'transport':<11}{'k':>4}{'streams':>9}{'p50 us':>9}{'p99 us':>9}{'fetches/s':>11}")
    for line in lines:
        print(
            f"{line.server:<12}{line.transport:<11}{line.k:>4}{line.streams:>9}"
            f"{line.p50_us:>9.0f}{line.p99_us:>9.0f}{line.per_second:>11.0f}"
        )


if __name__ == "__main__":
    main()
