"""Triples from files: line by line, or ordinary lines of a tsv file together, as columns.

| suffix | a line is |
|---|---|
| .tsv   | head, relation, tail between tabs; no quoting |
| .csv   | the same between commas, quoted as in RFC 4180; a record may span lines |
| .jsonl | {"head", "relation", "tail", "source", "metadata"} (the last two optional), or an array of three |

Each may be gzipped (.gz). A tsv or csv file may begin with a header: head, relation, tail and perhaps
source, in any order. Lines are UTF-8; a byte order mark and CRLF are taken, blank lines passed over.
What can't be read comes out as a BadLine in its place, and reading goes on.
"""

import csv
import gzip
import io
import json
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, TypeVar, cast

from atlasdb_client.columns import columns
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.types import Triple

KNOWN = (".tsv", ".csv", ".jsonl")
LINE_BYTES = (1 << 20) - 1024
"""Longest line, in bytes: its triple is then below what a server takes as one triple."""
BLOCK_BYTES = 1 << 16
"""Of a file that are read together; few, as a block with something odd in it is read line by line."""

_BOM = b"\xef\xbb\xbf"
_COLUMNS = ("head", "relation", "tail")
_HEADER = {*_COLUMNS, "source"}


@dataclass(frozen=True, slots=True)
class BadLine:
    """A line that holds no triple: its number in the file, from 1, and why."""

    number: int
    reason: str


class GoodLine(NamedTuple):
    """A line with its triple: its number in the file, from 1."""

    number: int
    triple: Triple


class Run(NamedTuple):
    """N good lines that follow one another: their triples, and the number of the first."""

    number: int
    triples: TripleColumns


_Read = TypeVar("_Read")


class TripleFile:
    """One file of triples: iterate once, or once through its `runs`, inside a `with`.

    While iterating, `line` is the number of the line that the last item began on and `position` the
    bytes of the file read so far, of `size`. Errors: NotFound, FailedPrecondition for a file that can't
    be opened, InvalidArgument for an unknown suffix, damaged gzip, or a file without a single line.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0
        self._parse = _parser_of(path)
        try:
            self._raw = path.open("rb", BLOCK_BYTES)
        except FileNotFoundError:
            raise NotFound(f"there is no file {path}") from None
        except OSError as error:
            raise FailedPrecondition(f"can't read {path}: {error.strerror}") from None
        self.size = path.stat().st_size
        self._plain: BinaryIO = self._raw
        if path.suffix.lower() == ".gz":
            self._plain = cast("BinaryIO", io.BufferedReader(cast("Any", gzip.GzipFile(fileobj=self._raw))))
        self._ahead = io.BytesIO()
        """What of `_plain` was looked at, to be read before the rest."""
        self._numbers = 0
        """Lines read so far."""

    def __enter__(self) -> "TripleFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    @property
    def position(self) -> int:
        """Bytes read so far; of a gzipped file the compressed ones."""
        return self._plain.tell() if self._plain is self._raw else self._raw.tell()

    def __iter__(self) -> Iterator[Triple | BadLine]:
        for item in self.lines():
            self.line = item.number
            yield item if isinstance(item, BadLine) else item.triple

    def lines(self) -> Iterator[GoodLine | BadLine]:
        """The same with the numbers of all lines."""
        return self._some(self._parse(self._lines()))

    def runs(self) -> Iterator[Run | GoodLine | BadLine]:
        """The same; lines of a tsv file together where they are ordinary, which is many times as quick."""
        return self._some(self._blocks()) if self._parse is _tsv else self.lines()

    def _some(self, items: Iterator[_Read]) -> Iterator[_Read]:
        """InvalidArgument where there are none."""
        first = next(items, None)
        if first is None:
            raise InvalidArgument(f"{self.path} holds no triples")
        yield first
        yield from items

    def _blocks(self) -> Iterator[Run | GoodLine | BadLine]:
        """Of a tsv file. Lines are read singly until a first record says what the columns are."""
        kinds, lines = _Columns(), self._lines()
        size = -1
        while size:
            block = self._look_ahead() if kinds.ordinary else b""
            if (found := columns(block)) is not None:
                yield Run(self._numbers + 1, found)
                self._numbers += len(found)
                self._ahead.seek(len(block))
                continue
            before = self._numbers
            yield from _tsv(islice(lines, max(1, block.count(b"\n"))), kinds)
            size = self._numbers - before

    def _look_ahead(self) -> bytes:
        """The next whole lines, which stay to be read; b"" where there is none within a block. None is too long: they
        and what is left of a line before are less than two blocks."""
        with self._told():
            plain = cast("io.BufferedReader", self._plain)
            ahead = self._ahead.read() + plain.read1(len(plain.peek(1)))
        self._ahead = io.BytesIO(ahead)
        return ahead[: ahead.rfind(b"\n") + 1]

    def _lines(self) -> Iterator["_Line"]:
        """Lines without their ends; too long ones cut. Memory is bounded by LINE_BYTES."""
        with self._told():
            while data := self._readline(LINE_BYTES + 2):
                self._numbers += 1
                too_long = len(data) == LINE_BYTES + 2 and not data.endswith(b"\n")
                while too_long and (rest := self._readline(LINE_BYTES)) and not rest.endswith(b"\n"):
                    pass
                if self._numbers == 1:
                    data = data.removeprefix(_BOM)
                yield _Line(self._numbers, data.rstrip(b"\r\n"), too_long)

    def _readline(self, most: int) -> bytes:
        data = self._ahead.readline(most)
        if len(data) == most or data.endswith(b"\n"):
            return data
        return data + self._plain.readline(most - len(data))

    @contextmanager
    def _told(self) -> Iterator[None]:
        """What can't be read, named."""
        try:
            yield
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise InvalidArgument(f"{self.path} is damaged gzip after line {self._numbers}: {error}") from None
        except OSError as error:
            raise FailedPrecondition(f"can't read {self.path}: {error.strerror}") from None


