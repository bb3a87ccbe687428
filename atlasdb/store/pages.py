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
record are read; the latter are asked of the disk together.
"""

import mmap
import os
import re
import struct
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any, Final, NamedTuple

import numpy as np
import numpy.typing as npt

from atlasdb.store.claims import FREE, Claims, Fault, shared

BYTES: Final = 4096
"""Of a page, wherever atlasdb runs."""
HEAD: Final = 16
_TABLE_NAME = re.compile(rb"[0-9a-f]{8}/[a-z]+")
_BRANCH, _LEAF, _LONG, _META = 1, 2, 4, 8
_IS_LONG, _IS_TABLE = 1, 2
_NUMBERS, _NO_FOLDER = 0x8, 0x4000
"""Flags of the list of free pages: its keys are numbers; and, kept with it, that the file has no folder of its own."""
_NO_HEAD = "is not the head of an LMDB file"
_NONE = (1 << 64) - 1
_MAGIC = 0xBEEFC0DE
_KEY_LIMIT = 511
_DEEPEST = 32

_HEAD = np.dtype([("page", "<u8"), ("pad", "<u2"), ("flags", "<u2"), ("pages", "<u4")])
_PAGE = struct.Struct("<QHHHH")
_NODE = struct.Struct("<HHHH")
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


class Place(NamedTuple):
    """A long record's first page, and its bytes."""

    page: int
    size: int


class _Node(NamedTuple):
    key: bytes
    flags: int
    size: int
    data: bytes


class _Wrong(Exception):
    """A fault, on its way to its table."""

    def __init__(self, page: int, what: str) -> None:
        super().__init__(page, what)
        self.page, self.what = page, what


class Overtaken(Exception):
    """The head of the commit that was asked for has been written over by later ones."""


@dataclass(slots=True)
class Structure:
    """What was found in a file: its faults; first pages of long records whose head is wrong, with what it must be
    (`heads`: page -> pages); the page of each table's root; which pages belong to what; and, of tables that were asked
    for, where their long records are."""

    faults: list[Fault] = field(default_factory=list)
    heads: dict[int, int] = field(default_factory=dict)
    roots: dict[str, int] = field(default_factory=dict)
    claims: list[Claims] = field(default_factory=list)
    places: dict[str, dict[bytes, Place]] = field(default_factory=dict)


def look(file: Path, commit: int | None = None, keep: str = "") -> Structure:
    """Go through the structure of a file; of the commit with this number, else of the last. Overtaken.

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
        mapped = mmap.mmap(opened.fileno(), 0, prot=mmap.PROT_READ)
    mapped.madvise(mmap.MADV_RANDOM)
    if all(int.from_bytes(mapped[start : start + 4], "little") != _MAGIC for start in (HEAD, BYTES + HEAD)):
        return found  # no LMDB file at all, as LMDB will say
    try:
        _Walk(mapped, found, keep).run(commit)
    except _Wrong as wrong:
        found.faults.append(Fault("", wrong.page, wrong.what))
    return found


def heads(file: Path) -> list[Fault]:
    """What is wrong with the heads of an LMDB file, in what no commit changes."""
    with open(file, "rb") as opened:
        wrong = [page for page in (0, 1) if _head_of(page, opened.read(BYTES).ljust(BYTES)) is None]
    return [Fault("", page, _NO_HEAD) for page in wrong]


def _head_of(page: int, content: bytes) -> Any:
    """The head of a file that a page holds; None: it holds none."""
    number, _, flags, _, _ = _PAGE.unpack_from(content)
    meta = np.frombuffer(content, _META_LAYOUT, 1, HEAD)[0]
    sound = meta["magic"] == _MAGIC and meta["version"] == 1 and meta["free"]["pad"] == BYTES
    return meta if sound and number == page and flags == _META else None


def mend(file: Path, heads: Mapping[int, int]) -> None:
    """Write the heads of long records as they must be."""
    with open(file, "r+b") as opened:
        for page, count in heads.items():
            head = page.to_bytes(8, "little") + bytes(2) + _LONG.to_bytes(2, "little") + count.to_bytes(4, "little")
            os.pwrite(opened.fileno(), head, page * BYTES)
        os.fsync(opened.fileno())


def is_table(key: bytes) -> bool:
    """Whether a key of the main table is a collection's table."""
    return _TABLE_NAME.fullmatch(key) is not None


def pages_of(size: int) -> int:
    """Pages of a long record of so many bytes."""
    return (HEAD - 1 + size) // BYTES + 1


