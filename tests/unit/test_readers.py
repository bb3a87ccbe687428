"""Files of triples: what is read, and what a bad line says."""

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlasdb_client.readers import LINE_BYTES, BadLine, TripleFile, check
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.types import Triple

ADA = Triple("Ada Lovelace", "profession", "mathematician")
BOB = Triple("Bob", "born in", "Zürich")


def read(path: Path) -> list[Triple | BadLine]:
    with TripleFile(path) as file:
        return list(file)


def written(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    data = content.encode() if isinstance(content, str) else content
    path.write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
    return path


FORMS = {
    ".tsv": "Ada Lovelace\tprofession\tmathematician\nBob\tborn in\tZürich\n",
    ".csv": 'Ada Lovelace,profession,mathematician\n"Bob",born in,"Zürich"\n',
    ".jsonl": '{"head":"Ada Lovelace","relation":"profession","tail":"mathematician"}\n["Bob","born in","Zürich"]\n',
}


@pytest.mark.parametrize("gz", ["", ".gz"])
@pytest.mark.parametrize("suffix", FORMS)
def test_every_format_is_read_gzipped_or_not(tmp_path: Path, suffix: str, gz: str) -> None:
    assert read(written(tmp_path, f"facts.v1{suffix}{gz}", FORMS[suffix])) == [ADA, BOB]


@pytest.mark.parametrize("suffix", FORMS)
def test_crlf_a_byte_order_mark_blank_lines_and_a_missing_last_newline_are_taken(tmp_path: Path, suffix: str) -> None:
    content = "\ufeff" + FORMS[suffix].rstrip("\n").replace("\n", "\r\n\r\n")
    assert read(written(tmp_path, "facts" + suffix, content)) == [ADA, BOB]


def test_a_header_says_which_column_is_what(tmp_path: Path) -> None:
    assert read(written(tmp_path, "a.tsv", "head\trelation\ttail\nBob\tborn in\tZürich\n")) == [BOB]
    sourced = Triple("Bob", "born in", "Zürich", "a page")
    assert read(written(tmp_path, "b.csv", "Source,Tail,Relation,Head\na page,Zürich,born in,Bob\n")) == [sourced]


def test_only_the_first_line_can_be_a_header(tmp_path: Path) -> None:
    header_as_fact = Triple("head", "relation", "tail")
    assert read(written(tmp_path, "a.tsv", "Bob\tborn in\tZürich\nhead\trelation\ttail\n")) == [BOB, header_as_fact]


def test_json_lines_bring_source_and_metadata(tmp_path: Path) -> None:
    line = json.dumps({"head": "a", "relation": "b", "tail": "c", "source": "s", "metadata": {"year": "1842"}})
    assert read(written(tmp_path, "a.jsonl", line)) == [Triple("a", "b", "c", "s", {"year": "1842"})]


@pytest.mark.parametrize(
    ("name", "line", "reason"),
    [
        ("a.tsv", b"Bob\tborn in", "2 columns instead of 3 (head, relation, tail)"),
        ("a.tsv", b"Bob\tborn in\tZ\tsource", "4 columns instead of 3"),
        ("a.tsv", b"no tabs at all", "1 column instead of 3"),
        ("a.tsv", b"Bob\t \tZ", "the relation is empty"),
        ("a.tsv", b"Bob\tborn in\tZ\xfcrich", "invalid UTF-8 at byte 14 of the line"),
        ("a.csv", b"Bob,born in", "2 columns instead of 3"),
        ("a.csv", b'"Bob" Dylan,born in,Duluth', "invalid CSV"),
        ("a.csv", b'Bob,born in,"Zurich', "invalid CSV"),
        ("a.csv", b"Bob,born in,Z\xfcrich", "invalid UTF-8"),
        ("a.jsonl", b'{"head": "Bob", ', "invalid JSON: "),
        ("a.jsonl", b'{"head": "Bob", "relation": "born in"}', "the tail is empty"),
        ("a.jsonl", b'{"head": "Bob", "relation": "born in", "tail": 1842}', "the tail is 1842, not a string"),
        ("a.jsonl", b'["Bob", "born in"]', "an array of 2 instead of 3"),
        ("a.jsonl", b'"Bob"', "neither an object"),
        ("a.jsonl", b'{"subject": "Bob"}', "unknown field 'subject'; known are head, relation, tail"),
        (
            "a.jsonl",
            b'{"head":"a","relation":"b","tail":"c","metadata":{"x":1}}',
            "metadata 'x' is 1, not a string",
        ),
        ("a.jsonl", b'["a", "b", "\\ud800"]', "half a surrogate pair"),
        ("a.jsonl", b"[" * 100_000, "nested too deeply"),
    ],
)
def test_a_bad_line_is_named_and_the_rest_is_read(tmp_path: Path, name: str, line: bytes, reason: str) -> None:
    good = FORMS[Path(name).suffix].encode().splitlines(keepends=True)
    first, bad, *rest = read(written(tmp_path, name, good[0] + b"\n" + line + b"\n" + good[1]))
    assert (first, rest) == (ADA, [BOB])
    assert isinstance(bad, BadLine)
    assert bad.number == 3
    assert reason in bad.reason


def test_a_quoted_csv_field_may_hold_commas_quotes_and_line_breaks(tmp_path: Path) -> None:
    path = written(tmp_path, "a.csv", '"Smith, ""Bob""",says,"one\n\ntwo"\nBob,born in,Zürich\nBob,born in\n')
    with TripleFile(path) as file:
        found = [(file.line, item) for item in file]
    assert found[:2] == [(1, Triple('Smith, "Bob"', "says", "one\n\ntwo")), (4, BOB)]
    assert found[2][0] == 5


def test_a_stray_quote_costs_its_own_line_only(tmp_path: Path) -> None:
    lines = ['"Bob,born in,Zürich', *["Bob,born in,Zürich"] * 5, 'a,"b,c', *["Bob,born in,Zürich"] * 5]
    items = read(written(tmp_path, "a.csv", "\n".join(lines)))
    assert [item.number for item in items if isinstance(item, BadLine)] == [1, 7]
    assert items.count(BOB) == 10


@pytest.mark.parametrize("name", ["a.tsv", "a.jsonl.gz"])
def test_an_endless_line_is_bad_and_never_held_whole(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    opener = gzip.open if name.endswith(".gz") else open
    ada, bob = FORMS[".jsonl" if "jsonl" in name else ".tsv"].encode().splitlines(keepends=True)
    with opener(path, "wb") as file:
        file.write(ada)
        for _ in range(32):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + bob)
    tracemalloc.start()
    try:
        items = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert items == [ADA, BadLine(2, f"the line is longer than {LINE_BYTES} bytes"), BOB]
    assert peak < 8 << 20


def test_a_line_at_the_limit_is_good(tmp_path: Path) -> None:
    tail = "x" * (LINE_BYTES - len("a\tb\t"))
    assert read(written(tmp_path, "a.tsv", f"a\tb\t{tail}\r\n")) == [Triple("a", "b", tail)]
    [bad] = read(written(tmp_path, "b.tsv", f"a\tb\t{tail}xx\n"))
    assert isinstance(bad, BadLine)


@pytest.mark.parametrize("content", ["", "\n\r\n \n", "head\trelation\ttail\n"])
@pytest.mark.parametrize("suffix", [".tsv", ".tsv.gz"])
def test_a_file_without_triples_is_an_error(tmp_path: Path, content: str, suffix: str) -> None:
    path = written(tmp_path, "empty" + suffix, content)
    with pytest.raises(InvalidArgument, match=r"empty\.tsv.* holds no triples"):
        check(path)


@pytest.mark.parametrize("name", ["facts.txt", "facts", "facts.gz", "facts.tsv.bz2"])
def test_an_unknown_suffix_names_the_known_ones(tmp_path: Path, name: str) -> None:
    with pytest.raises(InvalidArgument, match=r"\.tsv, \.csv, \.jsonl, each perhaps with \.gz"):
        TripleFile(written(tmp_path, name, b""))


def test_a_missing_file_and_a_folder_are_errors(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="there is no file"):
        TripleFile(tmp_path / "missing.tsv")
    (tmp_path / "folder.tsv").mkdir()
    with pytest.raises(FailedPrecondition, match="can't read"):
        TripleFile(tmp_path / "folder.tsv")


def test_damaged_gzip_is_an_error_after_the_good_lines(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b"%d\tb\tc\n" % i for i in range(50_000)))
    (tmp_path / "cut.tsv.gz").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "no.tsv.gz").write_bytes(b"a\tb\tc\n")
    with pytest.raises(InvalidArgument, match="damaged gzip after line 0"):
        check(tmp_path / "no.tsv.gz")
    with (
        TripleFile(tmp_path / "cut.tsv.gz") as file,
        pytest.raises(InvalidArgument, match=r"damaged gzip after line \d+"),
    ):
        list(file)
    assert file.line > 10_000


@pytest.mark.parametrize("name", ["a.tsv", "a.tsv.gz"])
def test_the_position_reaches_the_size(tmp_path: Path, name: str) -> None:
    with TripleFile(written(tmp_path, name, "a\tb\tc\n" * 1000)) as file:
        assert file.position == 0
        for _ in file:
            assert file.position <= file.size
        assert file.position == file.size


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.binary(max_size=200), st.sampled_from([".tsv", ".csv", ".jsonl"]))
def test_any_bytes_are_triples_bad_lines_or_an_empty_file(tmp_path: Path, content: bytes, suffix: str) -> None:
    path = written(tmp_path, "any" + suffix, content)
    try:
        items = read(path)
    except InvalidArgument as error:
        assert "holds no triples" in str(error)  # noqa: PT017 - either way is fine
    else:
        numbers = [item.number for item in items if isinstance(item, BadLine)]
        assert numbers == sorted(set(numbers))
