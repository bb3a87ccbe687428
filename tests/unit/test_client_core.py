"""The client's pure core: requests under the limits, every status an error of ours."""

import dataclasses
import subprocess
import sys

import grpc
import numpy as np
import pytest

import atlasdb_client
from atlasdb_client import core, inserting, stats
from atlasdb_client.target import parse_target
from atlasdb_contract import codec, errors
from atlasdb_contract.types import Triple, Vectors
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import knowledge_pb2 as kpb

MAPPED = {
    "DEADLINE_EXCEEDED": errors.Unavailable,
    "UNIMPLEMENTED": errors.FailedPrecondition,
    "UNAUTHENTICATED": errors.FailedPrecondition,
    "PERMISSION_DENIED": errors.FailedPrecondition,
}
"""Statuses that no error of ours has by name; those not listed are Internal."""


@pytest.mark.parametrize("status", [code.name for code in grpc.StatusCode])
def test_every_status_becomes_an_error_of_ours(status: str) -> None:
    expected = MAPPED.get(status) or errors.by_status.get(status) or errors.Internal
    for details in ("what went wrong", "", None):
        error = core.error_for(status, details, "host:1")
        assert type(error) is expected
        assert str(error)
    if status in errors.by_status:
        assert str(core.error_for(status, "what the\nserver said", "host:1")) == "what the server said"


@pytest.mark.parametrize(
    ("details", "said"),
    [
        ("failed to connect to all addresses; last error: …", "no atlasdb server answers at host:1; start one with"),
        ("Socket closed", "no atlasdb server answers at host:1; start one with"),
        ("DNS resolution failed for host:1: …", "the host of host:1 is not known"),
        ("the server is stopping", "the server is stopping"),
    ],
)
def test_a_server_that_is_not_there_is_told_with_what_to_do(details: str, said: str) -> None:
    assert said in str(core.error_for("UNAVAILABLE", details, "host:1"))


def test_a_message_above_the_limit_is_the_callers_to_mend() -> None:
    details = "CLIENT: Received message larger than max (20000000 vs. 16777216)"
    assert isinstance(core.error_for("RESOURCE_EXHAUSTED", details, "host:1"), errors.InvalidArgument)
    assert isinstance(core.error_for("RESOURCE_EXHAUSTED", "the disk is full", "x:1"), errors.ResourceExhausted)


@pytest.mark.parametrize("target", ["127.0.0.1:7420", "[::1]:7420", "store.example.org:7420", "unix:/run/a.sock"])
def test_addresses_are_taken(target: str) -> None:
    assert parse_target(target) == target


@pytest.mark.parametrize("target", ["", "localhost", ":7420", "localhost:", "http://a:1", "unix:", "a:port", "a:99999"])
def test_other_addresses_are_refused_with_an_example(target: str) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"127\.0\.0\.1:7420|unix:/path"):
        parse_target(target)


def triples(count: int, width: int = 1) -> list[Triple]:
    return [Triple(f"head {i}", "relation", "x" * width) for i in range(count)]


def test_chunks_stay_below_the_limits_and_hold_every_triple_in_order() -> None:
    given = [*triples(5000), *triples(40, 1 << 18)]
    requests = list(core_requests(given))
    assert [request.sequence for request in requests] == list(range(1, len(requests) + 1))
    assert [t.head for request in requests for t in request.triples] == [t.head for t in given]
    assert max(len(request.triples) for request in requests) <= codec.CHUNK_TRIPLES
    assert max(request.ByteSize() for request in requests) < codec.MESSAGE_LIMIT // 4


@pytest.mark.parametrize("dimension", [3, 384, 8192])
def test_vectors_go_with_their_triples(dimension: int) -> None:
    vectors = np.random.default_rng(0).normal(size=(2500, dimension)).astype(np.float32)
    whole = codec.quantise(vectors)
    for given in (vectors, whole):
        requests = list(core_requests(triples(2500), given, given))
        assert max(request.ByteSize() for request in requests) < codec.MESSAGE_LIMIT // 2
        keys = [codec.vectors_from_proto(request.keys) for request in requests]
        assert [len(k) for k in keys] == [len(request.triples) for request in requests]
        np.testing.assert_array_equal(np.concatenate([k.data for k in keys]), whole.data)
        np.testing.assert_array_equal(np.concatenate([k.scales for k in keys]), whole.scales)


