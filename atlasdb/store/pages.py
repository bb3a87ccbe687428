"""The structure of LMDB's file, looked at before LMDB reads it: LMDB trusts every number in a page, and one that is
wrong makes it crash, or find other data in silence.

    page    number u64, pad u16, flags u16, lower u16, upper u16 (a long record's first page: its pages u32), then
            offsets u16 of its nodes, in the order of their keys; the nodes from `upper` on, without a gap
    node    low u16, high u16, flags u16, key bytes u16, key, and on a leaf its data: a record, a table's root, or the
            number of the first page of a long record
    meta    pages 0 and 1: the roots of the list of free pages and of the main table, the last page, the commit's
            number

Every page belongs to exactly one thing: a table, a long record, or the list of free pages. That is counted, and
compared with what each table's root says of itself: a number that leads to a wrong page of the right kind is found by
the page that is used twice and the one that nobody uses. Only inner pages, leaves and the first page of each long
record are read.
"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

BYTES: Final = 4096
"""Of a page, wherever atlasdb runs."""
HEAD: Final = 16
_BRANCH, _LEAF, _LONG, _META = 1, 2, 4, 8
_IS_LONG, _IS_TABLE = 1, 2
_NONE = (1 << 64) - 1
_MAGIC = 0xBEEFC0DE
_KEY_LIMIT = 511
_DEEPEST = 32

_HEAD = np.dtype([("page", "<u8"), ("pad", "<u2"), ("flags", "<u2"), ("lower", "<u2"), ("upper", "<u2")])
_NODE = np.dtype([("low", "<u2"), ("high", "<u2"), ("flags", "<u2"), ("key", "<u2")])
_TABLE = np.dtype(
    [
        ("pad", "<u4"), ("flags", "<u2"), ("depth", "<u2"), ("branch", "<u8"), ("leaf", "<u8"), ("long", "<u8"),
        ("entries", "<u8"), ("root", "<u8"),
    ]
)  # fmt: skip
_META_LAYOUT = np.dtype(
    [
        ("magic", "<u4"), ("version", "<u4"), ("address", "<u8"), ("map", "<u8"), ("free", _TABLE), ("main", _TABLE),
        ("last", "<u8"), ("commit", "<u8"),
    ]
)  # fmt: skip


class Fault(NamedTuple):
    """Damage: the table that it is in ("": the file as a whole), the page, what is wrong."""

    table: str
    page: int
    what: str

    def __str__(self) -> str:
        where = f" (table {self.table})" if self.table else ""
        return f"page {self.page}{where} {self.what}"


class Place(NamedTuple):
    """A long record's first page, and its bytes."""

    page: int
    size: int


class _Node(NamedTuple):
    key: bytes
    flags: int
    size: int
    data: npt.NDArray[np.uint8]


class _Wrong(Exception):
    """A fault, on its way to its table."""

    def __init__(self, page: int, what: str) -> None:
        super().__init__(page, what)
        self.page, self.what = page, what


@dataclass(slots=True)
class Structure:
    """What was found in a file: its faults; first pages of long records whose head is wrong, with what it must be
    (`heads`: page -> pages); the page of each table's root; and, of tables that were asked for, where their long
    records are."""

    faults: list[Fault] = field(default_factory=list)
    heads: dict[int, int] = field(default_factory=dict)
    roots: dict[str, int] = field(default_factory=dict)
    places: dict[str, dict[bytes, Place]] = field(default_factory=dict)


def look(file: Path, commit: int | None = None, keep: str = "") -> Structure:
    """Go through the structure of a file; of the commit with this number, else of the last.

    `keep`: the beginning of the names of tables whose long records' places are wanted.
    """
    found = Structure()
    size = file.stat().st_size if file.exists() else 0
    if size == 0:
        return found
    if size < 2 * BYTES:
        found.faults.append(Fault("", 0, "is cut short"))
        return found
    with open(file, "rb") as opened:
        memory = np.memmap(opened, np.uint8, "r")
    if all(int.from_bytes(memory[start : start + 4].tobytes(), "little") != _MAGIC for start in (HEAD, BYTES + HEAD)):
        return found  # no LMDB file at all, as LMDB will say
    try:
        _Walk(memory, found, keep).run(commit)
    except _Wrong as wrong:
        found.faults.append(Fault("", wrong.page, wrong.what))
    return found


def mend(file: Path, heads: dict[int, int]) -> None:
    """Write the heads of long records as they must be."""
    with open(file, "r+b") as opened:
        for page, count in heads.items():
            head = page.to_bytes(8, "little") + bytes(2) + _LONG.to_bytes(2, "little") + count.to_bytes(4, "little")
            os.pwrite(opened.fileno(), head, page * BYTES)
        os.fsync(opened.fileno())


