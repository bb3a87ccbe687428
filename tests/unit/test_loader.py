"""Loading files, whatever happens on the way: against a small store that fails on cue, over real gRPC."""

# ruff: noqa: N802, ARG002, ARG005 - the store's methods are named in the proto and asked with what it has

import gzip
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from pathlib import Path

import grpc
import numpy as np
import pytest

from atlasdb_client import Client, connect
from atlasdb_client.loader import KEPT, load
from atlasdb_client.progress import Silent
from atlasdb_client.vectors import VectorFiles
from atlasdb_contract import codec
from atlasdb_contract.errors import AlreadyExists, DataLoss, InvalidArgument, NotFound, Unavailable
from atlasdb_contract.types import CollectionConfig
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1.knowledge_pb2_grpc import KnowledgeServicer, add_KnowledgeServicer_to_server


class SmallStore(KnowledgeServicer):
    """Triples in a dict. A test may make trouble before the nth chunk is stored, or after that before its ack."""

    def __init__(self) -> None:
        self.collections: dict[str, kpb.Collection] = {}
        self.ids: dict[tuple[str, str, str], int] = {}
        self.chunks = self.finds = 0
        self.before_storing: Callable[[int, grpc.ServicerContext], None] = lambda chunk, context: None
        self.before_finding: Callable[[int, grpc.ServicerContext], None] = lambda find, context: None
        self.before_ack: Callable[[int, grpc.ServicerContext], None] = lambda chunk, context: None
        self.refuses: Callable[[str], bool] = lambda head: False

    def CreateCollection(self, request: kpb.CreateCollectionRequest, context: grpc.ServicerContext) -> kpb.Collection:
        made = kpb.Collection(name=request.name, config=request.config)
        there = self.collections.setdefault(request.name, made)
        if there is not made and not (request.if_missing and there.config == request.config):
            context.abort(grpc.StatusCode.ALREADY_EXISTS, f"{request.name} is there with another config")
        return there

    def ListCollections(self, request: object, context: grpc.ServicerContext) -> kpb.ListCollectionsReply:
        return kpb.ListCollectionsReply(collections=self.collections.values())

    def Insert(self, requests: Iterator[kpb.InsertRequest], context: grpc.ServicerContext) -> Iterator[kpb.InsertAck]:
        for request in requests:
            self.chunks += 1
            chunk = self.chunks
            self.before_storing(chunk, context)
            ack = kpb.InsertAck(sequence=request.sequence)
            for position, triple in enumerate(triples_of(request)):
                if self.refuses(triple[0]):
                    ack.refused.add(position=position, reason="the head is not liked")
                    ack.ids.append(0)
                    continue
                known = len(self.ids)
                number = self.ids.setdefault(triple, known + 1)
                ack.ids.append(number)
                ack.created += number > known
                ack.existing += number <= known
            self.before_ack(chunk, context)
            yield ack

    def Count(self, request: object, context: grpc.ServicerContext) -> kpb.CountReply:
        return kpb.CountReply(entries=len(self.ids))

    def Find(self, request: kpb.FindRequest, context: grpc.ServicerContext) -> kpb.FindReply:
        self.finds += 1
        self.before_finding(self.finds, context)
        ids = [self.ids.get(triple, 0) for triple in triples_of(request)]
        return kpb.FindReply(ids=np.array(ids, "<u8").tobytes())


def triples_of(request: kpb.InsertRequest | kpb.FindRequest) -> list[tuple[str, str, str]]:
    if request.HasField("columns"):
        return list(codec.columns_from_proto(request.columns).triples())
    return [(triple.head, triple.relation, triple.tail) for triple in request.triples]


@pytest.fixture
def store() -> SmallStore:
    return SmallStore()


@pytest.fixture
def client(store: SmallStore, tmp_path: Path) -> Iterator[Client]:
    server = grpc.server(futures.ThreadPoolExecutor(4))
    add_KnowledgeServicer_to_server(store, server)
    address = f"unix:{tmp_path}/store.sock"
    server.add_insecure_port(address)
    server.start()
    with connect(address) as client:
        yield client
    server.stop(None).wait()