def core_requests(given: object, keys: object = None, values: object = None) -> list[kpb.InsertRequest]:
    return list(inserting.insert_requests("facts", given, keys, values))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("given", "count", "said"),
    [
        ([("a", "b", "c"), ("a", "b")], None, "triple 1 is not a Triple"),
        (["abc"], None, "triple 0 is not a Triple"),
        ([("a", "b", 3)], None, "triple 0: the tail is 3, not text"),
        ([("a", "b", "c"), ("a", "  ", "c")], None, "triple 1: the relation is empty"),
        ([("a", "b", "\ud800")], None, "triple 0 can't be sent as text"),
        ([("a", "b", "c")], 2, "there are 1 triples and 2 keys"),
        (iter([("a", "b", "c")]), 2, "there were 1 triples and 2 keys"),
        (iter([("a", "b", "c")] * 3), 2, "there are 2 keys for more triples"),
    ],
)
def test_what_cant_be_inserted_is_named_by_its_position(given: object, count: int | None, said: str) -> None:
    vectors = None if count is None else np.ones((count, 4), np.float32)
    with pytest.raises(errors.InvalidArgument, match=said):
        core_requests(given, vectors, vectors)


def test_keys_without_values_are_refused() -> None:
    with pytest.raises(errors.InvalidArgument, match="keys and values come together"):
        core_requests(triples(1), np.ones((1, 4), np.float32))


def test_a_nan_is_named() -> None:
    vectors = np.ones((3, 4), np.float32)
    vectors[2, 1] = np.nan
    with pytest.raises(errors.InvalidArgument, match="keys 0 to 2: vector 2 holds a NaN"):
        core_requests(triples(3), vectors, vectors)


def test_the_window_matches_acks_to_chunks() -> None:
    window = inserting.InsertWindow()
    for request in core_requests(triples(3000)):
        window.sent(request)
    assert len(window) == 3
    ack = window.acked(kpb.InsertAck(sequence=1, ids=range(1, 1025), created=1024))
    assert (ack.ids[0], ack.ids[-1], ack.created) == (1, 1024, 1024)
    with pytest.raises(errors.Internal, match="chunk 2 of 1024 triples was acked as 3"):
        window.acked(kpb.InsertAck(sequence=3, ids=range(1, 1025)))
    with pytest.raises(errors.Unavailable, match="send those chunks again"):
        window.acked(None)


def test_the_window_is_bounded_in_chunks_and_in_bytes() -> None:
    few, many = inserting.InsertWindow(), inserting.InsertWindow()
    vectors = Vectors(np.zeros((40_000, 384), np.int8), np.ones(40_000, np.float32))
    for request in core_requests(triples(40_000), vectors, vectors):
        if not many.full:
            many.sent(request)
    wide = core_requests(triples(1, 1 << 23))[0]
    while not few.full:
        few.sent(wide)
    assert len(many) == inserting.WINDOW_CHUNKS
    assert len(few) == 4


def test_ids_are_checked_and_long_lists_cut() -> None:
    assert [len(c.request.ids) for c in core.get("facts", range(1, 3001), False, False, False)] == [1024, 1024, 952]
    for wrong in (0, -1, 1 << 64):
        with pytest.raises(errors.InvalidArgument, match="is no entry id"):
            core.get("facts", [wrong], False, False, False)
        with pytest.raises(errors.InvalidArgument, match="is no entry id"):
            core.delete("facts", [wrong], [])
    with pytest.raises(errors.InvalidArgument, match="k is 0"):
        core.search("facts", "text", 0, False)


def test_stats_hold_what_the_proto_holds() -> None:
    for value, message in ((stats.StoreStats, apb.StatsReply), (stats.CollectionStats, apb.CollectionStats)):
        assert [f.name for f in dataclasses.fields(value)] == [f.name for f in message.DESCRIPTOR.fields]
    reply = apb.StatsReply(file_bytes=7, collections=[apb.CollectionStats(name="a", table_bytes={"entries": 9})])
    read = core.stats("").read(reply)
    assert (read.file_bytes, read.collections[0].name, read.collections[0].table_bytes) == (7, "a", {"entries": 9})


def test_every_exported_name_is_there() -> None:
    for name in atlasdb_client.__all__:
        assert getattr(atlasdb_client, name).__name__ == name
    with pytest.raises(AttributeError):
        atlasdb_client.nothing  # noqa: B018 - the access is the test


@pytest.mark.parametrize("argv", [["--help"], ["load", "--help"], ["collections", "drop", "--help"]])
def test_help_imports_nothing_heavy(argv: list[str]) -> None:
    script = "import sys, atlasdb_client.cli as c; s = c.main(sys.argv[1:]); print(s, *sys.modules)"
    done = subprocess.run([sys.executable, "-c", script, *argv], capture_output=True, text=True, check=True)
    status, *modules = done.stdout.splitlines()[-1].split()
    assert status == "0"
    assert not {"grpc", "numpy", "google.protobuf", "tqdm", "lmdb", "torch"} & set(modules)