def pages_of(size: int) -> int:
    """Pages of a long record of so many bytes."""
    return (HEAD - 1 + size) // BYTES + 1


class _Walk:
    def __init__(self, memory: npt.NDArray[np.uint8], found: Structure, keep: str) -> None:
        self._memory = memory
        self._found = found
        self._keep = keep
        self._last = 1
        self._uses = np.zeros(2, np.uint8)

    def run(self, commit: int | None) -> None:
        meta = self._meta(commit)
        self._last = int(meta["last"])
        if self._last >= len(self._memory) // BYTES:
            raise _Wrong(self._last, f"is beyond the end: the file is cut short, {len(self._memory)} bytes")
        self._uses = np.zeros(self._last + 1, np.uint8)
        self._uses[:2] = 1
        free = list(self._table("", meta["free"], numbers=True))
        tables = []
        for node in self._table("", meta["main"]):
            if node.flags & _IS_TABLE:
                if node.size != _TABLE.itemsize:
                    raise _Wrong(0, f"holds no table where {node.key!r} is")
                tables.append((node.key.decode("latin-1"), np.frombuffer(node.data.tobytes(), _TABLE)[0]))
        for name, table in tables:
            self._found.roots[name] = int(table["root"])
            try:
                for _ in self._table(name, table):
                    pass
            except _Wrong as wrong:
                self._found.faults.append(Fault(name, wrong.page, wrong.what))
        self._free(free)
        self._count()

    def _meta(self, commit: int | None) -> Any:
        metas: list[Any] = []
        for page in (0, 1):
            head = np.frombuffer(self._memory, _HEAD, 1, page * BYTES)[0]
            meta = np.frombuffer(self._memory, _META_LAYOUT, 1, page * BYTES + HEAD)[0]
            sound = meta["magic"] == _MAGIC and meta["version"] == 1 and meta["free"]["pad"] == BYTES
            sound &= head["page"] == page and head["flags"] == _META and meta["free"]["flags"] & 0xBFFF == 8
            metas.append(meta if sound else None)
        if None in metas:
            raise _Wrong(metas.index(None), "is not the head of an LMDB file")
        if commit is not None:
            for meta in metas:
                if meta["commit"] == commit:
                    return meta
            raise _Wrong(0, f"does not know the commit {commit}")
        first, second = (int(meta["commit"]) for meta in metas)
        if (first, second) != (0, 0) and (abs(first - second) != 1 or first & 1):
            raise _Wrong(0, f"and page 1 disagree about the last commit: {first}, {second}")
        return metas[first < second]

    # ---- one table ----

    def _table(self, name: str, table: Any, numbers: bool = False) -> Iterator[_Node]:
        """The nodes of its leaves, in order; _Wrong where it is damaged. `numbers`: its keys are u64."""
        counts = [0, 0, 0, 0]
        longs: list[tuple[int, int, int]] = []
        if int(table["root"]) == _NONE:
            if table["entries"] or table["depth"]:
                raise _Wrong(0, f"says that {name or 'a table'} has entries but no root")
            return
        if not 1 <= table["depth"] <= _DEEPEST:
            raise _Wrong(int(table["root"]), f"is at a depth of {table['depth']}")
        for node in self._under(int(table["root"]), int(table["depth"]), b"", None, counts, numbers):
            counts[3] += 1
            if node.flags & _IS_LONG:
                page, needed = int.from_bytes(node.data[:8].tobytes(), "little"), pages_of(node.size)
                longs.append((page, needed, self._long(page, needed)))
                if self._keep and name.startswith(self._keep):
                    self._found.places.setdefault(name, {})[node.key] = Place(page, node.size)
                node = node._replace(data=self._memory[page * BYTES + HEAD :][: node.size])
            yield node
        self._longs(longs, int(table["long"]), int(table["root"]))
        told = [int(table[part]) for part in ("branch", "leaf", "entries")]
        if told != [counts[0], counts[1], counts[3]]:
            raise _Wrong(
                int(table["root"]), f"has {counts[0]}, {counts[1]} pages and {counts[3]} entries under it, not {told}"
            )

    def _long(self, page: int, needed: int) -> int:
        """The pages of a long record as its head has them; 0: the head is wrong."""
        if not 2 <= page <= self._last + 1 - needed:
            raise _Wrong(page, f"is to hold a long record of {needed} pages; the last page is {self._last}")
        head = np.frombuffer(self._memory, _HEAD, 1, page * BYTES)[0]
        count = int(head["lower"]) | int(head["upper"]) << 16
        sound = head["page"] == page and head["flags"] == _LONG and needed <= count <= self._last + 1 - page
        return count if sound else 0

    def _longs(self, longs: list[tuple[int, int, int]], told: int, root: int) -> None:
        """Compare the pages of a table's long records with what its root says; heads that are wrong are noted."""
        as_told = sum(count or needed for _, needed, count in longs)
        if as_told != told:  # a head that says more than is needed may be the wrong one
            longs = [(page, needed, count if count == needed else 0) for page, needed, count in longs]
            if sum(needed for _, needed, _ in longs) != told:
                raise _Wrong(root, f"has {as_told} pages of long records under it, not {told}")
        for page, needed, count in longs:
            self._use(page, count or needed)
            if not count:
                self._found.heads[page] = needed

    def _use(self, page: int, count: int) -> None:
        self._uses[page : page + count] += self._uses[page : page + count] < 3

    def _under(
        self, page: int, depth: int, low: bytes, high: bytes | None, counts: list[int], numbers: bool
    ) -> Iterator[_Node]:
        """The leaf nodes under a page, whose keys are to be from `low` on and below `high`."""
        if not 2 <= page <= self._last:
            raise _Wrong(page, f"is led to, and the last page is {self._last}")
        if self._uses[page]:
            raise _Wrong(page, "is led to twice")
        self._use(page, 1)
        counts[depth == 1] += 1
        nodes = self._nodes(page, _LEAF if depth == 1 else _BRANCH)
        keys = [_ordered(node.key, numbers) for node in nodes]
        if depth > 1:
            keys[0] = low
        if any(one >= two for one, two in pairwise(keys)):
            raise _Wrong(page, "has its keys out of order")
        if keys[0] < low or (high is not None and keys[-1] >= high):
            raise _Wrong(page, "has keys that belong elsewhere")
        if depth == 1:
            yield from nodes
            return
        for node, first, last in zip(nodes, keys, [*keys[1:], high], strict=True):
            yield from self._under(node.size, depth - 1, first, last, counts, numbers)

    def _nodes(self, page: int, kind: int) -> list[_Node]:
        memory = self._memory[page * BYTES : (page + 1) * BYTES]
        head = np.frombuffer(memory, _HEAD, 1)[0]
        lower, upper = int(head["lower"]), int(head["upper"])
        if head["page"] != page or head["flags"] != kind:
            raise _Wrong(page, f"says that it is page {head['page']} of the kind {head['flags']:#x}, not {kind:#x}")
        if lower <= HEAD or lower & 1 or lower > upper or upper > BYTES:
            raise _Wrong(page, f"has its nodes from {lower} to {upper}")
        offsets = np.frombuffer(memory, "<u2", (lower - HEAD) // 2, HEAD).tolist()
        nodes, taken = [], 0
        for at in offsets:
            if at < upper or at & 1 or at + _NODE.itemsize > BYTES:
                raise _Wrong(page, f"has a node at {at}")
            low, high, flags, size = np.frombuffer(memory, "<u2", 4, at).tolist()
            data = at + _NODE.itemsize + size
            if kind == _BRANCH:
                number, length = low | high << 16 | flags << 32, 0
            else:
                number = low | high << 16
                length = 8 if flags & _IS_LONG else number
                if flags & ~(_IS_LONG | _IS_TABLE):
                    raise _Wrong(page, f"has a node of the kind {flags:#x}")
            if size > _KEY_LIMIT or data + length > BYTES:
                raise _Wrong(page, "has a node beyond its end")
            taken += (data + length - at + 1) & ~1
            nodes.append(_Node(memory[data - size : data].tobytes(), flags, number, memory[data : data + length]))
        if taken != BYTES - upper or len(set(offsets)) != len(offsets):
            raise _Wrong(page, "has nodes that do not fill it")
        return nodes

    # ---- the file as a whole ----

    def _free(self, records: list[_Node]) -> None:
        for node in records:
            words = np.frombuffer(node.data.tobytes(), "<u8") if node.size % 8 == 0 else np.zeros(0, np.uint64)
            count = int(words[0]) if len(words) else -1
            if not 0 <= count < len(words):
                raise _Wrong(0, "leads to a list of free pages that is cut short")
            pages = words[1 : 1 + count]
            if count and (pages.min() < 2 or pages.max() > self._last or (pages[1:] >= pages[:-1]).any()):
                raise _Wrong(0, "leads to a list of free pages that can't be")
            at = pages.astype(np.int64)
            self._uses[at] += self._uses[at] < 3

    def _count(self) -> None:
        twice = np.flatnonzero(self._uses > 1)
        if len(twice):
            raise _Wrong(int(twice[0]), f"is used by two, as are {len(twice) - 1} more")
        nobody = np.flatnonzero(self._uses == 0)
        if len(nobody) and not self._found.faults:
            raise _Wrong(int(nobody[0]), f"belongs to nothing, nor do {len(nobody) - 1} more: what led there is lost")


def _ordered(key: bytes, numbers: bool) -> bytes:
    """A key that sorts as LMDB sorts it."""
    return key[::-1] if numbers else key