class Heard(Silent):
    """Keeps what was said and shown."""

    def __init__(self) -> None:
        self.said: list[str] = []
        self.shown: list[tuple[int, int, int]] = []

    def say(self, sentence: str) -> None:
        self.said.append(sentence)

    def show(self, stage: str, done: int, total: int, count: int = 0, noun: str = "", memory: int = 0) -> None:
        self.shown.append((done, total, count))


def facts(folder: Path, count: int, name: str = "facts.tsv") -> Path:
    lines = "".join(f"head {i}\trelation\ttail {i % 97}\n" for i in range(count))
    (folder / name).write_bytes(gzip.compress(lines.encode()) if name.endswith(".gz") else lines.encode())
    return folder / name


def gone(context: grpc.ServicerContext) -> None:
    context.abort(grpc.StatusCode.UNAVAILABLE, "the server is stopping")


def test_every_line_is_loaded_once_and_counted(client: Client, store: SmallStore, tmp_path: Path) -> None:
    files = [facts(tmp_path, 5000), facts(tmp_path, 3000, "again.tsv.gz")]
    heard = Heard()
    report = load(client, files, "facts", progress=heard)
    assert (report.lines, report.acked, report.created, report.existing) == (8000, 8000, 5000, 3000)
    assert (report.bad, report.refused, report.problems, report.interrupted) == (0, 0, (), False)
    assert len(store.ids) == 5000
    size = sum(file.stat().st_size for file in files)
    assert [done for done, _, _ in heard.shown] == sorted(done for done, _, _ in heard.shown)
    assert heard.shown[-1] == (size, size, 8000)


def test_a_second_load_changes_nothing(client: Client, store: SmallStore, tmp_path: Path) -> None:
    file = facts(tmp_path, 3000)
    load(client, [file], "facts")
    report = load(client, [file], "facts")
    assert (report.created, report.existing, len(store.ids)) == (0, 3000, 3000)


def test_a_missing_collection_is_made_and_one_that_is_there_is_taken_as_it_is(
    client: Client, store: SmallStore, tmp_path: Path
) -> None:
    client.create_collection("inverse", CollectionConfig(inverse="all"))
    load(client, [facts(tmp_path, 1)], "inverse")
    load(client, [facts(tmp_path, 1)], "new", CollectionConfig(phrases={"a": "b"}))
    load(client, [facts(tmp_path, 1)], "default")
    assert dict(store.collections["new"].config.phrases) == {"a": "b"}
    with pytest.raises(AlreadyExists):
        load(client, [facts(tmp_path, 1)], "new", CollectionConfig(phrases={"a": "c"}))


@pytest.mark.parametrize(("name", "content"), [("empty.tsv", ""), ("facts.txt", "a\tb\tc\n")])
def test_a_wrong_file_among_good_ones_is_found_before_anything_is_sent(
    client: Client, store: SmallStore, tmp_path: Path, name: str, content: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InvalidArgument):
        load(client, [facts(tmp_path, 10), tmp_path / name], "facts")
    with pytest.raises(NotFound):
        load(client, [facts(tmp_path, 10), tmp_path / "missing.tsv"], "facts")
    assert not store.collections
    assert not store.chunks


def test_bad_and_refused_lines_are_named_with_file_and_line(client: Client, store: SmallStore, tmp_path: Path) -> None:
    file = tmp_path / "facts.tsv"
    file.write_text("a\tb\tc\nnonsense\nbad\tb\tc\n\nd\tb\tc\n")
    store.refuses = lambda head: head == "bad"
    heard = Heard()
    report = load(client, [facts(tmp_path, 2000, "before.tsv"), file], "facts", progress=heard)
    assert (report.lines, report.acked, report.bad, report.refused) == (2004, 2002, 1, 1)
    assert [str(problem) for problem in report.problems] == heard.said
    assert heard.said == [
        f"{file}:2: 1 column instead of 3 (head, relation, tail)",
        f"{file}:3: the head is not liked",
    ]


