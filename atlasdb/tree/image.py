"""Trees as a build plans them, and as a descent reads them.

    ROOT    centroids of INTER nodes; ROOT c has the nodes root_starts[c] .. root_starts[c + 1], where a walk enters
    INTER   one node for a head, or for a piece of a big one; linked to near nodes: the graph that is walked
    LEAF    the entry keys, in slots (atlasdb/tree/slots.py); node b has the slots starts[b] .. starts[b + 1]

A collection is a forest: a few trees and the delta, the slots that no tree has yet. Nothing here holds vectors but the
ROOTs: a `Columns` knows the addresses of records in the store's map, and is used while the view it was made in is open.
"""

import ctypes
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from atlasdb import crc
from atlasdb.tree.codes import encoded, words
from atlasdb.tree.slots import Positions, Slots
from atlasdb.tree.walking import RESIDUALS, ROWS, row_bytes
from atlasdb_contract.types import Ids, Vectors

I32s = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TreePlan:
    """What a build found, before anything is written: C ROOTs, B INTER nodes and K slots of D dimensions.

    ROOTs and INTER nodes are numbered so that near ones are near; -1 pads `links`, at the end of a row.
    """

    roots: Vectors
    """int8 (C, D), as a row is compared with them."""
    root_starts: Positions
    """int64 (C + 1,): ROOT c has the INTER nodes root_starts[c] .. root_starts[c + 1]."""
    nodes: Vectors
    """int8 (B, D), as a row is compared with them."""
    links: I32s
    """(B, L): the graph. A node has a link from another, or is alone."""
    starts: Positions
    """int64 (B + 1,): node b has the slots starts[b] .. starts[b + 1]."""
    order: Positions
    """int64 (K,): for each slot, in the order of nodes, the one of the given slots that has its key."""
    entry_starts: Positions
    """int64 (K + 1,): slot i has the entries entry_starts[i] .. entry_starts[i + 1]."""
    ids: Ids
    value_ids: Ids
    """u64 (M,), of the entries."""
    residuals: Vectors
    """int8 (R, D): how keys differ from their node's mean, typically; R at most 256."""
    codes: npt.NDArray[np.uint8]
    """(K,), of each slot: which of them is nearest."""

    def slots(self, given: Slots, first: int, stop: int) -> Slots:
        """The slots from `first` to `stop`, copied; `given` is what the plan was made of."""
        here = self.order[first:stop]
        starts = self.entry_starts[first : stop + 1]
        entries = slice(int(starts[0]), int(starts[-1]))
        keys = given.keys.take(here)
        return Slots(given.subjects[here], keys, starts - starts[0], self.ids[entries], self.value_ids[entries])


@dataclass(frozen=True, slots=True)
class Columns:
    """Records of equal columns somewhere in memory: `counts` int64 (c,) rows in each, `at` int64 (c, columns) the
    addresses where its columns begin. Every record but the last has 1 << shift rows; in a delta they have any number.
    """

    counts: Positions
    at: Positions

    total: int = field(init=False)
    """Rows in all."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "total", int(self.counts.sum()))

    def __len__(self) -> int:
        return self.total

    @staticmethod
    def none(columns: int) -> "Columns":
        """No record."""
        return Columns(np.zeros(0, np.int64), np.zeros((0, columns), np.int64))

    @staticmethod
    def joined(parts: Sequence["Columns"]) -> "Columns":
        """The records of several, in order; at least one."""
        return Columns(np.concatenate([part.counts for part in parts]), np.concatenate([part.at for part in parts]))


SLOT_COLUMNS = 9
"""starts, subjects, scales, checks, ids, value ids, seals, keys; the last is no address but how many entries it has."""
NODE_COLUMNS = 2
"""rows, vectors."""


def node_rows(code_words: int, links: int) -> np.dtype[np.void]:
    """What a walk reads of an INTER node with a code of so many words, in one row of whole cache lines: its slots are
    `count` from `first` on, and `residuals` are the codes of the first of them. See `atlasdb.tree.walking`."""
    fields: list[tuple[Any, ...]] = [
        ("code", "<u8", (code_words,)),
        ("first", "<u8"),
        ("scale", "<f4"),
        ("code_scale", "<f4"),
        ("count", "<u2"),
        ("zero", "<u2"),
        ("residuals", "u1", (RESIDUALS,)),
        ("links", "<i4", (links,)),
    ]
    packed = np.dtype(fields)
    offsets = [packed.fields[name][1] for name in packed.names or ()]  # type: ignore[index]
    formats = [field[1:] if len(field) > 2 else field[1] for field in fields]
    names = [field[0] for field in fields]
    return np.dtype(
        {"names": names, "formats": formats, "offsets": offsets, "itemsize": int(row_bytes(code_words, links))}
    )


def rows_of(planned: TreePlan, first: int, stop: int) -> npt.NDArray[np.void]:
    """The rows of a plan's INTER nodes from `first` to `stop`."""
    vectors, starts = planned.nodes.take(slice(first, stop)), planned.starts[first : stop + 1]
    bits, code_scales = encoded(vectors)
    counts = np.diff(starts)
    rows = np.zeros(len(vectors), node_rows(bits.shape[1], planned.links.shape[1]))
    rows["code"], rows["code_scale"], rows["scale"] = bits, code_scales, vectors.scales
    rows["first"], rows["count"], rows["links"] = starts[:-1], counts, planned.links[first:stop]
    node = np.repeat(np.arange(len(rows)), counts)
    place = np.arange(len(node)) - np.repeat(starts[:-1] - starts[0], counts)
    told = place < RESIDUALS
    rows["residuals"][node[told], place[told]] = planned.codes[starts[0] : starts[-1]][told]
    return rows


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree: `roots` (C, D), `root_starts` (C + 1,) and `residuals` (R, D) copied, its nodes and slots where they
    lie."""

    roots: Vectors
    root_starts: Positions
    residuals: Vectors
    nodes: Columns
    links: int
    """L, of each node."""
    slots: Columns
    nodes_shift: int
    slots_shift: int
    keep: object = None
    """What owns the memory, where no view does."""

    @property
    def node_count(self) -> int:
        """B."""
        return len(self.nodes)

    @staticmethod
    def of(planned: TreePlan, given: Slots) -> "Tree":
        """A plan's tree in plain memory, for measurements."""
        nodes: list[npt.NDArray[Any]] = [rows_of(planned, 0, len(planned.nodes)), planned.nodes.data]
        leaf, slots = slots_in_memory(planned.slots(given, 0, len(planned.order)))
        return Tree(
            planned.roots,
            planned.root_starts,
            planned.residuals,
            in_memory(nodes, len(planned.nodes)),
            planned.links.shape[1],
            slots,
            WHOLE,
            WHOLE,
            keep=(nodes, leaf),
        )


