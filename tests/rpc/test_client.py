"""The sync client against a running server: each method by its promise."""

import itertools
import signal
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from serving import Served, Spawned

from atlasdb_client import Client, CollectionConfig, Triple, connect
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import (
    AlreadyExists,
    FailedPrecondition,
    InvalidArgument,
    NotFound,
    Unavailable,
)
from atlasdb_contract.types import Beams, Floats

D = 32
BARE = CollectionConfig(encoder="none", dimension=D)


@pytest.fixture(params=["tcp", "unix"])
def client(request: pytest.FixtureRequest, served: Served) -> Iterator[Client]:
    with connect(served.targets[request.param]) as client:
        yield client


def units(count: int, seed: int = 0) -> Floats:
    vectors = np.random.default_rng(seed).normal(size=(count, D)).astype(np.float32)
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def facts(count: int) -> list[Triple]:
    return [Triple(f"head {i}", f"relation {i % 7}", f"tail {i % 13}", source=f"page {i}") for i in range(count)]


def filled(client: Client, count: int) -> tuple[Floats, Floats]:
    """Collection "facts" with `count` entries; its keys and values."""
    client.create_collection("facts", BARE)
    keys, values = units(count, 1), units(count, 2)
    assert sum(ack.created for ack in client.insert("facts", facts(count), keys, values)) == count
    return keys, values


def test_collections_come_and_go(client: Client) -> None:
    made = client.create_collection("facts", BARE)
    assert (made.name, made.config.dimension, made.entries) == ("facts", D, 0)
    with pytest.raises(AlreadyExists):
        client.create_collection("facts", BARE)
    assert client.create_collection("facts", BARE, if_missing=True) == made
    assert [c.name for c in client.collections()] == ["facts"]
    list(client.insert("facts", facts(3), units(3), units(3)))
    assert client.drop_collection("facts") == 3
    assert client.collections() == []


def test_inserts_are_acked_in_order_and_are_the_same_entries_again(client: Client) -> None:
    client.create_collection("facts", BARE)
    vectors = units(5000)
    first = list(client.insert("facts", facts(5000), vectors, vectors))
    assert list(itertools.chain.from_iterable(ack.ids for ack in first)) == list(range(1, 5001))
    as_tuples = (fact.identity for fact in facts(5000))
    again = list(client.insert("facts", as_tuples, quantise(vectors), quantise(vectors)))
    assert [ack.ids for ack in again] == [ack.ids for ack in first]
    assert (sum(a.created for a in again), sum(a.existing for a in again)) == (0, 5000)
    assert client.count("facts") == 5000


def test_an_insert_is_read_little_further_than_its_acks(client: Client) -> None:
    client.create_collection("facts", BARE)
    taken = itertools.count()
    given = (fact for fact, _ in zip(facts(60_000), taken, strict=False))
    acks = client.insert("facts", given, np.ones((60_000, D), np.float32), np.ones((60_000, D), np.float32))
    next(acks)
    assert next(taken) < 20_000
    acks.close()  # type: ignore[attr-defined]


def test_an_insert_into_nowhere_names_the_collection(client: Client) -> None:
    with pytest.raises(NotFound, match="nowhere"):
        list(client.insert("nowhere", facts(1), units(1), units(1)))


def test_a_wrong_dimension_names_both(client: Client) -> None:
    filled(client, 10)
    wrong = np.ones((1, D + 1), np.float32)
    for attempt in (
        lambda: list(client.insert("facts", [("a", "b", "c")], wrong, wrong)),
        lambda: client.fetch("facts", wrong, k=1),
    ):
        with pytest.raises(InvalidArgument) as error:
            attempt()
        assert str(D) in str(error.value)
        assert str(D + 1) in str(error.value)


def test_an_error_in_what_is_given_ends_the_insert_with_it(client: Client) -> None:
    client.create_collection("facts", BARE)

    def given() -> Iterator[Triple]:
        yield from facts(10)
        raise RuntimeError("the source broke")

    with pytest.raises(RuntimeError, match="the source broke"):
        list(client.insert("facts", given(), units(20), units(20)))
    assert client.count("facts") in (0, 10)


def test_entries_are_got_in_the_order_asked_for(client: Client) -> None:
    keys, values = filled(client, 3000)
    got = client.get("facts", [2999, 5, 4000, 1], keys=True, values=True)
    assert [entry.id for entry in got] == [2999, 5, 1]
    assert [entry.triple for entry in got] == [facts(3000)[i] for i in (2998, 4, 0)]
    for entry in got:
        assert entry.key is not None
        assert entry.value is not None
        np.testing.assert_allclose(entry.key.floats()[0], keys[entry.id - 1], atol=0.01)
        np.testing.assert_allclose(entry.value.floats()[0], values[entry.id - 1], atol=0.01)
    assert [entry.id for entry in client.get("facts", range(1, 3001))] == list(range(1, 3001))