def test_all_bad_lines_are_counted_and_the_first_are_kept(client: Client, tmp_path: Path) -> None:
    file = tmp_path / "facts.tsv"
    file.write_text("a\tb\tc\n" + "nonsense\n" * 1000)
    report = load(client, [file], "facts")
    assert (report.acked, report.bad, len(report.problems)) == (1, 1000, KEPT)


def test_on_bad_fail_ends_at_the_first_bad_line_and_keeps_what_came_before(
    client: Client, store: SmallStore, tmp_path: Path
) -> None:
    file = tmp_path / "facts.tsv"
    file.write_text("".join(f"{i}\tb\tc\n" for i in range(1500)) + "nonsense\n" + "late\tb\tc\n" * 5000)
    with pytest.raises(InvalidArgument, match=r"facts\.tsv:1501: 1 column instead of 3"):
        load(client, [file], "facts", on_bad="fail")
    assert len(store.ids) == 1500


def test_on_bad_fail_ends_at_a_refused_line(client: Client, store: SmallStore, tmp_path: Path) -> None:
    store.refuses = lambda head: head == "head 7"
    with pytest.raises(InvalidArgument, match=r"facts\.tsv:8: the head is not liked"):
        load(client, [facts(tmp_path, 100)], "facts", on_bad="fail")
    assert len(store.ids) == 99


def test_what_was_read_before_damaged_gzip_is_stored(client: Client, store: SmallStore, tmp_path: Path) -> None:
    file = facts(tmp_path, 20_000, "facts.tsv.gz")
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InvalidArgument, match="damaged gzip after line"):
        load(client, [file], "facts")
    assert len(store.ids) > 1000


@pytest.mark.parametrize("moment", ["before_storing", "before_ack"])
def test_a_server_that_goes_away_is_waited_for_and_nothing_is_lost(
    client: Client, store: SmallStore, tmp_path: Path, moment: str
) -> None:
    """`before_ack`: the chunk is stored but the client can't know; it is sent again."""
    setattr(store, moment, lambda chunk, context: gone(context) if chunk in (2, 9, 10) else None)
    heard = Heard()
    report = load(client, [facts(tmp_path, 20_000)], "facts", progress=heard)
    assert (report.lines, report.acked, len(store.ids)) == (20_000, 20_000, 20_000)
    assert set(store.ids.values()) == set(range(1, 20_001))
    assert (
        heard.said == [f"the server at {client.target} {did}" for did in ("went away; trying for 60 s", "is back")] * 2
    )


@pytest.mark.parametrize("moment", ["before_storing", "before_ack", "before_finding"])
@pytest.mark.parametrize("resumed", [False, True])
def test_with_vectors_too_a_server_may_go_away(
    client: Client, store: SmallStore, tmp_path: Path, moment: str, resumed: bool
) -> None:
    """Bad lines are told once, and all others are there; if there was something before, they are looked up."""
    file = facts(tmp_path, 40_000)
    lines = file.read_text().splitlines()
    for at in range(0, 40_000, 5_000):
        lines[at] = "no triple"
    file.write_text("\n".join(lines))
    keys = np.ones((40_000, 4), np.float32)
    keys[1234] = np.nan
    np.save(tmp_path / "keys.npy", keys)
    if resumed:
        list(client.insert("facts", [(f"head {i}", "relation", f"tail {i % 97}") for i in range(1, 3000, 7)]))
    before, existing = store.chunks, len(store.ids)
    setattr(store, moment, lambda chunk, context: gone(context) if chunk - before in (2, 4, 5) else None)
    heard = Heard()
    vectors = VectorFiles.open(tmp_path / "keys.npy", tmp_path / "keys.npy")
    report = load(client, [file], "facts", progress=heard, vectors=vectors)
    assert (report.lines, report.acked, report.bad, len(store.ids)) == (40_000, 39_991, 9, 39_991)
    assert report.created + report.existing == 39_991
    assert report.existing >= existing
    places = [line for line in heard.said if "the server at" not in line]
    assert len(places) == len(set(places)) == 9
    assert len(heard.said) > 9 or (moment == "before_finding" and not resumed)
    assert heard.shown[-1][0] == heard.shown[-1][1]