def check(path: Path) -> int:
    """The errors that opening `path` and reading its first line would give, before any work. Returns its size."""
    with TripleFile(path) as file:
        next(iter(file))
        return file.size


class _Line(NamedTuple):
    number: int
    data: bytes
    too_long: bool = False

    def text(self) -> str:
        """The line as text. InvalidArgument with the reason when it is none."""
        if self.too_long:
            raise InvalidArgument(f"the line is longer than {LINE_BYTES} bytes")
        try:
            return self.data.decode()
        except UnicodeDecodeError as error:
            raise InvalidArgument(f"invalid UTF-8 at byte {error.start + 1} of the line") from None


_Item = GoodLine | BadLine
_Lines = Iterator[_Line]


def _parser_of(path: Path) -> Callable[[_Lines], Iterator[_Item]]:
    suffixes = [suffix.lower() for suffix in path.suffixes]
    if suffixes and suffixes[-1] == ".gz":
        suffixes.pop()
    suffix = suffixes[-1] if suffixes else ""
    if suffix not in KNOWN:
        raise InvalidArgument(f"{path} is of no known kind; files end in {', '.join(KNOWN)}, each perhaps with .gz")
    return {".tsv": _tsv, ".csv": _csv, ".jsonl": _jsonl}[suffix]


# Columns: tsv and csv -----------------------------------------------------------------------------


class _Columns:
    """Which column is what: head, relation, tail, unless a header says otherwise."""

    def __init__(self) -> None:
        self._names: Sequence[str] = _COLUMNS
        self._first = True

    @property
    def ordinary(self) -> bool:
        """True once it is known that the columns are head, relation and tail."""
        return not self._first and tuple(self._names) == _COLUMNS

    def is_header(self, fields: Sequence[str]) -> bool:
        """True for the first record when it is a header, which it then takes to heart."""
        if not self._first:
            return False
        self._first = False
        names = [field.strip().lower() for field in fields]
        if len(names) not in (3, 4) or len(set(names)) < len(names):
            return False
        if not _HEADER.issuperset(names) or not set(_COLUMNS).issubset(names):
            return False
        self._names = names
        return True

    def triple(self, fields: Sequence[str]) -> Triple:
        """The triple of a record. InvalidArgument with the reason when it is none."""
        if len(fields) != len(self._names):
            count = f"{len(fields)} column{'s' * (len(fields) != 1)}"
            raise InvalidArgument(f"{count} instead of {len(self._names)} ({', '.join(self._names)})")
        if self._names is _COLUMNS:
            return Triple(fields[0], fields[1], fields[2])
        named = dict(zip(self._names, fields, strict=True))
        return Triple(named["head"], named["relation"], named["tail"], named.get("source", ""))