def test_a_scan_yields_what_is_asked_for(client: Client) -> None:
    filled(client, 3000)
    assert [entry.triple for entry in client.scan("facts")] == facts(3000)
    assert [entry.id for entry in client.scan("facts", after=10, limit=5)] == [11, 12, 13, 14, 15]
    assert [entry.id for entry in client.scan("facts", head="head 7")] == [8]
    assert all(entry.triple.relation == "relation 3" for entry in client.scan("facts", relation="relation 3"))
    first = next(client.scan("facts", texts=True, keys=True))
    assert (first.key is not None, first.value) == (True, None)


def test_deletes_go_by_id_and_by_triple(client: Client) -> None:
    filled(client, 100)
    gone = client.delete("facts", [1, 2, 2000], [facts(100)[2], ("no", "such", "fact")])
    assert (gone.deleted, gone.missing) == (3, 2)
    assert client.count("facts") == 97
    assert [entry.id for entry in client.scan("facts", limit=1)] == [4]


@pytest.mark.parametrize("build", [False, True])
def test_a_fetch_finds_what_a_scan_finds(client: Client, build: bool) -> None:
    keys, _ = filled(client, 2000)
    if build:
        *_, last = client.build("facts", seed=3)
        assert last.generation == 1
    rows = keys[[17, 400]] * 30
    block = client.fetch("facts", rows, k=8)
    assert set(block.ids.tolist()) >= {18, 401}
    np.testing.assert_array_equal(client.fetch("facts", rows, k=8, exact=True).ids[:2], block.ids[:2])
    assert len(client.fetch("facts", quantise(rows), k=8, beams=Beams(4, 16)).ids) == 8
    with client.fetch_stream("facts") as stream:
        sent = [stream.send(keys[i : i + 1] * 30, k=1) for i in range(20)]
        assert [stream.receive().ids.tolist() for _ in sent] == [[i + 1] for i in range(20)]


def test_an_insert_is_in_the_next_fetch(client: Client) -> None:
    filled(client, 500)
    list(client.build("facts"))
    fresh = units(1, 77)
    with client.fetch_stream("facts") as stream:
        stream.fetch(fresh * 30, k=1)
        [ack] = client.insert("facts", [("new", "is", "here")], fresh, fresh)
        assert stream.fetch(fresh * 30, k=1).ids.tolist() == list(ack.ids)


def test_stats_and_verify_tell_about_the_store(client: Client) -> None:
    filled(client, 200)
    stats = client.stats()
    assert [(c.name, c.entries, c.triples, c.dimension) for c in stats.collections] == [("facts", 200, 200, D)]
    [alone], [among] = client.stats("facts").collections, stats.collections
    assert replace(alone, inserted_per_second=0) == replace(among, inserted_per_second=0)  # it falls between the two
    assert [sentence for progress in client.verify() for sentence in progress.damage] == []
    with pytest.raises(NotFound):
        client.stats("nowhere")
    with pytest.raises(NotFound):
        list(client.verify("nowhere"))


def test_without_an_encoder_texts_are_refused_with_a_reason(client: Client) -> None:
    client.create_collection("facts", BARE)
    for attempt in (
        lambda: client.search("facts", "a text"),
        lambda: client.encode("facts", ["a text"]),
    ):
        with pytest.raises(FailedPrecondition, match="encoder"):
            attempt()
    [ack] = client.insert("facts", facts(2))
    assert [(refusal.position, "encoder" in refusal.reason) for refusal in ack.refused] == [(0, True), (1, True)]
    assert ack.ids == (0, 0)


def test_one_client_serves_many_threads(client: Client) -> None:
    client.create_collection("facts", BARE)
    found: list[int] = []

    def work(number: int) -> None:
        vectors = units(50, number)
        acks = list(client.insert("facts", [(f"h{number}", "r", f"t{i}") for i in range(50)], vectors, vectors))
        found.extend(i for ack in acks for i in ack.ids)
        client.fetch("facts", vectors, k=3)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(1, 301))


def test_a_killed_server_is_unavailable_and_then_found_again(spawn: Callable[..., Spawned], tmp_path: Path) -> None:
    server = spawn(tmp_path)
    with connect(server.address) as client:
        filled(client, 10)
        server.stop(signal.SIGKILL)
        with pytest.raises(Unavailable, match="no atlasdb server answers"):
            client.count("facts")
        spawn(tmp_path, listen=server.address)
        assert counted_within(5, client) == 10


def counted_within(seconds: float, client: Client) -> int:
    """A count, once the client has found its server again."""
    limit = time.monotonic() + seconds
    while True:
        try:
            return client.count("facts")
        except Unavailable:
            assert time.monotonic() < limit
            time.sleep(0.05)