def test_a_server_that_is_back_and_finds_everything_may_go_away_again(
    client: Client, store: SmallStore, tmp_path: Path
) -> None:
    """Later than the patience with it: what it found in between were answers."""

    def slow(find: int, context: grpc.ServicerContext) -> None:
        time.sleep(0.2)
        if find in (2, 8):
            gone(context)

    file = facts(tmp_path, 80_000)
    np.save(tmp_path / "keys.npy", np.ones((80_000, 4), np.float32))
    vectors = VectorFiles.open(tmp_path / "keys.npy", tmp_path / "keys.npy")
    load(client, [file], "facts", vectors=vectors)
    store.before_finding = slow
    heard = Heard()
    report = load(client, [file], "facts", progress=heard, patience=0.5, vectors=vectors)
    assert (report.created, report.existing) == (0, 80_000)
    assert [said.split()[-1] == "back" for said in heard.said] == [False, True] * 2


def test_refused_lines_keep_their_numbers_when_chunks_are_sent_again(
    client: Client, store: SmallStore, tmp_path: Path
) -> None:
    store.refuses = lambda head: head in ("head 3", "head 9000", "head 29999")
    store.before_ack = lambda chunk, context: gone(context) if chunk == 2 else None
    file = facts(tmp_path, 30_000)
    file.write_text("nonsense\n\n" + file.read_text())
    np.save(tmp_path / "keys.npy", np.ones((30_001, 4), np.float32))
    vectors = VectorFiles.open(tmp_path / "keys.npy", tmp_path / "keys.npy")
    for given in (vectors, None):
        report = load(client, [file], "facts", vectors=given)
        assert (report.lines, report.acked, report.refused, report.bad) == (30_001, 29_997, 3, 1)
        assert [problem.line for problem in report.problems] == [1, 6, 9003, 30_002]


def test_a_server_that_stays_away_is_given_up(client: Client, store: SmallStore, tmp_path: Path) -> None:
    store.before_storing = lambda chunk, context: gone(context) if chunk > 2 else None
    with pytest.raises(Unavailable, match=r"gave up after 1 s, what was acked is stored: the server is stopping"):
        load(client, [facts(tmp_path, 20_000)], "facts", patience=1)
    assert len(store.ids) == 2048


def test_a_server_that_was_never_there_is_not_waited_for(tmp_path: Path) -> None:
    with connect(f"unix:{tmp_path}/nothing") as client, pytest.raises(Unavailable, match="no atlasdb server answers"):
        load(client, [facts(tmp_path, 10)], "facts")


def test_other_errors_of_the_server_end_the_load(client: Client, store: SmallStore, tmp_path: Path) -> None:
    def damaged(chunk: int, context: grpc.ServicerContext) -> None:
        if chunk == 3:
            context.abort(grpc.StatusCode.DATA_LOSS, "the record is damaged")

    store.before_storing = damaged
    with pytest.raises(DataLoss, match="the record is damaged"):
        load(client, [facts(tmp_path, 20_000)], "facts")


def test_ctrl_c_keeps_what_was_acked_and_the_same_load_continues(
    client: Client, store: SmallStore, tmp_path: Path
) -> None:
    class Impatient(Heard):
        def show(self, stage: str, done: int, total: int, count: int = 0, noun: str = "", memory: int = 0) -> None:
            if count > 4000:
                raise KeyboardInterrupt

    file = facts(tmp_path, 20_000)
    report = load(client, [file], "facts", progress=Impatient())
    assert report.interrupted
    assert 4000 < report.acked < 20_000
    assert report.acked <= len(store.ids)
    assert not load(client, [file], "facts").interrupted
    assert len(store.ids) == 20_000


def test_the_file_is_read_little_further_than_what_was_acked(client: Client, store: SmallStore, tmp_path: Path) -> None:
    held = threading.Event()
    store.before_ack = lambda chunk, context: held.wait(20) and None
    reports = []
    loading = threading.Thread(target=lambda: reports.append(load(client, [facts(tmp_path, 60_000)], "facts")))
    loading.start()
    try:
        loading.join(1.0)
        assert store.chunks < 40
    finally:
        held.set()
        loading.join()
    assert reports[0].acked == 60_000