def lent(address: int, shape: tuple[int, ...], kind: Any) -> npt.NDArray[Any]:
    """An array where it lies, as long as its memory is there."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    memory = (ctypes.c_uint8 * size).from_address(int(address))
    return np.frombuffer(memory, kind).reshape(shape)


def rows_in(tree: Tree, record: int) -> npt.NDArray[np.void]:
    """The rows of the INTER nodes of one record of a tree, where they lie."""
    kind = node_rows(words(tree.roots.dimension), tree.links)
    return lent(tree.nodes.at[record, ROWS], (int(tree.nodes.counts[record]),), kind)


WHOLE = 62
"""The shift of columns that are all in one record."""


def in_memory(arrays: Sequence[npt.NDArray[Any]], count: int, *numbers: int) -> Columns:
    """One record of contiguous arrays, whose owner keeps them alive; `numbers` stand after their addresses."""
    at = [*(array.__array_interface__["data"][0] for array in arrays), *numbers]
    if not count:
        return Columns.none(len(at))
    return Columns(np.array([count], np.int64), np.array([at], np.int64))


def slots_in_memory(slots: Slots) -> tuple[list[npt.NDArray[Any]], Columns]:
    """The columns of slots in one record of plain memory, and where they lie; the caller keeps them alive."""
    checks = crc.of_keys(slots.subjects, slots.keys)
    seals = crc.of_entries(slots.ids, slots.value_ids, np.repeat(checks, np.diff(slots.starts)))
    arrays: list[npt.NDArray[Any]] = [
        slots.starts.astype(np.uint32),
        slots.subjects,
        slots.keys.scales,
        checks,
        slots.ids,
        slots.value_ids,
        seals,
        slots.keys.data,
    ]
    return arrays, in_memory(arrays, len(slots), slots.entries)


NO_SLOTS: Positions = np.zeros(0, np.int64)


@dataclass(frozen=True, slots=True)
class Forest:
    """All slots of a collection at one moment: its trees, and the delta.

    `dead` u64: bit i of word j is set if the entry 64 j + i was deleted; entries beyond its end were not.
    """

    dimension: int
    trees: tuple[Tree, ...]
    delta: Columns
    dead: Ids
    slots: Columns
    """Of the trees, in order, and of the delta."""
    bases: tuple[int, ...]
    """Where each tree's records begin in `slots`, and the delta's."""
    out: Positions
    """Slots, as atlasdb/tree/scoring.py names them, that are known to be damaged, sorted: nothing is found in them."""

    @staticmethod
    def of(dimension: int, trees: Sequence[Tree], delta: Columns, dead: Ids, out: Positions = NO_SLOTS) -> "Forest":
        """Put together."""
        parts = [*(tree.slots for tree in trees), delta]
        bases = np.cumsum([0, *(len(part.counts) for part in parts)])[:-1]
        return Forest(dimension, tuple(trees), delta, dead, Columns.joined(parts), tuple(bases.tolist()), out)
