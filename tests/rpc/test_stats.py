"""Stats over the wire and `atlasdb stats`: what was measured of real inserts and fetches, once and again and again."""

import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from serving import DIMENSION, Connector, Served, Wire, random_vectors, serving

from atlasdb_client import CollectionConfig
from atlasdb_client import connect as client_of
from atlasdb_client.cli import main, output
from atlasdb_contract import codec
from atlasdb_contract.types import Vectors
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1 import retrieval_pb2 as rpb

NARROW = rpb.FetchRequest(collection="facts", k=8, beams={"root": 1, "inter": 1})


def requests(rows: Vectors, count: int) -> Iterator[rpb.FetchRequest]:
    """The same fetch, with beams so narrow that it misses something."""
    for sequence in range(1, count + 1):
        request = rpb.FetchRequest(sequence=sequence, rows=codec.vectors_to_proto(rows))
        request.MergeFrom(NARROW)
        yield request


def stats(wire: Wire, collection: str = "facts") -> apb.StatsReply:
    return wire.admin.Stats(apb.StatsRequest(collection=collection))


def sharp(seed: int) -> Vectors:
    rows = random_vectors(3, seed)
    return Vectors(rows.data, rows.scales * np.float32(8))


def test_stats_tell_of_heads_postings_and_latencies(wire: Wire) -> None:
    wire.create()
    wire.fill(2000)
    [before] = stats(wire).collections
    assert (before.heads, before.heads_estimated, before.slots, list(before.posting_sizes)) == (200, False, 0, [])
    list(wire.admin.Build(apb.BuildRequest(collection="facts")))
    blocks = list(wire.retrieval.Fetch(requests(sharp(1), 40), timeout=30))
    reply = stats(wire)
    [one] = reply.collections
    assert (one.heads, one.heads_estimated, one.slots, one.inter_nodes) == (200, False, 2000, 200)
    assert list(one.posting_sizes) == [0, 0, 0, 0, 200]
    assert one.largest_posting == 10
    assert one.inserted_per_second > 0
    assert one.fetches.count == reply.fetches.count == 40
    took = sorted(block.cost.microseconds for block in blocks)
    assert one.fetches.p50_us == pytest.approx(took[19], rel=0.125)
    assert one.fetches.p99_us == pytest.approx(took[39], rel=0.125)
    assert reply.commits.count > 0
    assert 0 < reply.commits.p50_us <= reply.commits.p99_us
    assert 0 <= reply.free_pages < reply.pages
    assert reply.processes == 1
    assert reply.oldest_reader_seconds == reply.oldest_reader_commits == 0


def test_heads_of_trees_and_delta_are_counted_once(wire: Wire) -> None:
    wire.create()
    wire.fill(1000)
    list(wire.admin.Build(apb.BuildRequest(collection="facts")))
    wire.fill(1500)
    [one] = stats(wire).collections
    assert (one.entries, one.delta_entries, one.heads, one.heads_estimated) == (1500, 500, 150, False)


def test_a_view_that_stays_open_is_told(served: Served, connect: Connector) -> None:
    wire = connect(served.targets["unix"])
    wire.create()
    with served.database._engine.store.view("facts"):
        wire.fill(20)
        time.sleep(0.05)
        reply = stats(wire)
    assert reply.oldest_reader_seconds >= 0.05
    assert reply.oldest_reader_commits >= 1


def test_a_dropped_collection_leaves_nothing_to_the_next_of_its_name(wire: Wire) -> None:
    for _ in range(2):
        wire.create()
        assert stats(wire).collections[0].fetches.count == 0
        wire.fill(100)
        list(wire.retrieval.Fetch(requests(sharp(1), 3), timeout=30))
        assert stats(wire).collections[0].fetches.count == 3
        wire.knowledge.DropCollection(kpb.DropCollectionRequest(name="facts"))


def test_a_server_samples_the_recall_of_its_fetches(tmp_path: Path, connect: Connector) -> None:
    for served in serving(tmp_path, None, sample_recall=6000.0):
        wire = connect(served.targets["unix"])
        wire.create()
        wire.fill(3000)
        list(wire.admin.Build(apb.BuildRequest(collection="facts")))
        rows = sharp(2)
        exact = rpb.FetchRequest(collection="facts", k=8, rows=codec.vectors_to_proto(rows), exact=True)
        [wanted] = wire.retrieval.Fetch(iter([exact]), timeout=30)
        deadline = time.monotonic() + 20
        while (recall := stats(wire).collections[0].recall).samples < 3:
            [found] = wire.retrieval.Fetch(requests(rows, 1), timeout=30)
            assert time.monotonic() < deadline
        right = np.isin(np.frombuffer(found.ids, "<u8"), np.frombuffer(wanted.ids, "<u8"))
        assert recall.recall == pytest.approx(right.mean())
        assert recall.recall < 1, "beams so narrow lose something, or this test tests nothing"
        assert 0 < recall.mass < 1


