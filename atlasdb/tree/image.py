"""Trees as a build plans them, and as a descent reads them.

    ROOT    centroids of INTER nodes; each has `gates`, INTER nodes near it, where a walk enters
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
from atlasdb.tree.codes import encoded
from atlasdb.tree.slots import Positions, Slots
from atlasdb_contract.types import Ids, Vectors

I32s = npt.NDArray[np.int32]


@dataclass(frozen=True, slots=True)
class TreePlan:
    """What a build found, before anything is written: C ROOTs, B INTER nodes and K slots of D dimensions.

    ROOTs and INTER nodes are numbered so that near ones are near; -1 pads `gates` and `links`, at the end of a row.
    """

    roots: Vectors
    """int8 (C, D), as a row is compared with them."""
    gates: I32s
    """(C, E): the INTER nodes where a walk enters under each ROOT, nearest first."""
    nodes: Vectors
    """int8 (B, D), as a row is compared with them."""
    links: I32s
    """(B, L): the graph. From the gates every node is reached."""
    starts: Positions
    """int64 (B + 1,): node b has the slots starts[b] .. starts[b + 1]."""
    order: Positions
    """int64 (K,): for each slot, in the order of nodes, the one of the given slots that has its key."""
    entry_starts: Positions
    """int64 (K + 1,): slot i has the entries entry_starts[i] .. entry_starts[i + 1]."""
    ids: Ids
    value_ids: Ids
    """u64 (M,), of the entries."""

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


SLOT_COLUMNS = 8
"""starts, subjects, scales, checks, ids, value ids, seals, keys."""
NODE_COLUMNS = 6
"""starts, scales, code scales, links, codes, vectors."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree: `roots` (C, D) and `gates` (C, E) copied, its nodes and slots where they lie."""

    roots: Vectors
    gates: I32s
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
        bits, code_scales = encoded(planned.nodes)
        nodes: list[npt.NDArray[Any]] = [
            planned.starts.astype(np.uint64),
            planned.nodes.scales,
            code_scales,
            planned.links,
            bits,
            planned.nodes.data,
        ]
        leaf, slots = slots_in_memory(planned.slots(given, 0, len(planned.order)))
        return Tree(
            planned.roots,
            planned.gates,
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


WHOLE = 62
"""The shift of columns that are all in one record."""


def in_memory(arrays: Sequence[npt.NDArray[Any]], count: int) -> Columns:
    """One record of contiguous arrays, whose owner keeps them alive."""
    if not count:
        return Columns.none(len(arrays))
    at = [array.__array_interface__["data"][0] for array in arrays]
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
    return arrays, in_memory(arrays, len(slots))


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
