"""Lines of a file in batches: what goes to the store together, and where each of it stands.

readers ──▶ runs, good lines, bad lines ──▶ batches, in the order of the file
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from atlasdb_client.inserting import COLUMN_BYTES
from atlasdb_client.readers import BadLine, GoodLine, Run
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.errors import AtlasError
from atlasdb_contract.types import Triple

Numbers: TypeAlias = npt.NDArray[np.int64]


@dataclass(slots=True, eq=False)
class Batch:
    """N lines with triples, of which `acked` are stored, and the `bad` ones among them by their rows.

    `lines` int64 (N,) are their numbers in the file, `rows` int64 (N,) count lines of the whole load that hold
    something: rows of vectors. `position`: bytes of all files that were read with it.
    """

    triples: TripleColumns | list[Triple]
    lines: Numbers
    rows: Numbers
    bad: dict[int, BadLine]
    stop: int
    """The row after the last line's."""
    file: str = ""
    position: int = 0
    acked: int = 0
    looked_up: bool = False

    def __len__(self) -> int:
        return len(self.lines)

    def line_of(self, row: int) -> int | None:
        """The number of a row's line; None: it has no such row."""
        at = np.flatnonzero(self.rows == row)
        if len(at):
            return int(self.lines[at[0]])
        return self.bad[row].number if row in self.bad else None

    def forget_acked(self) -> None:
        """Leave only what is still to be sent."""
        if self.acked:
            self.keep(np.arange(len(self)) >= self.acked)
            self.acked = 0

    def refuse(self, reasons: Mapping[int, str]) -> None:
        """Lines by their places among the N: they are bad, too."""
        if reasons:
            good = np.ones(len(self), np.bool_)
            for at, reason in reasons.items():
                self.bad[int(self.rows[at])] = BadLine(int(self.lines[at]), reason)
                good[at] = False
            self.keep(good)

    def keep(self, mask: npt.NDArray[np.bool_]) -> None:
        """Leave only these of the N."""
        if isinstance(self.triples, TripleColumns):
            self.triples = self.triples.kept(mask)
        else:
            self.triples = [triple for triple, kept in zip(self.triples, mask.tolist(), strict=True) if kept]
        self.lines, self.rows = self.lines[mask], self.rows[mask]

    def cut(self, row: int) -> None:
        """Leave only what comes before a row."""
        if self.stop <= row:
            return
        self.keep(self.rows < row)
        self.bad = {at: line for at, line in self.bad.items() if at < row}
        self.stop = row


def batches(items: Iterable[Run | GoodLine | BadLine], size: int, first: int, columns: bool) -> Iterator[Batch]:
    """Batches of some `size` lines at most, the first of which has the row `first`; `columns`: as columns where there
    is neither source nor metadata. An error in reading is raised after what came before it."""
    gathering, failure = _Gathering(first, columns), None
    try:
        for item in items:
            if gathering.size and (gathering.size + _size(item) > size or gathering.bytes >= COLUMN_BYTES):
                yield gathering.batch()
                gathering = _Gathering(gathering.row, columns)
            gathering.add(item)
    except AtlasError as error:
        failure = error
    if gathering.size:
        yield gathering.batch()
    if failure is not None:
        raise failure


def _size(item: Run | GoodLine | BadLine) -> int:
    return len(item.triples) if isinstance(item, Run) else 1


@dataclass(slots=True)
class _Gathering:
    """What the next batch is made of: runs, and behind them single lines."""

    row: int
    columns: bool
    size: int = 0
    bytes: int = 0
    _triples: list[TripleColumns] = field(default_factory=list)
    _lines: list[Numbers] = field(default_factory=list)
    _rows: list[Numbers] = field(default_factory=list)
    _single: list[tuple[int, GoodLine]] = field(default_factory=list)
    _bad: dict[int, BadLine] = field(default_factory=dict)

    def add(self, item: Run | GoodLine | BadLine) -> None:
        """One more."""
        count = _size(item)
        match item:
            case Run(number, triples):
                self._join_single()
                self._add(triples, np.arange(number, number + count), np.arange(self.row, self.row + count))
                self.bytes += len(triples.text)
            case GoodLine(_, triple):
                self._single.append((self.row, item))
                self.bytes += sum(map(len, triple.identity))
            case BadLine():
                self._bad[self.row] = item
        self.row += count
        self.size += count

    def batch(self) -> Batch:
        """What was gathered."""
        single = [line.triple for _, line in self._single]
        plain = self.columns and not any(triple.source or triple.metadata for triple in single)
        if self._triples or plain:
            self._join_single()
            triples: TripleColumns | list[Triple] = TripleColumns.joined(self._triples or [TripleColumns.of(())])
            lines, rows = (np.concatenate([np.zeros(0, np.int64), *parts]) for parts in (self._lines, self._rows))
        else:
            triples = single
            lines, rows = self._numbers()
        return Batch(triples, lines, rows, self._bad, self.row)

    def _join_single(self) -> None:
        """Single lines that stand by runs have no sources: as columns."""
        if self._single:
            self._add(TripleColumns.of(line.triple.identity for _, line in self._single), *self._numbers())
            self._single = []

    def _add(self, triples: TripleColumns, lines: Numbers, rows: Numbers) -> None:
        self._triples.append(triples)
        self._lines.append(lines)
        self._rows.append(rows)

    def _numbers(self) -> tuple[Numbers, Numbers]:
        """Of the single lines: those of lines, and rows."""
        lines = np.array([line.number for _, line in self._single], np.int64)
        return lines, np.array([row for row, _ in self._single], np.int64)
