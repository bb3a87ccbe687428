"""How answers are printed: tables for people, JSON for programs."""

import json
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from atlasdb_contract import quantities
from atlasdb_contract.types import Entry

NARROWEST = 12
"""Columns that the widest cell of a table keeps, however narrow the terminal."""


def print_json(answer: Any) -> None:
    """One document, indented."""
    print(json.dumps(answer, ensure_ascii=False, indent=2))


def entry_json(entry: Entry) -> dict[str, Any]:
    """An entry as JSON: what `load` reads, and its id and texts."""
    triple = entry.triple
    known: dict[str, Any] = {"id": entry.id, "head": triple.head, "relation": triple.relation, "tail": triple.tail}
    if triple.source:
        known["source"] = triple.source
    if triple.metadata:
        known["metadata"] = dict(triple.metadata)
    known["inverse"] = entry.inverse
    if entry.key_text:
        known |= {"key_text": entry.key_text, "value_text": entry.value_text}
    return known


def print_table(titles: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Aligned columns, numbers to the right; on a terminal long cells are cut so that a row is one line."""
    cells = [[_cell(value) for value in row] for row in rows]
    right = [bool(cells) and all(_is_number(row[i]) for row in cells) for i in range(len(titles))]
    widths = [max([_width(title), *(_width(row[i]) for row in cells)]) for i, title in enumerate(titles)]
    if sys.stdout.isatty():
        _narrow(widths, shutil.get_terminal_size().columns)
    for row in [list(titles), *cells]:
        padded = (_pad(cell, width, to_right) for cell, width, to_right in zip(row, widths, right, strict=True))
        print("  ".join(padded).rstrip())


def facts(known: Mapping[str, object]) -> list[str]:
    """The lines of names and values."""
    width = max(_width(name) for name in known)
    return [f"{_pad(name, width, False)}  {_cell(value)}" for name, value in known.items()]


EIGHTHS = " ▏▎▍▌▋▊▉█"


def bar(share: float, columns: int) -> str:
    """A bar of a histogram, as long as its share of the longest one; what is more than nothing shows."""
    eighths = max(round(8 * columns * share), int(share > 0))
    if in_utf8():
        return EIGHTHS[8] * (eighths // 8) + EIGHTHS[eighths % 8].strip()
    return "#" * max(eighths // 8, int(share > 0))


def cut(text: str, columns: int) -> str:
    """What fits on a line of the terminal."""
    if _width(text) <= columns:
        return text
    return _pad(text, columns, False) if in_utf8() else text[:columns]


def plain(text: str) -> str:
    """Of what standard output can show."""
    return text if in_utf8() else text.encode("ascii", "backslashreplace").decode()


@dataclass(frozen=True, slots=True)
class Branch:
    """A line of a tree, with what is under it."""

    text: str
    under: "Sequence[Branch]" = ()


BOX = ("├─ ", "└─ ", "│  ", "   ")
PLAIN = ("|- ", "`- ", "|  ", "   ")


def print_tree(tree: Branch) -> None:
    """A line for each branch; where the output is not UTF-8, of ASCII alone."""
    _print_line("", tree.text)
    _print_under(tree, BOX if in_utf8() else PLAIN, "")


def microseconds(count: float) -> str:
    """As quantities has them, of what standard output can show."""
    told = quantities.microseconds(count)
    return told if in_utf8() else told.replace("µ", "u")


def in_utf8() -> bool:
    """Can standard output show any character?"""
    return (sys.stdout.encoding or "").lower().replace("-", "") == "utf8"


def _print_under(tree: Branch, lines: tuple[str, str, str, str], before: str) -> None:
    middle, last, beside, below = lines
    for i, branch in enumerate(tree.under, 1):
        end = i == len(tree.under)
        _print_line(before + (last if end else middle), branch.text)
        _print_under(branch, lines, before + (below if end else beside))


def _print_line(before: str, text: str) -> None:
    print(before + _cell(plain(text)))


def plural(count: int, noun: str) -> str:
    """ "1 entry", "2,000 entries"."""
    many = noun[:-1] + "ies" if noun.endswith("y") else noun + "s"
    return f"{count:,} {noun if count == 1 else many}"


def _cell(value: object) -> str:
    """One line of printable text: stored text must not steer the terminal."""
    text = f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)
    return text if text.isprintable() else "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)


def _is_number(text: str) -> bool:
    return text.replace(",", "").replace(".", "", 1).removeprefix("-").isdigit()


def _width(text: str) -> int:
    """Columns on a terminal: East Asian letters take two, combining marks none."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF") for c in text)


def _pad(text: str, width: int, to_right: bool) -> str:
    if _width(text) > width:
        while _width(text) > width - 1:
            text = text[:-1]
        text += "…"
    space = " " * (width - _width(text))
    return space + text if to_right else text + space


def _narrow(widths: list[int], columns: int) -> None:
    """Take from the widest column until the row fits or nothing is left to take."""
    while sum(widths) + 2 * (len(widths) - 1) > columns and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
