"""What the benches share: a server as a process of its own, and the graphs to measure on."""

import json
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil

from atlasdb_client.client import Client, connect
from atlasdb_client.readers import TripleFile
from atlasdb_contract.types import Triple

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "bench" / "results"
"""What `make bench` leaves."""
SAMPLE = ROOT / "examples" / "sample.tsv"
SHARED = ROOT.parent / "shared" / "data"
"""Real graphs beside the repository, where there are any."""


def graph_file(name: str) -> Path:
    """A real graph's training file if it is here, else the sample graph; says which."""
    path = SHARED / f"{name}.train.tsv.gz"
    if path.is_file():
        return path
    print(f"{path.name} is not here: measuring on {SAMPLE.name} instead", file=sys.stderr)
    return SAMPLE


def triples(path: Path) -> list[Triple]:
    """All good lines of a file."""
    with TripleFile(path) as file:
        return [item for item in file if isinstance(item, Triple)]


@contextmanager
def served(folder: Path | None = None, *flags: str) -> Iterator[Client]:
    """A client of a fresh `atlasdb serve`, over its unix socket; `folder` keeps the data, else it is temporary."""
    with TemporaryDirectory(prefix="atlasdb-bench-") as scratch:
        data = folder or Path(scratch) / "data"
        socket = Path(scratch) / "atlas.sock"
        command = [sys.executable, "-m", "atlasdb", "--data", str(data), "--listen", "127.0.0.1:0"]
        process = subprocess.Popen([*command, "--socket", str(socket), *flags], stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise SystemExit(f"the server ended with {process.wait()}")
            with connect(f"unix:{socket}", timeout=600) as client:
                yield client
        finally:
            process.terminate()
            process.wait(timeout=60)


@dataclass(frozen=True)
class Running:
    """A server with its targets by transport."""

    process: psutil.Process
    targets: dict[str, str]

    def seconds(self) -> dict[int, float]:
        """Processor time of the writer and of each reader so far."""
        every = [self.process, *self.process.children()]
        times = {each.pid: each.cpu_times() for each in every}
        return {pid: spent.user + spent.system for pid, spent in times.items()}

    def processes(self) -> list[int]:
        """The server, and all that it started."""
        return [self.process.pid, *(child.pid for child in self.process.children(recursive=True))]


@contextmanager
def listening(data: Path, workers: int = 1) -> Iterator[Running]:
    """`atlasdb serve` with so many workers on a folder, awake: its encoder loads no weights later."""
    with TemporaryDirectory(prefix="atlasdb-bench-") as scratch, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
        free.close()
        path = f"{scratch}/atlas.sock"
        command = [sys.executable, "-m", "atlasdb", "--data", str(data), "--listen", address, "--socket", path]
        command += ["--workers", str(workers), "--encoder-workers", "1"]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        try:
            assert process.stdout is not None
            if not process.stdout.readline():
                raise SystemExit(f"the server ended with {process.wait()}")
            with connect(address, timeout=600) as client:
                client.create_collection("warm", if_missing=True)
                client.encode("warm", ["a text that wakes the encoder, so that it loads no weights later"])
            yield Running(psutil.Process(process.pid), {"tcp": address, "unix": f"unix:{path}"})
        finally:
            process.terminate()
            process.wait(60)


def built(client: Client, collection: str) -> None:
    """Build the tree of a collection."""
    for _ in client.build(collection):
        pass


def show(rows: Sequence[dict[str, Any]], as_json: bool) -> None:
    """A table, of all columns that a row has; or JSON."""
    if as_json:
        print(json.dumps(list(rows), indent=2))
        return
    names = list(dict.fromkeys(name for row in rows for name in row))
    cells = [[_cell(row.get(name)) for name in names] for row in rows]
    widths = [max(len(name), *(len(line[i]) for line in cells)) for i, name in enumerate(names)]
    for line in [names, *cells]:
        print("  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)))


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.3f}" if abs(value) < 100 else f"{value:,.0f}"
    if value is None:
        return ""
    return f"{value:,}" if isinstance(value, int) else str(value)