# ---- the command ----


@pytest.fixture
def address(served: Served) -> str:
    """Of a server with two collections, one of them built."""
    target = served.targets["unix"]
    with client_of(target) as client:
        for name in ("facts", "more"):
            client.create_collection(name, CollectionConfig("none", DIMENSION))
            vectors = random_vectors(300)
            list(client.insert(name, [(f"h{n // 10}", f"r{n % 10}", f"t{n}") for n in range(300)], vectors, vectors))
        list(client.build("facts"))
    return target


def test_stats_print_every_number_as_json(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--server", address, "stats", "--json"]) == 0
    known = json.loads(capsys.readouterr().out)
    facts, more = known["collections"]
    assert (facts["heads"], facts["delta_share"], more["delta_share"]) == (30, 0, 1)
    assert facts["bytes_per_entry"] == pytest.approx(sum(facts["table_bytes"].values()) / 300)
    assert (known["whole"]["entries"], known["whole"]["heads"]) == (600, 60)
    assert known["whole"]["table_bytes"]["entries"] == sum(one["table_bytes"]["entries"] for one in (facts, more))
    assert known["fragmentation"] == pytest.approx(known["free_pages"] / known["pages"])
    assert set(facts["recall"]) == {"samples", "mass", "recall"}


@pytest.mark.parametrize(("encoding", "bar"), [("utf-8", output.EIGHTHS[-1] * 32), ("ascii", "#" * 32)])
def test_postings_are_drawn_with_what_the_terminal_has(
    address: str, monkeypatch: pytest.MonkeyPatch, encoding: str, bar: str
) -> None:
    shown = io.TextIOWrapper(io.BytesIO(), encoding=encoding)
    monkeypatch.setattr(sys, "stdout", shown)
    assert main(["--server", address, "stats"]) == 0
    shown.flush()
    text = shown.buffer.getvalue().decode(encoding)  # type: ignore[attr-defined]
    assert re.search(rf"^ +9 to 16  30  {bar}", text, re.MULTILINE)
    assert re.search(r"^collections +2$", text, re.MULTILINE)


def watching(address: str, *flags: str, **streams: int) -> "subprocess.Popen[bytes]":
    command = [sys.executable, "-m", "atlasdb_client.cli", "--server", address, *flags, "stats", "--watch", "0.1"]
    return subprocess.Popen(command, stderr=subprocess.PIPE, **streams)


def test_watching_prints_a_line_of_json_each_time_until_ctrl_c(address: str) -> None:
    with watching(address, "--json", stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        lines = [json.loads(process.stdout.readline()) for _ in range(3)]
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=20)
    assert (process.returncode, err) == (0, b"")
    assert lines[0]["uptime_seconds"] < lines[1]["uptime_seconds"] < lines[2]["uptime_seconds"]


def test_watching_a_terminal_rewrites_it_and_leaves_it_as_it_was(address: str) -> None:
    ours, theirs = pty.openpty()
    seen = b""
    with watching(address, stdout=theirs) as process:
        os.close(theirs)
        while seen.count(b"\x1b[H") < 3:
            assert select.select([ours], [], [], 20)[0]
            seen += os.read(ours, 1 << 16)
        process.send_signal(signal.SIGINT)
        while select.select([ours], [], [], 20)[0]:
            try:
                more = os.read(ours, 1 << 16)
            except OSError:  # the other end is closed
                break
            seen += more
        assert process.wait(20) == 0
    os.close(ours)
    begun, _, rest = seen.partition(b"\x1b[H")
    assert begun.endswith(b"\x1b[?1049h\x1b[?25l")
    during, _, after = rest.partition(b"\x1b[?25h\x1b[?1049l")
    assert b"\x1b[2J" not in during, "a cleared screen flickers"
    assert b"server " in after
    assert b"Traceback" not in seen


def test_watching_asks_for_a_number_of_seconds(address: str, capsys: pytest.CaptureFixture[str]) -> None:
    for bad in ("0", "soon", "-1", "nan"):
        assert main(["--server", address, "stats", f"--watch={bad}"]) == 2
        assert "seconds from 0.1" in capsys.readouterr().err
