"""Triples with their own vectors: as columns over the wire, and from files through `atlasdb load`."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from serving import Served

from atlasdb_client import Client, Triple, connect, loader
from atlasdb_client.cli import main
from atlasdb_client.inserting import column_requests
from atlasdb_client.vectors import Read, Rows, VectorFile, VectorFiles
from atlasdb_contract import codec
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.errors import InvalidArgument, NotFound
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, Floats
from atlasdb_contract.v1 import knowledge_pb2 as kpb

D = 24
BARE = CollectionConfig(NO_ENCODER, D)


def facts(count: int) -> list[tuple[str, str, str]]:
    return [(f"head {i // 4}", f"relation \u00e9 {i % 4}", f"tail {i % 9}") for i in range(count)]


def vectors(count: int) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(count)
    keys = rng.standard_normal((count, D)).astype(np.float32)
    return keys, rng.standard_normal((9, D)).astype(np.float32)[np.arange(count) % 9]


@pytest.fixture
def client(served: Served) -> Iterator[Client]:
    with connect(served.targets["unix"]) as client:
        yield client


def saved(folder: Path, lines: list[str], keys: Floats, values: Floats) -> list[str]:
    """Files of a load: the arguments that name them."""
    (folder / "facts.tsv").write_text("\n".join(lines) + "\n", "utf-8")
    np.save(folder / "keys.npy", keys)
    np.save(folder / "values.npy", values)
    return [str(folder / "facts.tsv"), "--keys", str(folder / "keys.npy"), "--values", str(folder / "values.npy")]


def held(client: Client, collection: str) -> dict[tuple[str, str, str], tuple[Floats, Floats]]:
    entries = client.scan(collection, keys=True, values=True)
    return {e.triple.identity: (e.key.floats()[0], e.value.floats()[0]) for e in entries if e.key and e.value}


def test_columns_are_stored_as_triples_are(client: Client) -> None:
    triples, (keys, values) = facts(500), vectors(500)
    client.create_collection("columns", BARE)
    client.create_collection("triples", BARE)
    batches = [(TripleColumns.of(triples[i : i + 200]), keys[i : i + 200], values[i : i + 200]) for i in (0, 200, 400)]
    acks = list(client.insert_columns("columns", batches))
    assert [number for ack in acks for number in ack.ids] == list(range(1, 501))
    list(client.insert("triples", triples, keys, values))
    one, other = held(client, "columns"), held(client, "triples")
    assert list(one) == list(other) == triples
    for triple in triples:
        np.testing.assert_array_equal(one[triple], other[triple])
    again = list(client.insert_columns("columns", batches))
    assert (sum(a.created for a in again), sum(a.existing for a in again)) == (0, 500)


def test_of_columns_with_a_blank_part_only_that_triple_is_refused(client: Client) -> None:
    client.create_collection("facts", BARE)
    columns = TripleColumns.of([("a", "b", "c"), ("a", " ", "c"), ("a", "b", "c"), ("d", "", "f"), ("g", "h", "i")])
    (ack,) = client.insert_columns("facts", [(columns, *vectors(5))])
    assert (ack.ids, ack.created, ack.existing) == ((1, 0, 1, 0, 2), 2, 1)
    assert [refusal.position for refusal in ack.refused] == [1, 3]


def test_columns_that_do_not_add_up_are_named() -> None:
    text, lengths = "ab\u00e9".encode(), np.array([[1, 1, 2]], np.uint32)
    assert codec.columns_from_proto(codec.columns_to_proto(TripleColumns(text, lengths))).text == text
    for wrong, told in (
        (kpb.TripleColumns(text=text, lengths=lengths.tobytes()[:-1]), "11 bytes of lengths"),
        (kpb.TripleColumns(text=text + b"x", lengths=lengths.tobytes()), "add up to 4, the text has 5 bytes"),
        (kpb.TripleColumns(text=b"ab\xff\xff", lengths=lengths.tobytes()), "triple 0 is no UTF-8"),
        (kpb.TripleColumns(text=text, lengths=np.array([[1, 2, 1]], np.uint32).tobytes()), "triple 0 ends within a"),
    ):
        with pytest.raises(InvalidArgument, match=told):
            codec.columns_from_proto(wrong)


def test_chunks_of_columns_stay_below_their_limits() -> None:
    triples = TripleColumns.of([(f"head {i}", "r" * 3000, "t") for i in range(3000)])
    requests = list(column_requests("c", [(triples, *vectors(3000))]))
    assert all(request.ByteSize() < codec.MESSAGE_LIMIT for request in requests)
    assert len(requests) > 1
    joined = [one for request in requests for one in codec.columns_from_proto(request.columns).triples()]
    assert joined == list(triples.triples())
    assert [request.sequence for request in requests] == list(range(1, len(requests) + 1))


def test_load_takes_vectors_from_files_and_keeps_them_with_their_lines(
    served: Served, client: Client, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    triples, (keys, values) = facts(300), vectors(300)
    lines = ["\t".join(triple) for triple in triples]
    lines[7], lines[200] = "no triple", "a\tb\tc\td"
    lines.insert(100, "")
    arguments = saved(tmp_path, lines, keys.astype(np.float64), values)
    command = ["load", *arguments, "--collection", "facts", "--server", served.targets["unix"]]
    assert main(command) == 0
    got = held(client, "facts")
    assert list(got) == triples[:7] + triples[8:200] + triples[201:]
    for i, triple in enumerate(triples):
        if i not in (7, 200):
            np.testing.assert_allclose(got[triple][0], keys[i], atol=0.02)
            np.testing.assert_allclose(got[triple][1], values[i], atol=0.02)
    assert main(command) == 0
    assert "298 triples there already" in capsys.readouterr().out


def test_vectors_that_do_not_fit_their_lines_are_told_and_nothing_stored_is_lost(
    client: Client, tmp_path: Path
) -> None:
    keys, values = vectors(40)
    saved(tmp_path, ["\t".join(triple) for triple in facts(50)], keys, values)
    both = VectorFiles.open(tmp_path / "keys.npy", tmp_path / "values.npy")
    with pytest.raises(InvalidArgument, match="has no row for this line, it ends with row 39"):
        loader.load(client, [tmp_path / "facts.tsv"], "short", vectors=both)
    assert client.count("short") == 40
    saved(tmp_path, ["\t".join(triple) for triple in facts(30)], keys, values)
    with pytest.raises(InvalidArgument, match="has 40 rows, the files 30 lines"):
        loader.load(client, [tmp_path / "facts.tsv"], "long", vectors=both)
    assert client.count("long") == 30


def test_files_that_hold_no_vectors_are_refused_by_name(tmp_path: Path) -> None:
    good, text = tmp_path / "good.npy", tmp_path / "text.npy"
    np.save(good, np.zeros((3, D), np.float32))
    np.save(tmp_path / "whole.npy", np.zeros((3, D), np.int64))
    np.save(tmp_path / "other.npy", np.zeros((4, D), np.float32))
    text.write_text("no array")
    (tmp_path / "open.npy").write_bytes(good.read_bytes().replace(b"}", b" "))
    (tmp_path / "quoted.npy").write_bytes(good.read_bytes().replace(b"'shape'", b"'shape "))
    with pytest.raises(NotFound, match=r"no file .*missing\.npy"):
        VectorFiles.open(good, tmp_path / "missing.npy")
    for path, told in (
        (text, "is no array of numbers"),
        (tmp_path / "open.npy", "is no array of numbers"),
        (tmp_path / "quoted.npy", "is no array of numbers"),
        (tmp_path / "whole.npy", r"int64 \(3, 24\); vectors are float16"),
        (tmp_path / "other.npy", "4 vectors of 24 numbers; each triple needs"),
        (tmp_path / "keys.bin", r"is no \.npy, \.safetensors or \.parquet file"),
    ):
        with pytest.raises(InvalidArgument, match=told):
            VectorFiles.open(good, path)


def test_triples_with_metadata_keep_it_beside_their_vectors(client: Client) -> None:
    client.create_collection("facts", BARE)
    told = [Triple("a", "b", "c", "a book", {"page": "7"}), Triple("d", "e", "f")]
    list(client.insert_columns("facts", [(told, *vectors(2)), (TripleColumns.of([("g", "h", "i")]), *vectors(1))]))
    entries = client.get("facts", [1, 2, 3])
    assert [entry.triple.metadata for entry in entries] == [{"page": "7"}, {}, {}]


def test_lines_without_a_vector_are_reported_like_bad_ones_and_the_others_loaded(
    client: Client, tmp_path: Path
) -> None:
    triples, (keys, values) = facts(9000), vectors(9000)
    keys[11, 3], values[40, 0], values[8999] = np.nan, np.inf, -np.inf
    lines = ["\t".join(triple) for triple in triples]
    lines[7] = lines[41] = "no triple"
    lines.insert(3, "")
    saved(tmp_path, lines, keys, values)
    both = VectorFiles.open(tmp_path / "keys.npy", tmp_path / "values.npy")
    report = loader.load(client, [tmp_path / "facts.tsv"], "facts", vectors=both)
    assert (report.lines, report.acked, report.bad, report.refused) == (9000, 8995, 5, 0)
    k, v = tmp_path / "keys.npy", tmp_path / "values.npy"
    assert [(problem.line, problem.reason) for problem in report.problems] == [
        (9, "1 column instead of 3 (head, relation, tail)"),
        (13, f"{k}: row 11 holds a NaN or an infinity"),
        (42, f"{v}: row 40 holds a NaN or an infinity"),
        (43, "1 column instead of 3 (head, relation, tail)"),
        (9001, f"{v}: row 8999 holds a NaN or an infinity"),
    ]
    got = held(client, "facts")
    bad = (7, 11, 40, 41, 8999)
    assert list(got) == [triple for i, triple in enumerate(triples) if i not in bad]
    for i in (0, 6, 8, 12, 39, 42, 8998):
        np.testing.assert_allclose(got[triples[i]][0], keys[i], atol=0.02)
        np.testing.assert_allclose(got[triples[i]][1], values[i], atol=0.02)


@pytest.mark.parametrize(("row", "line"), [(11, 12), (30, 31)])
def test_on_bad_fail_ends_at_the_first_line_that_is_bad_or_has_no_vector(
    client: Client, tmp_path: Path, row: int, line: int
) -> None:
    keys, values = vectors(60)
    values[row, 3] = np.nan
    lines = ["\t".join(triple) for triple in facts(60)]
    lines[35] = "no triple"
    saved(tmp_path, lines, keys, values)
    both = VectorFiles.open(tmp_path / "keys.npy", tmp_path / "values.npy")
    with pytest.raises(InvalidArgument, match=rf"facts\.tsv:{line}: .*values\.npy: row {row} holds a NaN .*stopped"):
        loader.load(client, [tmp_path / "facts.tsv"], "facts", on_bad="fail", vectors=both)
    assert client.count("facts") == row


@dataclass
class Watched:
    """A file of vectors that notes which rows are read."""

    file: VectorFile
    read: list[int] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.file.name

    @property
    def dimension(self) -> int:
        return self.file.dimension

    def __len__(self) -> int:
        return len(self.file)

    def at(self, rows: Rows) -> Read:
        self.read += rows.tolist()
        return self.file.at(rows)


@pytest.mark.parametrize("form", ["tsv", "csv"])
def test_a_load_begun_again_sends_only_what_is_missing(client: Client, tmp_path: Path, form: str) -> None:
    """What is missing: a part that never came, lines that were deleted, and those that are bad either way."""
    triples, (keys, values) = facts(20_000), vectors(20_000)
    triples[15_000] = triples[3]
    keys[100, 0] = np.nan
    lines = ["\t".join(triple) for triple in triples]
    lines[50] = "no triple"
    if form == "csv":
        lines = [line.replace("\t", ",") for line in lines]
    path = tmp_path / f"facts.{form}"
    arguments = saved(tmp_path, lines, keys, values)
    path.write_text("\n".join(lines), "utf-8")
    part = tmp_path / f"part.{form}"
    part.write_text("\n".join(lines[:12_345]), "utf-8")
    np.save(tmp_path / "k.npy", keys[:12_345])
    np.save(tmp_path / "v.npy", values[:12_345])
    first = VectorFiles.open(tmp_path / "k.npy", tmp_path / "v.npy")
    begun = loader.load(client, [part], "facts", vectors=first)
    assert (begun.created, begun.existing, begun.bad, begun.lines) == (12_343, 0, 2, 12_345)
    assert client.delete("facts", triples=[triples[7], triples[9_000]]).deleted == 2
    whole = VectorFiles.open(arguments[2], arguments[4])
    watched = VectorFiles(Watched(whole.keys), Watched(whole.values))
    report = loader.load(client, [path], "facts", vectors=watched)
    assert (report.lines, report.acked, report.bad, report.refused) == (20_000, 19_998, 2, 0)
    assert (report.created, report.existing) == (20_000 - 12_345 - 1 + 2, 12_343 - 2 + 1)
    missing = [7, 100, 9_000, *range(12_345, 20_000)]
    missing.remove(15_000)
    assert watched.keys.read == watched.values.read == missing  # type: ignore[attr-defined]
    got = held(client, "facts")
    assert set(got) == {triple for i, triple in enumerate(triples) if i not in (50, 100)}
    for i in (0, 7, 9_000, 12_344, 12_345, 19_999):
        np.testing.assert_allclose(got[triples[i]][0], keys[i], atol=0.02)
    again = loader.load(client, [path], "facts", vectors=whole)
    assert (again.created, again.existing, again.bad, again.acked) == (0, 19_998, 2, 19_998)


def test_triples_are_found_in_any_number_and_form(client: Client) -> None:
    triples, (keys, values) = facts(20_000), vectors(20_000)
    client.create_collection("facts", BARE)
    assert not client.find("facts", triples).any()
    list(client.insert_columns("facts", [(TripleColumns.of(triples), keys, values)]))
    for asked in (triples, TripleColumns.of(triples), (Triple(*triple, "a source") for triple in triples)):
        np.testing.assert_array_equal(client.find("facts", asked), np.arange(1, 20_001))
    assert client.find("facts", [triples[4], ("a", "b", "c"), triples[4]]).tolist() == [5, 0, 5]
    assert client.find("facts", []).tolist() == []
    with pytest.raises(InvalidArgument, match="triple 1: the tail is empty"):
        client.find("facts", [triples[0], ("a", "b", " ")])
    with pytest.raises(InvalidArgument, match="triple 1 can't be sent as text"):
        client.find("facts", [triples[0], ("a", "b", "\ud800")])


def test_an_inverse_entry_is_not_the_triples_own(encoding_served: Served, tmp_path: Path) -> None:
    """A load of vectors into a collection that points back: counts are the same the second time."""
    triples = facts(9)
    config = CollectionConfig(inverse="all")
    with connect(encoding_served.targets["unix"]) as client:
        client.create_collection("pointing-back", config)
        unit = client.encode("pointing-back", [f"text {i}" for i in range(9)]).floats()
        saved(tmp_path, ["\t".join(triple) for triple in triples], unit, unit)
        both = VectorFiles.open(tmp_path / "keys.npy", tmp_path / "values.npy")
        first = loader.load(client, [tmp_path / "facts.tsv"], "pointing-back", config, vectors=both)
        again = loader.load(client, [tmp_path / "facts.tsv"], "pointing-back", config, vectors=both)
        assert client.find("pointing-back", triples).tolist() == list(range(1, 19, 2))
        assert client.find("pointing-back", [(t, r, h) for h, r, t in triples]).tolist() == [0] * 9
    assert (first.created, first.existing, first.acked) == (18, 0, 9)
    assert (again.created, again.existing, again.acked) == (0, 9, 9)
