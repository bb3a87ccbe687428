"""`atlasdb serve --workers N`: whichever process a client reaches, it is the same store; they live and die as one."""

import queue
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import grpc
import numpy as np
import psutil
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc
from serving import Connector, Spawned, Spawner, Wire, insert_requests, random_vectors, triple

from atlasdb.__main__ import main
from atlasdb.service import keeper
from atlasdb.service.keeper import Keeper
from atlasdb.service.server import SERVICES
from atlasdb.settings import Settings
from atlasdb_contract import codec
from atlasdb_contract.errors import FailedPrecondition
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1 import retrieval_pb2 as rpb

Reach = Callable[[int], Wire]


def readers_of(server: Spawned) -> list[int]:
    """The pids of its readers that are alive."""
    found = []
    for child in psutil.Process(server.process.pid).children():
        with suppress(psutil.NoSuchProcess):  # a zombie is none
            if "atlasdb.service.reader" in child.cmdline():
                found.append(child.pid)
    return found


def connections(pid: int, port: int) -> int:
    """How many clients a process has on a port."""
    found = psutil.Process(pid).net_connections("tcp")
    return sum(each.laddr.port == port and each.status == psutil.CONN_ESTABLISHED for each in found)


def until(true: Callable[[], bool], seconds: float = 20) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def gone(pids: list[int]) -> bool:
    return not any(alive(pid) for pid in pids)


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the server makes its folder for temporary files."""
    path = tmp_path / "tmp"
    path.mkdir()
    monkeypatch.setenv("TMPDIR", str(path))
    return path


@pytest.fixture
def server(tmp_path: Path, scratch: Path, spawn: Spawner) -> Spawned:
    """A writer with one reader."""
    flags = ("--workers", "2", "--encoder-workers", "1", "--map-bytes", str(1 << 30))
    return spawn(tmp_path / "data", *flags)


@pytest.fixture
def reach(server: Spawned, connect: Connector) -> Reach:
    """A connection to one process of the server: the system chooses, so ask until it chose that one."""
    port = int(server.address.rpartition(":")[2])

    def to(pid: int) -> Wire:
        for _ in range(100):
            before = connections(pid, port)
            wire = connect(server.address)
            grpc.channel_ready_future(wire.channel).result(10)
            if connections(pid, port) > before:
                return wire
            wire.channel.close()
        raise AssertionError("the system never chose it")

    return to


@pytest.fixture
def wires(server: Spawned, reach: Reach) -> list[Wire]:
    """To the writer, and to the reader."""
    [reader] = readers_of(server)
    return [reach(server.process.pid), reach(reader)]


def fetch(wire: Wire, rows: codec.t.Vectors, k: int = 1, name: str = "facts") -> list[int]:
    request = rpb.FetchRequest(collection=name, rows=codec.vectors_to_proto(rows), k=k, exact=True)
    [block] = wire.retrieval.Fetch(iter([request]), timeout=20)
    return ids_of(block)


def ids_of(block: rpb.Block) -> list[int]:
    return np.frombuffer(block.ids, "<u8").tolist()


def test_what_either_stores_is_in_the_next_fetch_of_all(wires: list[Wire]) -> None:
    writer, reader = wires
    for turn, (through, other) in enumerate(((writer, reader), (reader, writer))):
        name = f"facts-{turn}"
        through.create(name)
        for count in (10, 20, 3000):
            keys = through.fill(count, name, seed=count)
            for wire in (other, through):
                last = keys.take(slice(count - 1, count))
                [found] = fetch(wire, last, name=name)
                assert wire.knowledge.Count(kpb.CountRequest(collection=name)).entries == found == count


def test_all_follow_to_a_compacted_file(wires: list[Wire]) -> None:
    wires[0].create()
    keys = wires[0].fill(4000)
    for turn in range(2):
        ids = range(1 + 1500 * turn, 1501 + 1500 * turn)
        wires[turn].knowledge.Delete(kpb.DeleteRequest(collection="facts", ids=ids))
        *_, last = wires[1 - turn].ask("Compact", apb.CompactRequest())
        assert last.dead_entries == 1500
        for wire in wires:
            assert fetch(wire, keys.take(slice(3500, 3501))) == [3501]
            assert fetch(wire, keys.take(slice(7, 8))) != [8]


def test_a_reader_explains_its_fetches(wires: list[Wire], server: Spawned) -> None:
    """By itself, entries named by their triples included."""
    _, reader = wires
    reader.create()
    rows = codec.vectors_to_proto(reader.fill(100).take(slice(41, 42)))
    told = {"explain": True, "about": [42], "about_triples": [triple(7), triple(500)]}
    server.process.send_signal(signal.SIGSTOP)
    try:
        request = rpb.FetchRequest(collection="facts", rows=rows, k=1, **told)
        [block] = reader.retrieval.Fetch(iter([request]), timeout=20)
    finally:
        server.process.send_signal(signal.SIGCONT)
    assert [(one.entry, one.rank > 0) for one in block.explanation.verdicts] == [(42, True), (8, True), (0, False)]


def test_stats_are_of_all_processes(wires: list[Wire]) -> None:
    """Whichever is asked."""
    writer, reader = wires
    writer.create()
    rows = codec.vectors_to_proto(writer.fill(100).take(slice(1, 2)))
    for count, wire in ((3, writer), (5, reader)):
        list(wire.retrieval.Fetch(iter([rpb.FetchRequest(collection="facts", rows=rows, k=1)] * count), timeout=20))

    def counted(wire: Wire) -> tuple[int, int, int]:
        reply = wire.admin.Stats(apb.StatsRequest())
        return reply.processes, reply.collections[0].fetches.count, reply.fetches.count

    for wire in wires:
        until(lambda wire=wire: counted(wire) == (2, 8, 8))


def test_fetches_stay_in_the_process_that_takes_them(wires: list[Wire], server: Spawned) -> None:
    """One stream, and a writer that stands still."""
    _, reader = wires
    reader.create()
    keys = reader.fill(100)
    server.process.send_signal(signal.SIGSTOP)
    try:
        assert fetch(reader, keys.take(slice(41, 42))) == [42]
    finally:
        server.process.send_signal(signal.SIGCONT)


def test_triples_are_found_through_either_as_soon_as_they_are_acked(wires: list[Wire]) -> None:
    for turn, (through, other) in enumerate((wires, wires[::-1])):
        name = f"facts-{turn}"
        through.create(name)
        for count in (10, 3000):
            through.fill(count, name)
            asked = kpb.FindRequest(collection=name, triples=[triple(count - 1), triple(count), triple(0)])
            for wire in (other, through):
                assert np.frombuffer(wire.knowledge.Find(asked).ids, "<u8").tolist() == [count, 0, 1]


def test_collections_come_and_go_through_either(wires: list[Wire]) -> None:
    for turn in range(4):
        through, other = wires[turn % 2], wires[1 - turn % 2]
        through.create()
        keys = other.fill(5)
        for wire in wires:
            assert fetch(wire, keys.take(slice(2, 3))) == [3]
        assert other.knowledge.DropCollection(kpb.DropCollectionRequest(name="facts")).entries == 5
        for wire in wires:
            with pytest.raises(grpc.RpcError) as error:
                fetch(wire, keys)
            assert error.value.code() == grpc.StatusCode.NOT_FOUND


def test_all_that_a_server_does_it_does_through_a_reader(wires: list[Wire]) -> None:
    _, reader = wires
    reader.create()
    keys = reader.fill(3000)
    *_, done = reader.ask("Build", apb.BuildRequest(collection="facts"))
    assert (done.stage, done.generation) == ("done", 1)
    for wire in wires:
        assert fetch(wire, keys.take(slice(7, 8))) == [8]
    assert not any(step.damage for step in reader.ask("Verify", apb.VerifyRequest()))
    chunks = reader.ask("Scan", kpb.ScanRequest(collection="facts", fields=kpb.EntryFields(keys=True)))
    assert sum(len(chunk.entries) for chunk in chunks) == 3000
    deleted = reader.ask("Delete", kpb.DeleteRequest(collection="facts", ids=[8]))
    assert deleted.deleted == 1
    for wire in wires:
        assert fetch(wire, keys.take(slice(7, 8))) != [8]
    told = [wire.ask("Stats", apb.StatsRequest()).collections[0] for wire in wires]
    for one in told:
        one.ClearField("inserted_per_second")  # it falls from one to the other
    assert told[0] == told[1]


def test_errors_read_the_same_from_either(wires: list[Wire]) -> None:
    told = []
    for wire in wires:
        with pytest.raises(grpc.RpcError) as error:
            wire.knowledge.Count(kpb.CountRequest(collection="none-such"))
        told.append((error.value.code(), error.value.details()))
        with pytest.raises(grpc.RpcError) as error:
            wire.insert([kpb.InsertRequest(collection="none-such", triples=[kpb.Triple(head="h")])])
        told.append((error.value.code(), error.value.details()))
    assert told[:2] == told[2:]
    assert {code for code, _ in told} == {grpc.StatusCode.NOT_FOUND}


def test_health_and_reflection_work_on_all(wires: list[Wire]) -> None:
    for wire in wires:
        for name in ("", *SERVICES):
            reply = health_pb2_grpc.HealthStub(wire.channel).Check(health_pb2.HealthCheckRequest(service=name))
            assert reply.status == health_pb2.HealthCheckResponse.SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(wire.channel)
        [reply] = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        assert {service.name for service in reply.list_services_response.service} >= set(SERVICES)


def test_a_killed_reader_is_followed_by_another(wires: list[Wire], server: Spawned, reach: Reach) -> None:
    writer, reader = wires
    writer.create()
    keys = writer.fill(50)
    asked: queue.SimpleQueue[rpb.FetchRequest | None] = queue.SimpleQueue()
    stream = reader.retrieval.Fetch(iter(asked.get, None), timeout=20)
    asked.put(rpb.FetchRequest(collection="facts", rows=codec.vectors_to_proto(keys.take(slice(0, 1))), k=1))
    assert ids_of(next(stream)) == [1]
    [old] = readers_of(server)
    psutil.Process(old).kill()
    with pytest.raises(grpc.RpcError) as error:
        next(stream)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    asked.put(None)
    assert fetch(writer, keys.take(slice(6, 7))) == [7]
    until(lambda: len(readers_of(server)) == 1 and readers_of(server) != [old])
    [new] = readers_of(server)
    until(lambda: connections_listening(new))
    assert fetch(reach(new), keys.take(slice(8, 9))) == [9]
    assert server.stop() == 0


def connections_listening(pid: int) -> bool:
    return any(each.status == psutil.CONN_LISTEN for each in psutil.Process(pid).net_connections("tcp"))


def sockets(scratch: Path) -> list[Path]:
    """Folders of the sockets that readers hand on by; beside them a server that is getting ready has one of its own."""
    return [path for path in scratch.iterdir() if not path.name.startswith("atlasdb-warm-")]


def test_a_killed_writer_takes_its_readers_along(
    tmp_path: Path, scratch: Path, server: Spawned, wires: list[Wire], spawn: Spawner, connect: Connector
) -> None:
    _, reader = wires
    reader.create()
    reader.fill(3000)
    pids = readers_of(server)
    assert len(sockets(scratch)) == 1
    server.stop(signal.SIGKILL)
    until(lambda: gone(pids), 5)
    assert sockets(scratch) == []
    again = spawn(tmp_path / "data", "--workers", "2", listen=server.address)
    assert connect(again.address).knowledge.Count(kpb.CountRequest(collection="facts")).entries == 3000


def test_a_stop_ends_all_and_keeps_what_was_acked(
    tmp_path: Path, scratch: Path, server: Spawned, wires: list[Wire], spawn: Spawner, connect: Connector
) -> None:
    """An insert goes on through the reader, a fetch stream is idle."""
    _, reader = wires
    reader.create()
    reader.fill(1)
    pids = readers_of(server)
    asked: queue.SimpleQueue[rpb.FetchRequest | None] = queue.SimpleQueue()
    idle = reader.retrieval.Fetch(iter(asked.get, None))
    asked.put(rpb.FetchRequest(collection="facts", rows=codec.vectors_to_proto(random_vectors(1)), k=1))
    next(idle)
    keys = random_vectors(40_000)
    acked = []
    with pytest.raises(grpc.RpcError) as error:  # noqa: PT012 - the stop comes between two acks
        for ack in reader.knowledge.Insert(insert_requests("facts", 40_000, keys), timeout=60):
            acked.append(ack)
            if len(acked) == 3:
                server.process.send_signal(signal.SIGTERM)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    with pytest.raises(grpc.RpcError) as error:
        next(idle)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    asked.put(None)
    assert server.process.wait(20) == 0
    assert gone(pids)
    assert sockets(scratch) == []
    again = connect(spawn(tmp_path / "data").address)
    created = sum(ack.created for ack in acked)
    assert again.knowledge.Count(kpb.CountRequest(collection="facts")).entries == 1 + created


def test_an_idle_stream_through_a_reader_does_not_hold_up_a_stop(wires: list[Wire], server: Spawned) -> None:
    _, reader = wires
    reader.create()
    sent: queue.SimpleQueue[kpb.InsertRequest | None] = queue.SimpleQueue()
    insert = reader.knowledge.Insert(iter(sent.get, None))
    sent.put(next(insert_requests("facts", 10, random_vectors(10))))
    assert next(insert).created == 10
    before = time.monotonic()
    assert server.stop() == 0
    assert time.monotonic() - before < 4
    with pytest.raises(grpc.RpcError) as error:
        next(insert)
    assert error.value.code() == grpc.StatusCode.UNAVAILABLE
    sent.put(None)


def test_no_workers_are_too_few(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--data", str(tmp_path), "--workers", "0"]) == 2
    assert "workers is 0; the least is 1" in capsys.readouterr().err


def test_a_port_that_workers_share_is_no_one_elses(tmp_path: Path, server: Spawned) -> None:
    flags = ["--data", str(tmp_path / "other"), "--workers", "2", "--listen", server.address]
    command = [sys.executable, "-m", "atlasdb", *flags]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "is in use" in done.stderr


@pytest.mark.parametrize("chosen", [None, "3"])
def test_linear_algebra_takes_one_thread_unless_told(
    chosen: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spawn: Spawner
) -> None:
    """What a reader has in its environment, its writer had when it imported numpy."""
    monkeypatch.delenv("OPENBLAS_NUM_THREADS", raising=False)
    if chosen:
        monkeypatch.setenv("OPENBLAS_NUM_THREADS", chosen)
    [reader] = readers_of(spawn(tmp_path, "--workers", "2", "--encoder-workers", "1"))
    assert psutil.Process(reader).environ()["OPENBLAS_NUM_THREADS"] == (chosen or "1")


# ---- the keeper, with readers of its own kind ----


@pytest.fixture
def kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Keeper]]:
    """A started keeper whose one reader is a Python program."""
    keepers: list[Keeper] = []

    def start(program: str) -> Keeper:
        command = [sys.executable, "-c", program]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        monkeypatch.setattr(keeper, "spawned", lambda: subprocess.Popen(command, **pipes))  # type: ignore[call-overload]
        monkeypatch.setattr(keeper, "RESTART_SECONDS", (0.01, 0.05))
        monkeypatch.setattr(keeper, "GRACE_SECONDS", 0.5)
        keepers.append(Keeper(1, lambda: None))
        keepers[0].start(Settings(data=tmp_path))
        return keepers[0]

    yield start
    for each in keepers:
        each.close()


def test_readers_that_do_not_start_are_tried_again(
    kept: Callable[[str], Keeper], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    started = tmp_path / "started"
    running = kept(f"open({str(started)!r}, 'a').write('x'); raise SystemExit(3)")
    until(lambda: started.read_text() >= "xxx")
    running.close()
    assert "ended with status 3; starting another" in caplog.text


def test_a_reader_that_does_not_stop_is_killed(kept: Callable[[str], Keeper]) -> None:
    running = kept(
        "import os, signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "os.write(1, b'ready\\n'); os.dup2(2, 1); time.sleep(60)"
    )
    before = time.monotonic()
    running.close()
    assert time.monotonic() - before < 5
    assert running.socket is not None
    assert not running.socket.parent.exists()


def test_a_temporary_folder_that_is_too_deep_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = tmp_path / ("deep" * 30)
    deep.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(deep))
    with pytest.raises(FailedPrecondition, match="TMPDIR"):
        Keeper(1, lambda: None)
    assert list(deep.iterdir()) == []
