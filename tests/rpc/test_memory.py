"""A real server's own memory (resident, and not of a file) stays bounded, whatever clients do."""

import queue
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from serving import Connector, Spawned, Spawner, Wire, random_vectors

from atlasdb_contract import codec
from atlasdb_contract.types import NO_ENCODER
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1 import retrieval_pb2 as rpb

DIMENSION = 256
ENTRIES = 4096
STREAMS = 8
ALLOWED = 400 << 20
"""What memory may grow by: far less than what the clients below try to make the server hold, which is named there."""


def anonymous(server: Spawned) -> int:
    """RssAnon in bytes."""
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return next(int(line.split()[1]) << 10 for line in status.splitlines() if line.startswith("RssAnon"))


@pytest.fixture
def server(tmp_path: Path, spawn: Spawner) -> Spawned:
    return spawn(tmp_path, "--encoder-workers", "1", "--max-streams", str(STREAMS))


@pytest.fixture
def wire(server: Spawned, connect: Connector) -> Wire:
    """A collection whose every block of all entries is 2 MB."""
    wire = connect(server.address)
    wire.create(encoder=NO_ENCODER, dimension=DIMENSION)
    vectors = codec.vectors_to_proto(random_vectors(1024, 0, DIMENSION))
    for start in range(0, ENTRIES, 1024):
        triples = [kpb.Triple(head=f"head {n}", relation="r", tail=f"tail {n}") for n in range(start, start + 1024)]
        wire.insert([kpb.InsertRequest(collection="facts", triples=triples, keys=vectors, values=vectors)])
    list(wire.retrieval.Fetch(iter([fetch()] * 3), timeout=60))
    return wire


def fetch() -> rpb.FetchRequest:
    rows = codec.vectors_to_proto(random_vectors(4, 1, DIMENSION))
    return rpb.FetchRequest(collection="facts", rows=rows, k=ENTRIES, exact=True)


def still_serves(wire: Wire) -> None:
    assert wire.knowledge.Count(kpb.CountRequest(collection="facts"), timeout=60).entries == ENTRIES
    assert wire.knowledge.Find(kpb.FindRequest(collection="facts"), timeout=60).ids == b""


def settled(wire: Wire) -> None:
    """Wait until the streams of the trouble before are gone."""
    few = rpb.FetchRequest(collection="facts", rows=codec.vectors_to_proto(random_vectors(1, 1, DIMENSION)), k=1)
    while True:
        try:
            calls = [wire.retrieval.Fetch(iter([few, few]), timeout=60) for _ in range(STREAMS)]
            for call in calls:
                next(call)
            for call in calls:
                list(call)
            return
        except grpc.RpcError:
            time.sleep(0.1)


def abandoned(calls: list[Any]) -> None:
    for call in calls:
        call.cancel()


def fetches_that_nobody_reads(server: Spawned, wire: Wire, allowed: int) -> None:
    """8 streams that ask for 100 blocks each: 1.8 GB."""
    calls = [wire.retrieval.Fetch(iter([fetch()] * 100)) for _ in range(STREAMS)]
    for call in calls:
        assert len(next(call).ids) == 8 * ENTRIES
    still_serves(wire)
    assert anonymous(server) < allowed
    abandoned(calls)


STOPPED = """
import os, signal, sys, time
import grpc
from atlasdb_contract.v1 import knowledge_pb2 as kpb
fields = kpb.EntryFields(keys=True, values=True)
request = kpb.GetRequest(collection="wide", ids=range(1, 513), fields=fields)
ask = grpc.insecure_channel(sys.argv[1]).unary_unary("/atlasdb.v1.Knowledge/Get", kpb.GetRequest.SerializeToString)
calls = [ask.future(request) for _ in range(200)]
time.sleep(0.2)
print(flush=True)
os.kill(os.getpid(), signal.SIGSTOP)
"""


def answers_that_nobody_reads(server: Spawned, wire: Wire, allowed: int) -> None:
    """200 calls of a client that stops reading, 4.2 MB to answer each: 840 MB."""
    wire.create("wide", encoder=NO_ENCODER, dimension=4096)
    vectors = codec.vectors_to_proto(random_vectors(512, 0, 4096))
    triples = [kpb.Triple(head=f"head {n}", relation="r", tail=f"tail {n}") for n in range(512)]
    wire.insert([kpb.InsertRequest(collection="wide", triples=triples, keys=vectors, values=vectors)])
    client = subprocess.Popen([sys.executable, "-c", STOPPED, server.address], stdout=subprocess.PIPE)
    try:
        assert client.stdout is not None
        client.stdout.readline()
        for _ in range(10):
            still_serves(wire)
            assert anonymous(server) < allowed
            time.sleep(0.2)
    finally:
        client.kill()
        client.communicate()


def floods_of_streams_and_streams_that_never_send(server: Spawned, wire: Wire, allowed: int) -> None:
    never: queue.SimpleQueue[None] = queue.SimpleQueue()
    calls = [wire.knowledge.Insert(iter(never.get, None)) for _ in range(400)]
    refused = [call.code() for call in calls[STREAMS:] if call.done()]
    assert set(refused) <= {grpc.StatusCode.RESOURCE_EXHAUSTED}
    still_serves(wire)
    assert anonymous(server) < allowed
    for _ in calls:
        never.put(None)
    abandoned(calls)


def messages_above_the_limit(server: Spawned, wire: Wire, allowed: int) -> None:
    """20 of 40 MB."""
    huge = bytes(40 << 20)
    for _ in range(20):
        with pytest.raises(grpc.RpcError) as error:
            wire.channel.unary_unary("/atlasdb.v1.Knowledge/Delete")(huge, timeout=60)
        assert error.value.code() == grpc.StatusCode.RESOURCE_EXHAUSTED
    still_serves(wire)
    assert anonymous(server) < allowed


def inserts_whose_streams_are_left_at_once(server: Spawned, wire: Wire, allowed: int) -> None:
    """60 streams that send 8 requests of 1 MB, which wait for the encoder, and go: 480 MB."""
    wire.create("texts", encoder="all-MiniLM-L6-v2", dimension=0)
    for number in range(60):
        sent = iter(requests(number))
        call = wire.knowledge.Insert(sent, timeout=60)
        call.cancel()
    still_serves(wire)
    assert anonymous(server) < allowed


def requests(number: int) -> Iterator[kpb.InsertRequest]:
    for part in range(8):
        heads = [f"{number} {part} {n}" for n in range(1000)]
        triples = [kpb.Triple(head=head, relation="r", tail="t", source="s" * 1000) for head in heads]
        yield kpb.InsertRequest(collection="texts", triples=triples)


def test_a_servers_memory_stays_bounded(server: Spawned, wire: Wire) -> None:
    """After each of them all others are served, too."""
    allowed = anonymous(server) + ALLOWED
    for trouble in (
        messages_above_the_limit,
        fetches_that_nobody_reads,
        floods_of_streams_and_streams_that_never_send,
        inserts_whose_streams_are_left_at_once,
        answers_that_nobody_reads,
    ):
        settled(wire)
        trouble(server, wire, allowed)
