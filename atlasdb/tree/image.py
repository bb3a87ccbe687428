"""Trees as a build plans them, and as a descent reads them.

    ROOT    centroids of INTER nodes; each has `gates`, INTER nodes near it, where a walk enters
    INTER   one node for a head, or for a piece of a big one; linked to near nodes: the graph that is walked
    LEAF    the entry keys, in slots; node b has the slots starts[b] .. starts[b + 1]

A collection is a forest: a few trees and the delta, the slots that no tree has yet. Nothing here holds vectors but the
ROOTs: a `Columns` knows the addresses of records in the store's map, and is used while the view it was made in is open.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from atlasdb import crc
from atlasdb.tree.codes import encoded
from atlasdb_contract.types import Ids, Vectors

I32s = npt.NDArray[np.int32]
Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class TreePlan:
    """What a build found, before anything is written: C ROOTs, B INTER nodes and M entries of D dimensions.

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
    """int64 (B + 1,): node b has the entries order[starts[b]:starts[b + 1]]."""
    order: Positions
    """int64 (M,): positions of the entries, in the order of their nodes."""


@dataclass(frozen=True, slots=True)
class Columns:
    """Records of equal columns somewhere in memory: `counts` int64 (c,) rows in each, `at` int64 (c, columns) the
    addresses where its columns begin. Every record but the last has 1 << shift rows; in a delta they have any number.
    """

    counts: Positions
    at: Positions

    def __len__(self) -> int:
        return int(self.counts.sum())

    @staticmethod
    def none(columns: int) -> "Columns":
        """No record."""
        return Columns(np.zeros(0, np.int64), np.zeros((0, columns), np.int64))

    @staticmethod
    def joined(parts: Sequence["Columns"]) -> "Columns":
        """The records of several, in order; at least one."""
        return Columns(np.concatenate([part.counts for part in parts]), np.concatenate([part.at for part in parts]))


SLOT_COLUMNS = 5
"""ids, value ids, scales, checks, keys."""
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
    def of(planned: TreePlan, keys: Vectors) -> "Tree":
        """A plan's tree in plain memory, for measurements: entry i has the id i + 1, and its value too."""
        ids = planned.order.astype(np.uint64) + np.uint64(1)
        slots = keys.take(planned.order)
        bits, code_scales = encoded(planned.nodes)
        nodes: list[npt.NDArray[Any]] = [
            planned.starts.astype(np.uint64),
            planned.nodes.scales,
            code_scales,
            planned.links,
            bits,
            planned.nodes.data,
        ]
        leaf: list[npt.NDArray[Any]] = [ids, ids, slots.scales, crc.of_slots(ids, ids, slots), slots.data]
        return Tree(
            planned.roots,
            planned.gates,
            in_memory(nodes, len(planned.nodes)),
            planned.links.shape[1],
            in_memory(leaf, len(ids)),
            WHOLE,
            WHOLE,
            keep=(nodes, leaf),
        )


WHOLE = 62
"""The shift of columns that are all in one record."""


def in_memory(arrays: Sequence[npt.NDArray[Any]], count: int) -> Columns:
    """One record of contiguous arrays, whose owner keeps them alive."""
    if not count:
        return Columns.none(len(arrays))
    at = [array.__array_interface__["data"][0] for array in arrays]
    return Columns(np.array([count], np.int64), np.array([at], np.int64))


@dataclass(frozen=True, slots=True)
class Forest:
    """All slots of a collection at one moment: its trees, and the delta. `dead` u64, sorted: ids of deleted entries."""

    dimension: int
    trees: tuple[Tree, ...]
    delta: Columns
    dead: Ids
    slots: Columns
    """Of the trees, in order, and of the delta."""
    bases: tuple[int, ...]
    """Where each tree's records begin in `slots`, and the delta's."""

    @staticmethod
    def of(dimension: int, trees: Sequence[Tree], delta: Columns, dead: Ids) -> "Forest":
        """Put together."""
        parts = [*(tree.slots for tree in trees), delta]
        bases = np.cumsum([0, *(len(part.counts) for part in parts)])[:-1]
        return Forest(dimension, tuple(trees), delta, dead, Columns.joined(parts), tuple(bases.tolist()))