class _Walk:
    def __init__(self, mapped: mmap.mmap, found: Structure, keep: str) -> None:
        self._mapped = mapped
        self._found = found
        self._keep = keep
        self._last = 1

    def run(self, commit: int | None) -> None:
        meta = self._meta(commit)
        self._last = int(meta["last"])
        if self._last >= len(self._mapped) // BYTES:
            raise _Wrong(self._last, f"is beyond the end: the file is cut short, {len(self._mapped)} bytes")
        if (int(meta["free"]["flags"]) & ~_NO_FOLDER, int(meta["main"]["flags"])) != (_NUMBERS, 0):
            raise _Wrong(int(meta["commit"]) & 1, "does not say what kind of tables there are")
        nodes, main = self._table("", meta["main"])
        claims = [Claims.of("", [0, 1]), main]
        try:
            free, own = self._table(FREE, meta["free"], numbers=True)
            claims += [own, Claims.of(FREE, self._free(free))]
        except _Wrong as wrong:
            self._found.faults.append(Fault(FREE, wrong.page, wrong.what))
        for node in nodes:
            if (claim := self._of_main(node)) is not None:
                claims.append(claim)
        faults, used, bad = shared(claims, self._last + 1)
        self._found.faults += faults
        self._found.claims = claims
        self._found.heads = bad
        nobody = np.flatnonzero(used == 0)
        if len(nobody) and not self._found.faults:
            raise _Wrong(int(nobody[0]), f"belongs to nothing, nor do {len(nobody) - 1} more: what led there is lost")

    def _of_main(self, node: _Node) -> Claims | None:
        """The pages of the table that a node of the main table leads to; None: it is a record, or damaged."""
        name = node.key.decode("latin-1")
        named = is_table(node.key)
        if not named and not node.flags & _IS_TABLE:
            return None
        try:
            if not named or not node.flags & _IS_TABLE or node.size != _TABLE.itemsize:
                raise _Wrong(0, f"leads to {name!r}, which is no table")
            table = np.frombuffer(node.data, _TABLE)[0]
            self._found.roots[name] = int(table["root"])
            if table["flags"]:
                raise _Wrong(int(table["root"]), f"is of a table of the kind {int(table['flags']):#x}")
            return self._table(name, table)[1]
        except _Wrong as wrong:
            self._found.faults.append(Fault(name if named else "", wrong.page, wrong.what))
            return None

    def _meta(self, commit: int | None) -> Any:
        metas = [_head_of(page, self._mapped[page * BYTES : (page + 1) * BYTES]) for page in (0, 1)]
        if None in metas:
            raise _Wrong(metas.index(None), _NO_HEAD)
        if commit is not None:
            for meta in metas:
                if meta["commit"] == commit:
                    return meta
            raise Overtaken
        first, second = (int(meta["commit"]) for meta in metas)
        if (first, second) != (0, 0) and (abs(first - second) != 1 or first & 1):
            raise _Wrong(0, f"and page 1 disagree about the last commit: {first}, {second}")
        return metas[first < second]

    # ---- one table ----

    def _table(self, name: str, table: Any, numbers: bool = False) -> tuple[list[_Node], Claims]:
        """The nodes of its leaves, in order, and its pages; _Wrong where it is damaged. `numbers`: its keys are u64."""
        root, depth = int(table["root"]), int(table["depth"])
        if root == _NONE:
            if table["entries"] or depth:
                raise _Wrong(0, f"says that {name or 'a table'} has entries but no root")
            return [], Claims.of(name, [])
        if not 1 <= depth <= _DEEPEST:
            raise _Wrong(root, f"is at a depth of {depth}")
        inner: list[int] = []
        leaves: list[int] = []
        nodes: list[_Node] = []
        longs: list[tuple[int, int]] = []
        for node in self._under(root, depth, b"", None, (inner, leaves), numbers):
            if node.flags & _IS_LONG:
                page, needed = int.from_bytes(node.data, "little"), pages_of(node.size)
                if not 2 <= page <= self._last + 1 - needed:
                    raise _Wrong(page, f"is to hold a long record of {needed} pages; the last page is {self._last}")
                longs.append((page, needed))
                if self._keep and name.startswith(self._keep):
                    self._found.places.setdefault(name, {})[node.key] = Place(page, node.size)
            nodes.append(node)
        claims = self._longs(name, longs, int(table["long"]), root).and_pages(inner + leaves)
        told = [int(table[part]) for part in ("branch", "leaf", "entries")]
        if told != [len(inner), len(leaves), len(nodes)]:
            raise _Wrong(root, f"has {len(inner)}, {len(leaves)} pages and {len(nodes)} entries under it, not {told}")
        return nodes, claims

    def _longs(self, name: str, longs: list[tuple[int, int]], told: int, root: int) -> Claims:
        """The pages of a table's long records, as their heads have them where those fit what its root says."""
        starts, needed = np.array(longs, np.int64).reshape(-1, 2).T
        for page in starts.tolist() if len(starts) > 1 else []:
            with suppress(OSError):
                self._mapped.madvise(mmap.MADV_WILLNEED, page * BYTES, BYTES)
        pages = np.frombuffer(self._mapped, np.uint8, (self._last + 1) * BYTES).reshape(-1, BYTES)
        heads = pages[starts, :HEAD].reshape(-1).view(_HEAD)
        counts = heads["pages"].astype(np.int64)
        sound = (heads["page"] == starts.astype(np.uint64)) & (heads["flags"] == _LONG)
        sound &= (needed <= counts) & (counts <= self._last + 1 - starts)
        as_told = np.where(sound, counts, needed)
        if as_told.sum() != told:  # a head that says more than is needed may be the wrong one
            sound &= counts == needed
            if needed.sum() != told:
                raise _Wrong(root, f"has {as_told.sum()} pages of long records under it, not {told}")
            as_told = needed
        return Claims(name, starts, as_told, ~sound)

    def _under(
        self,
        page: int,
        depth: int,
        low: bytes,
        high: bytes | None,
        met: tuple[list[int], list[int]],
        numbers: bool,
    ) -> Iterator[_Node]:
        """The leaf nodes under a page, whose keys are to be from `low` on and below `high`; inner pages and leaves are
        noted in `met`."""
        if not 2 <= page <= self._last:
            raise _Wrong(page, f"is led to, and the last page is {self._last}")
        met[depth == 1].append(page)
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
            yield from self._under(node.size, depth - 1, first, last, met, numbers)

    def _nodes(self, page: int, kind: int) -> list[_Node]:
        content = self._mapped[page * BYTES : (page + 1) * BYTES]
        number, _, flags, lower, upper = _PAGE.unpack_from(content)
        if number != page or flags != kind:
            raise _Wrong(page, f"says that it is page {number} of the kind {flags:#x}, not {kind:#x}")
        if lower <= HEAD or lower & 1 or lower > upper or upper > BYTES:
            raise _Wrong(page, f"has its nodes from {lower} to {upper}")
        offsets = struct.unpack_from(f"<{(lower - HEAD) // 2}H", content, HEAD)
        nodes, taken = [], 0
        for at in offsets:
            if at < upper or at & 1 or at + _NODE.size > BYTES:
                raise _Wrong(page, f"has a node at {at}")
            low, high, flags, size = _NODE.unpack_from(content, at)
            data = at + _NODE.size + size
            if kind == _BRANCH:
                value, length = low | high << 16 | flags << 32, 0
            else:
                value = low | high << 16
                length = 8 if flags & _IS_LONG else value
                if flags & ~(_IS_LONG | _IS_TABLE):
                    raise _Wrong(page, f"has a node of the kind {flags:#x}")
            if size > _KEY_LIMIT or data + length > BYTES:
                raise _Wrong(page, "has a node beyond its end")
            taken += (data + length - at + 1) & ~1
            nodes.append(_Node(content[data - size : data], flags, value, content[data : data + length]))
        if taken != BYTES - upper or len(set(offsets)) != len(offsets):
            raise _Wrong(page, "has nodes that do not fill it")
        return nodes

    # ---- the list of free pages ----

    def _free(self, records: list[_Node]) -> npt.NDArray[np.int64]:
        found = [np.zeros(0, np.int64)]
        for node in records:
            data = node.data
            if node.flags & _IS_LONG:
                start = int.from_bytes(data, "little") * BYTES + HEAD
                data = self._mapped[start : start + node.size]
            words = np.frombuffer(data, "<u8") if node.size % 8 == 0 else np.zeros(0, np.uint64)
            count = int(words[0]) if len(words) else -1
            if not 0 <= count < len(words):
                raise _Wrong(0, "leads to a list of free pages that is cut short")
            pages = words[1 : 1 + count]
            if count and (pages.min() < 2 or pages.max() > self._last or (pages[1:] >= pages[:-1]).any()):
                raise _Wrong(0, "leads to a list of free pages that can't be")
            found.append(pages.astype(np.int64))
        return np.concatenate(found)


def _ordered(key: bytes, numbers: bool) -> bytes:
    """A key that sorts as LMDB sorts it."""
    return key[::-1] if numbers else key
