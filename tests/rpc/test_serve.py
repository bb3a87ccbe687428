"""`atlasdb serve`: what it says when it listens, and one line with what to do when it can't."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from serving import Connector, Served, Spawner, serving, triple

from atlasdb import format as fmt
from atlasdb.__main__ import main
from atlasdb.engine.database import Database
from atlasdb.service.encoder import LazyEncoder
from atlasdb.settings import Settings, split_address
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import knowledge_pb2 as kpb


@pytest.fixture(autouse=True)
def _own_signals() -> Iterator[None]:
    """`main` takes SIGTERM and SIGINT; give them back."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.fixture
def complaint(capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Runs `main` with flags that can't be served, and gives its one line."""

    def run(*flags: object, status: int = 1) -> str:
        assert main([str(flag) for flag in flags]) == status
        out, line = capfd.readouterr()
        assert not out
        assert line.startswith("atlasdb: error: ")
        assert line.count("\n") == 1
        return line

    return run


def test_it_says_where_it_listens_and_answers_there(tmp_path: Path, spawn: Spawner, connect: Connector) -> None:
    path = tmp_path / "socket"
    server = spawn(tmp_path / "data", "--socket", str(path))
    assert server.line == f"atlasdb: serving {tmp_path / 'data'} on {server.address} and unix:{path}\n"
    for target in (server.address, f"unix:{path}"):
        assert connect(target).admin.Stats(apb.StatsRequest()).format_version == fmt.VERSION
    assert server.stop() == 0
    assert not path.exists()


def test_a_killed_server_starts_again_with_all_it_acked(tmp_path: Path, spawn: Spawner, connect: Connector) -> None:
    """Its socket file, left behind, is in nobody's way."""
    path = tmp_path / "socket"
    server = spawn(tmp_path / "data", "--socket", str(path))
    wire = connect(f"unix:{path}")
    wire.create()
    wire.fill(3000)
    server.stop(signal.SIGKILL)
    assert path.is_socket()
    spawn(tmp_path / "data", "--socket", str(path))
    assert connect(f"unix:{path}").knowledge.Count(kpb.CountRequest(collection="facts")).entries == 3000


def test_settings_come_from_flags_then_the_environment_then_defaults() -> None:
    environment = {"ATLASDB_DATA": "/there", "ATLASDB_MAX_STREAMS": "3", "ATLASDB_LISTEN": "[::1]:5"}
    settings = Settings.gather({"data": None, "max_streams": 7}, environment)
    assert (settings.data, settings.max_streams, settings.listen) == (Path("/there"), 7, "[::1]:5")
    assert settings.socket is None
    with pytest.raises(InvalidArgument, match="ATLASDB_MAX_STREAMS"):
        Settings.gather({}, environment | {"ATLASDB_MAX_STREAMS": "many"})


@pytest.mark.parametrize(
    ("address", "parts"), [("127.0.0.1:7420", ("127.0.0.1", 7420)), ("[::1]:0", ("::1", 0)), ("host:1", ("host", 1))]
)
def test_addresses_are_taken_apart(address: str, parts: tuple[str, int]) -> None:
    assert split_address(address) == parts


@pytest.mark.parametrize("address", ["7420", ":7420", "host:", "host:port", "host:70000", ""])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(InvalidArgument, match="HOST:PORT"):
        split_address(address)


@pytest.mark.parametrize(
    "flags", [[], ["--data"], ["--data", "x", "--nonsense"], ["--data", "x", "--map-bytes", "many"]]
)
def test_wrong_flags_are_status_2(flags: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATLASDB_DATA", raising=False)
    assert main(flags) == 2


def test_a_wrong_address_is_status_2(tmp_path: Path, complaint: Callable[..., str]) -> None:
    assert "HOST:PORT" in complaint("--data", tmp_path, "--listen", "7420", status=2)


def test_help_is_status_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert "--data DIR" in capsys.readouterr().out


def test_a_port_in_use_is_named(tmp_path: Path, served: Served, complaint: Callable[..., str]) -> None:
    line = complaint("--data", tmp_path / "other", "--listen", served.server.address)
    assert served.server.address.split(":")[1] in line
    assert "--listen" in line


def test_an_address_of_another_machine_is_named(tmp_path: Path, complaint: Callable[..., str]) -> None:
    assert "192.0.2.1" in complaint("--data", tmp_path, "--listen", "192.0.2.1:0")


def test_a_folder_that_can_not_be_written_is_named(tmp_path: Path, complaint: Callable[..., str]) -> None:
    (tmp_path / "file").write_text("not a folder")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        assert str(folder) in complaint("--data", folder, "--listen", "127.0.0.1:0")


def test_a_second_server_on_a_folder_is_refused_naming_the_first(served: Served, complaint: Callable[..., str]) -> None:
    line = complaint("--data", served.settings.data, "--listen", "127.0.0.1:0")
    assert str(os.getpid()) in line
    assert "stop" in line


def test_a_newer_format_is_refused_by_its_version(
    tmp_path: Path, complaint: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as future:
        future.setattr(fmt, "VERSION", 99)
        Database.open(tmp_path, 1 << 30).close()
    assert "version 99" in complaint("--data", tmp_path, "--listen", "127.0.0.1:0")


def test_a_socket_path_that_can_not_be_used_is_named(
    tmp_path: Path, served: Served, complaint: Callable[..., str]
) -> None:
    (tmp_path / "file").write_text("not a socket")
    bad = [tmp_path / "file", tmp_path / "missing" / "socket", tmp_path / ("long" * 40), served.settings.socket]
    for number, path in enumerate(bad):
        line = complaint("--data", tmp_path / str(number), "--listen", "127.0.0.1:0", "--socket", path)
        assert "--socket" in line
    assert (tmp_path / "file").exists()
    assert served.settings.socket is not None
    assert served.settings.socket.is_socket(), "a server that listens keeps its socket"


def test_without_an_encoder_only_those_who_need_it_are_told(
    tmp_path: Path, connect: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("atlasdb.ingest.encoder._NEEDED", ("a_package_that_is_not_there",))
    encoder = LazyEncoder(workers=1)
    encoder.warm()
    for served in serving(tmp_path, encoder):
        wire = connect(served.server.address)
        wire.create("vectors")
        wire.fill(3, "vectors")
        with pytest.raises(grpc.RpcError) as error:
            wire.create("texts", encoder="all-MiniLM-L6-v2", dimension=0)
        assert error.value.code() == grpc.StatusCode.FAILED_PRECONDITION
        assert "a_package_that_is_not_there" in error.value.details()
        wire.create("both", encoder="none")
        [ack] = wire.insert([kpb.InsertRequest(collection="both", triples=[triple(1)])])
        assert ack.refused


def test_a_full_disk_under_its_output_ends_no_server(tmp_path: Path, connect: Connector) -> None:
    """What it has to say is lost, and it goes on; /dev/full takes nothing."""
    with Path("/dev/full").open("w") as full:
        command = [sys.executable, "-m", "atlasdb", "--data", tmp_path / "data", "--listen", "127.0.0.1:0"]
        process = subprocess.Popen([*command, "--socket", tmp_path / "s"], stdout=full, stderr=full)
    try:
        wire = connect(f"unix:{tmp_path}/s")
        grpc.channel_ready_future(wire.channel).result(20)
        for _ in range(3):
            with pytest.raises(grpc.RpcError) as error:
                wire.knowledge.Count(kpb.CountRequest(collection="nowhere"), timeout=20)
            assert error.value.code() == grpc.StatusCode.NOT_FOUND
        wire.create()
        wire.fill(10)
        process.send_signal(signal.SIGTERM)
        assert process.wait(20) in (0, 120)  # 120: Python itself could not write its last words
        with Database.open(tmp_path / "data") as database:
            assert database.count("facts") == 10
    finally:
        process.kill()
        process.wait()
