import threading
from collections.abc import Callable
from concurrent.futures import wait

import numpy as np
import pytest
from worlds import BARE, Stores, facts, vectors

from atlasdb.engine.database import Database
from atlasdb.store.writer import WriteTxn
from atlasdb_contract.errors import InvalidArgument, ResourceExhausted

Load = Callable[..., tuple[int, ...]]


def hold(database: Database) -> Callable[[], None]:
    """Keep the writer busy; the function returned lets it go on."""
    entered, go_on = threading.Event(), threading.Event()

    def job(_: WriteTxn) -> None:
        entered.set()
        go_on.wait(10)

    held = database._engine.store.submit(job)
    entered.wait(10)

    def release() -> None:
        go_on.set()
        held.result()

    return release


def test_waiting_inserts_share_a_commit(database: Database) -> None:
    release = hold(database)
    before = database.stats().commits
    acks = [database.insert("facts", facts(3, start=3 * i), *vectors(facts(3, start=3 * i))) for i in range(100)]
    release()
    wait(acks)
    assert database.stats().commits - before <= 3
    assert database.count("facts") == 300


def test_a_job_that_fails_undoes_its_writes_and_no_others(database: Database) -> None:
    store = database._engine.store
    release = hold(database)

    def bad(write: WriteTxn) -> None:
        changes = write.changes("facts")
        changes.delete_entries(np.array([1], np.uint64))
        raise InvalidArgument("no")

    first = database.insert("facts", facts(2), *vectors(facts(2)))
    failed = store.submit(bad)
    second = database.insert("facts", facts(3), *vectors(facts(3)))
    release()
    assert first.result().ids == (1, 2)
    with pytest.raises(InvalidArgument):
        failed.result()
    assert second.result().ids == (1, 2, 3)
    assert database.stats().collections[0].tombstones == 0


def test_a_cancelled_job_is_not_run(database: Database) -> None:
    release = hold(database)
    job = database._engine.store.submit(lambda write: write.changes("facts"))
    assert job.cancel()
    release()
    assert database.count("facts") == 0


def test_a_full_store_refuses_inserts_while_reads_and_deletes_go_on(stores: Stores) -> None:
    """However small the steps in which it was filled."""
    database = stores.open(map_bytes=4 << 20)
    database.create_collection("facts", BARE)
    stored = 0
    for step in (500, 20):
        full = False
        while not full:
            triples = facts(step, stored)
            ack = database.insert("facts", triples, *vectors(triples))
            full = isinstance(ack.exception(), ResourceExhausted)
            stored += 0 if full else ack.result().created
    assert database.count("facts") == stored > 5000
    assert sum(len(chunk) for chunk in database.scan("facts")) == stored
    assert database.delete("facts", [3]).result() == (1, 0)
    every_ninth = range(4, stored, 9)
    assert database.delete("facts", every_ninth).result() == (len(every_ninth), 0)
    assert database.drop_collection("facts") == stored - 1 - len(every_ninth)
    database.create_collection("facts", BARE)


def test_what_does_not_fit_together_is_tried_one_by_one(stores: Stores) -> None:
    database = stores.open(map_bytes=1 << 20)
    database.create_collection("facts", BARE)
    database.insert("facts", facts(100), *vectors(facts(100))).result()
    release = hold(database)
    large = database.insert("facts", facts(8_000), *vectors(facts(8_000)))
    small = database.insert("facts", facts(101), *vectors(facts(101)))
    release()
    with pytest.raises(ResourceExhausted):
        large.result()
    assert small.result().created == 1
