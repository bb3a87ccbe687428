"""Real servers for tests: one in this process, one as a process of its own; the encoder is loaded once a session."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import hypothesis
import pytest
from serving import Connector, Served, Spawned, Spawner, Wire, serving

from atlasdb.service.encoder import LazyEncoder
from atlasdb_contract import codec

hypothesis.settings.register_profile(
    "patient", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], max_examples=50
)
hypothesis.settings.load_profile("patient")
"""A busy machine is no failure."""


# A shell that runs the tests in its background has SIGINT ignored, and so would every process that tests interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def encoder() -> Iterator[LazyEncoder]:
    """The real encoder in its worker process; it loads while the first test that asks for it begins."""
    with LazyEncoder(workers=1) as running:
        running.warm()
        yield running


@pytest.fixture
def served(tmp_path: Path) -> Iterator[Served]:
    """A server without encoder."""
    yield from serving(tmp_path, None, max_streams=16)


@pytest.fixture(scope="session")
def encoding_served(tmp_path_factory: pytest.TempPathFactory, encoder: LazyEncoder) -> Iterator[Served]:
    """A server with the encoder, shared: use collections of your own."""
    yield from serving(tmp_path_factory.mktemp("encoding"), encoder)


@pytest.fixture
def connect() -> Iterator[Connector]:
    """Makes a Wire for a target; its channel, not shared with any other, is closed at the end."""
    channels: list[grpc.Channel] = []

    def make(target: str) -> Wire:
        channel = grpc.insecure_channel(target, options=(*codec.GRPC_OPTIONS, ("grpc.use_local_subchannel_pool", 1)))
        channels.append(channel)
        return Wire(channel)

    yield make
    for channel in channels:
        channel.close()


@pytest.fixture(params=["tcp", "unix"])
def wire(request: pytest.FixtureRequest, served: Served, connect: Connector) -> Wire:
    """The server without encoder, over TCP and then over the unix socket."""
    return connect(served.targets[request.param])


@pytest.fixture
def encoding_wire(encoding_served: Served, connect: Connector) -> Wire:
    """The server with the encoder."""
    return connect(encoding_served.targets["unix"])


@pytest.fixture
def spawn() -> Iterator[Spawner]:
    """Starts `atlasdb serve` with flags and waits until it listens; what is left is killed at the end."""
    processes: list[subprocess.Popen[str]] = []

    def start(data: Path, *flags: str, listen: str = "127.0.0.1:0") -> Spawned:
        process = subprocess.Popen(
            [sys.executable, "-m", "atlasdb", "--data", str(data), "--listen", listen, *flags],
            stdout=subprocess.PIPE,
            stderr=None if os.environ.get("ATLASDB_TEST_LOG") else subprocess.DEVNULL,
            text=True,
        )
        processes.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line.startswith("atlasdb: serving"), f"the server ended with {process.wait()}"
        return Spawned(process, line)

    yield start
    for process in processes:
        process.kill()
        process.wait()
        if process.stdout is not None:
            process.stdout.close()