def _tsv(lines: _Lines, kinds: _Columns | None = None) -> Iterator[_Item]:
    kinds = kinds or _Columns()
    for line in lines:
        if not line.data.strip():
            continue
        try:
            fields = line.text().split("\t")
            if not kinds.is_header(fields):
                yield GoodLine(line.number, kinds.triple(fields))
        except InvalidArgument as error:
            yield BadLine(line.number, str(error))


def _csv(lines: _Lines) -> Iterator[_Item]:
    kinds = _Columns()
    records = _CsvRecords(lines)
    while (number := records.begin()) is not None:
        try:
            fields = records.read()
            if not kinds.is_header(fields):
                yield GoodLine(number, kinds.triple(fields))
        except InvalidArgument as error:
            records.give_back()
            yield BadLine(number, str(error))


class _CsvRecords:
    """CSV records, each with the lines it was read from.

    A stray quote opens a field that swallows the lines after it. When such a record turns out bad, only
    its first line is: `give_back` returns the others, to be read again.
    """

    def __init__(self, lines: _Lines) -> None:
        self._lines = lines
        self._again: deque[_Line] = deque()
        self._record: list[_Line] = []

    def begin(self) -> int | None:
        """The number of the line that the next record begins on; None at the end."""
        self._record = []
        while (line := self._next()) is not None:
            if line.data.strip():
                self._again.appendleft(line)
                return line.number
        return None

    def read(self) -> list[str]:
        """The next record's fields. InvalidArgument with the reason when there are none to be had."""
        try:
            return next(csv.reader(self._texts(), strict=True))
        except csv.Error as error:
            raise InvalidArgument(f"invalid CSV: {error}") from None
        except StopIteration:
            raise InvalidArgument("invalid CSV: a quoted field has no end") from None

    def give_back(self) -> None:
        """Read the last record's lines again, but for the first."""
        self._again.extendleft(reversed(self._record[1:]))

    def _texts(self) -> Iterator[str]:
        while (line := self._next()) is not None:
            self._record.append(line)
            yield line.text() + "\n"

    def _next(self) -> _Line | None:
        return self._again.popleft() if self._again else next(self._lines, None)


# JSON lines ---------------------------------------------------------------------------------------

_FIELDS = (*_COLUMNS, "source", "metadata")


def _jsonl(lines: _Lines) -> Iterator[_Item]:
    for line in lines:
        if not line.data.strip():
            continue
        try:
            yield GoodLine(line.number, _json_triple(line.text()))
        except InvalidArgument as error:
            yield BadLine(line.number, str(error))


def _json_triple(text: str) -> Triple:
    try:
        value = json.loads(text)
    except json.JSONDecodeError as error:
        raise InvalidArgument(f"invalid JSON: {error.msg} at column {error.colno}") from None
    except RecursionError:
        raise InvalidArgument("invalid JSON: nested too deeply") from None
    if isinstance(value, list):
        if len(value) != 3:
            raise InvalidArgument(f"an array of {len(value)} instead of 3 (head, relation, tail)")
        value = dict(zip(_COLUMNS, value, strict=True))
    if not isinstance(value, dict):
        raise InvalidArgument("neither an object with head, relation and tail nor an array of three")
    for name in value:
        if name not in _FIELDS:
            raise InvalidArgument(f"unknown field {name!r}; known are {', '.join(_FIELDS)}")
    metadata = value.get("metadata") or {}
    if not isinstance(metadata, dict):
        raise InvalidArgument("the metadata is not an object")
    texts = {name: _json_text(name, value.get(name, "")) for name in _FIELDS[:4]}
    pairs = {_json_text("metadata", key): _json_text(f"metadata {key!r}", item) for key, item in metadata.items()}
    return Triple(texts["head"], texts["relation"], texts["tail"], texts["source"], pairs)


def _json_text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise InvalidArgument(f"the {name} is {json.dumps(value)[:60]}, not a string")
    if not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
        raise InvalidArgument(f"the {name} holds half a surrogate pair, which is no text")
    return value
