"""Fetches a second: C clients, each a process with one stream, against N workers, over TCP and over the unix socket.

    python bench/streams.py [--workers 1,2] [--clients 1,8] [--entries N] [--seconds S] [--rounds N] [-k K] [--json]

Each client asks for one block after another with R = 4 rows near a stored key (D = 384, drawn, about five entries to a
head). Over TCP the system spreads connections over the workers as it likes; the unix socket is the writer's alone. A
line is the best of its rounds, in which the servers take turns. *cores*: processor time of all of a server's processes
over the time; *busiest*: how much of it the one that had most to do took. Clients need processors too: where there are
fewer than clients and workers together, they are what is measured.
"""

import argparse
import multiprocessing
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np
from store import Running, built, listening, show

from atlasdb_client import CollectionConfig, Triple, connect
from atlasdb_contract import codec
from atlasdb_contract.types import NO_ENCODER, Vectors

DIMENSION = 384
ROWS = 4
LENGTH = 16.0
"""Of a row: about a trained reader's temperature."""
WARM_UP = 50
NAME = "facts"


@dataclass(frozen=True)
class Line:
    """One row of the table."""

    workers: int
    transport: str
    clients: int
    per_second: float
    p50_us: float
    p99_us: float
    cores: float
    busiest: float


def floats(entries: int) -> np.ndarray:
    """Unit vectors, float32 (N, D): heads at random, their entries near them."""
    draw = np.random.default_rng(0)
    heads = draw.standard_normal((max(1, entries // 5), DIMENSION), np.float32)
    keys = heads[np.arange(entries) % len(heads)] + 0.7 * draw.standard_normal((entries, DIMENSION), np.float32)
    return keys / np.linalg.norm(keys, axis=1, keepdims=True)


def requests(entries: int, seed: int) -> list[Vectors]:
    """What one client asks for, over and over."""
    draw = np.random.default_rng(seed)
    wanted = floats(entries)[draw.integers(0, entries, 64)]
    noise = draw.standard_normal((64, ROWS, DIMENSION), np.float32) / np.sqrt(DIMENSION)
    return [codec.quantise(LENGTH * (key + 0.3 * each)) for key, each in zip(wanted, noise, strict=True)]


def fill(target: str, entries: int) -> None:
    """The collection, with its tree."""
    vectors = codec.quantise(floats(entries))
    heads = max(1, entries // 5)
    triples = [Triple(f"head {n % heads}", f"relation {n // heads}", f"tail {n}") for n in range(entries)]
    with connect(target, timeout=600) as client:
        client.create_collection(NAME, CollectionConfig(encoder=NO_ENCODER, dimension=DIMENSION))
        for _ in client.insert(NAME, triples, vectors, vectors):
            pass
        built(client, NAME)


def ask(target: str, wanted: Sequence[Vectors], k: int, seconds: float, pipe: Connection) -> None:
    """One client: says that it is warm, begins when told, and gives the seconds of each of its round trips."""
    took: list[float] = []
    with connect(target) as client, client.fetch_stream(NAME) as stream:
        for turn in range(WARM_UP):
            stream.fetch(wanted[turn % len(wanted)], k)
        pipe.send(None)
        pipe.recv()
        end = time.perf_counter() + seconds
        while (before := time.perf_counter()) < end:
            stream.fetch(wanted[len(took) % len(wanted)], k)
            took.append(time.perf_counter() - before)
    pipe.send(took)


def measured(
    server: Running, workers: int, transport: str, asked: Sequence[Sequence[Vectors]], k: int, seconds: float
) -> Line:
    """One line, of one round; a client for each list of fetches."""
    spawning = multiprocessing.get_context("spawn")
    pipes = [spawning.Pipe() for _ in asked]
    target = server.targets[transport]
    processes = [
        spawning.Process(target=ask, args=(target, wanted, k, seconds, theirs), daemon=True)
        for wanted, (_, theirs) in zip(asked, pipes, strict=True)
    ]
    for process in processes:
        process.start()
    for ours, _ in pipes:
        ours.recv()
    before = server.seconds()
    started = time.perf_counter()
    for ours, _ in pipes:
        ours.send(None)
    took = [each for ours, _ in pipes for each in ours.recv()]
    passed = time.perf_counter() - started
    spent = [after - before.get(pid, after) for pid, after in server.seconds().items()]
    for process in processes:
        process.join()
    p50, p99 = np.percentile(np.array(took) * 1e6, [50, 99])
    busiest = max(spent) / max(sum(spent), 1e-9)
    return Line(
        workers, transport, len(asked), len(took) / passed, float(p50), float(p99), sum(spent) / passed, busiest
    )


def bench(flags: argparse.Namespace) -> list[Line]:
    """The best of the rounds for each line."""
    best: dict[tuple[int, str, int], Line] = {}
    with tempfile.TemporaryDirectory(prefix="atlasdb-bench-") as scratch:
        data = Path(scratch) / "data"
        with listening(data, 1) as server:
            fill(server.targets["unix"], flags.entries)
        for _ in range(flags.rounds):
            for workers in flags.workers:
                with listening(data, workers) as server:
                    for transport in server.targets:
                        for clients in flags.clients:
                            asked = [requests(flags.entries, seed) for seed in range(clients)]
                            line = measured(server, workers, transport, asked, flags.k, flags.seconds)
                            known = best.setdefault((workers, transport, clients), line)
                            if line.per_second > known.per_second:
                                best[workers, transport, clients] = line
    return list(best.values())


def numbers(text: str) -> Sequence[int]:
    """1,2,4."""
    return [int(number) for number in text.split(",")]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workers", type=numbers, default=[1, 2], metavar="N,…", help="of the server (default 1,2)")
    parser.add_argument("--clients", type=numbers, default=[1, 8], metavar="C,…", help="at a time (default 1,8)")
    parser.add_argument("--entries", type=int, default=20_000, metavar="N", help="in the collection (default 20,000)")
    parser.add_argument("--seconds", type=float, default=3.0, metavar="S", help="of each line and round (default 3)")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="of which the best counts (default 3)")
    parser.add_argument("-k", type=int, default=64, help="entries in a block (default 64)")
    parser.add_argument("--json", action="store_true", help="one JSON list instead of the table")
    flags = parser.parse_args()
    show([asdict(line) for line in bench(flags)], flags.json)


if __name__ == "__main__":
    main()
