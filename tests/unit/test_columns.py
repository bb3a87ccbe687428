"""Lines read together are what they are one by one."""

import gzip
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from atlasdb_client import readers
from atlasdb_client.columns import columns
from atlasdb_client.readers import BadLine, GoodLine, Run, TripleFile
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import Triple

BLANKS = [" ", "\u00a0", "\u0085", "\u1680", "\u2003", "\u2028", "\u202f", "\u205f", "\u3000", "\x1f", "\x0b"]
ODD = ["\r", "\x00", "\x1c", "\x7f", "\u009f", "\u200b", "\ufeff", "\u300c", "\u201c", "\U0001f600", "\ud7ff"]
WORDS = ["a", "Ada Lovelace", "Zürich", "日本", "「かな」", "“x”", *BLANKS, *ODD, ""]

parts = st.one_of(st.sampled_from(WORDS), st.text(st.sampled_from([*"ab é", *BLANKS, *ODD]), max_size=4))
plain = st.tuples(*[st.sampled_from(WORDS[:6])] * 3).map(list)
three = st.tuples(parts, st.sampled_from(WORDS), st.text(st.sampled_from(BLANKS), min_size=1, max_size=2)).map(list)
odd_bytes = [b"\xff\tb\tc", b"a\tb\t\xed\xa0\x80", b"a\tb\xc3\tc", b"\xa0\tb\tc", b"\t\t", b"x" * 90, b"", b"a\tb\tc\r"]
odd = st.one_of(
    st.one_of(three.flatmap(st.permutations), st.lists(parts, max_size=5)).map(lambda line: "\t".join(line).encode()),
    st.sampled_from(odd_bytes),
)
headers = st.sampled_from(
    [b"head\trelation\ttail", b"Tail\thead\tRelation", b"head\trelation\ttail\tsource", b"", b"a\tb\tc"]
)


@st.composite
def files(draw: st.DrawFn) -> bytes:
    """A file of ordinary lines with a few others among them."""
    lines = ["\t".join(line).encode() for line in draw(st.lists(plain, min_size=5, max_size=40))]
    for line in draw(st.lists(odd, max_size=3)):
        lines.insert(draw(st.integers(0, len(lines))), line)
    content = b"\n".join([draw(headers), *lines])
    return draw(st.sampled_from([b"", b"", b"\xef\xbb\xbf"])) + content + draw(st.sampled_from([b"", b"\n"]))


def one_by_one(items: Iterable[Run | GoodLine | BadLine]) -> Iterator[tuple[int, Triple] | BadLine | str]:
    """Numbers and triples, bad lines, and the error at the end."""
    try:
        for item in items:
            if isinstance(item, Run):
                yield from ((item.number + i, Triple(*triple)) for i, triple in enumerate(item.triples.triples()))
            else:
                yield item if isinstance(item, BadLine) else (item.number, item.triple)
    except InvalidArgument as error:
        yield str(error)


def same(path: Path) -> None:
    """Also where bytes of the file are."""
    with TripleFile(path) as together, TripleFile(path) as singly:
        assert list(one_by_one(together.runs())) == list(one_by_one(singly.lines()))
        assert together.position == singly.position


@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=files(), block=st.integers(2, 300), longest=st.sampled_from([50, 1 << 20]), zipped=st.booleans())
def test_lines_read_together_are_the_same_lines(
    content: bytes, block: int, longest: int, zipped: bool, tmp_path: Path
) -> None:
    path = tmp_path / ("drawn.tsv.gz" if zipped else "drawn.tsv")
    path.write_bytes(gzip.compress(content) if zipped else content)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readers, "BLOCK_BYTES", min(block, longest // 2))
        patch.setattr(readers, "LINE_BYTES", longest)
        same(path)


@pytest.mark.parametrize("odd", [0, 1, 40_000, 99_999])
def test_few_lines_are_read_singly_for_an_odd_one(tmp_path: Path, odd: int) -> None:
    text = [f"head {i // 3}\trelation {i % 3}\tzürich {i}" for i in range(100_000)]
    text[odd] = "no triple"
    path = tmp_path / "facts.tsv"
    path.write_text("\n".join(text), "utf-8")
    same(path)
    with TripleFile(path) as file:
        items = list(file.runs())
    assert sum(len(item.triples) for item in items if isinstance(item, Run)) > 95_000


def test_an_endless_line_among_many(tmp_path: Path) -> None:
    many = b"a\tb\tc\n" * 30_000
    (tmp_path / "long.tsv").write_bytes(many + b"x" * (3 << 20) + b"\n" + many + b"a\tb\t" + b"y" * (1 << 20))
    same(tmp_path / "long.tsv")


def test_damaged_gzip_is_told_after_the_same_line(tmp_path: Path) -> None:
    whole = gzip.compress(b"".join(b"%d\tb\tc\n" % i for i in range(50_000)))
    (tmp_path / "cut.tsv.gz").write_bytes(whole[: len(whole) // 2])
    same(tmp_path / "cut.tsv.gz")


@pytest.mark.parametrize(
    "block",
    [
        b"",
        b"a\tb\tc",
        b"a\tb\n",
        b"a\tb\tc\n\n",
        b"a\tb\tc\rd\n",
        b"a\rb\tc\n",
        b"a\tb\na\tb\tc\td\n",
        b"a\t\x00\n",
        b"\xe3\x80\x80\tb\tc\n",
        b"a\tb\t\xc2\x85\n",
    ],
)
def test_a_block_that_is_not_ordinary_throughout_is_left(block: bytes) -> None:
    assert columns(block) is None
    assert columns(b"h\tr\tt\n" + block) is None or not block
