"""What a fetch costs in a tree of some size: what it compares, the bytes and pages of that, and the time.

How much a walk opens is a matter of the keys, not of the machine. It was measured on real keys with the shipped
reader's rows (python bench/descent.py DIR/real --entries 10000,30000,100000,300000,1478756 --queries 200): from 42 of
1,369 nodes to 284 of 121,855, a little less than their square root, until the beam ends it. What it compares is in
proportion to what it opens. The time is the trial's: that of a fetch by itself, and of each cache line that it reads;
and what it takes longer to pick them from more memory than the trial's.
"""

import mmap
from dataclasses import dataclass
from math import ceil

import numpy as np

from atlasdb.matrices import NODES_SHIFT
from atlasdb.planning.disk import TreeSize
from atlasdb.planning.shape import Shape
from atlasdb.tree import codes, descend, graph, scoring

K = 64
"""Entries of the block."""
LINE = 64
OPENED, AMONG, GROWTH = 41.5, 1369, 0.43
"""So many nodes are opened among AMONG, and with the power GROWTH of their number more among more."""
MET, LEFT = 14.4, 3.8
"""Nodes looked at by their codes, and compared, for each that is opened."""


@dataclass(frozen=True, slots=True)
class Picks:
    """Nanoseconds of comparing with something at a random place among so many bytes, `sizes` rising: with one cache
    line, and with a vector."""

    sizes: tuple[int, ...]
    lines: tuple[float, ...]
    vectors: tuple[float, ...]

    def line(self, size: float) -> float:
        """Among so many bytes, by the logarithm of it."""
        return float(np.interp(np.log(size), np.log(self.sizes), self.lines))

    def vector(self, size: float) -> float:
        """The same."""
        return float(np.interp(np.log(size), np.log(self.sizes), self.vectors))


@dataclass(frozen=True, slots=True)
class Counts:
    """What one fetch of alike rows compares: ROOTs, INTER nodes `met` (their codes), `compared` and `opened`, slots."""

    roots: float
    met: float
    compared: float
    opened: float
    slots: float

    def lines(self, dimension: int) -> float:
        """Cache lines picked at random, without the ROOTs'."""
        vector = ceil(dimension / LINE)
        code = ceil(8 * codes.words(dimension) / LINE) + 1
        return self.met * code + self.compared * vector + self.opened * 3 + self.slots * (vector + 2)

    def read(self, dimension: int) -> float:
        """Bytes."""
        code = 8 * codes.words(dimension) + 4
        node = self.opened * (4 * graph.DEGREE + 16)
        vectors = (self.roots + self.compared) * (dimension + 4)
        return self.met * code + node + vectors + self.slots * (dimension + scoring.SLOT_BYTES)


def counts(tree: TreeSize) -> Counts:
    """Of a fetch of K entries from one tree that has all."""
    opened = min(OPENED * (tree.nodes / AMONG) ** GROWTH, descend.NODES)
    opened = min(max(opened, descend.LEAST), tree.nodes)
    met, compared = (min(each * opened, tree.nodes) for each in (MET, LEFT))
    return Counts(tree.roots, met, compared, opened, opened * tree.slots / tree.nodes)


@dataclass(frozen=True, slots=True)
class FetchTrial:
    """Microseconds of a fetch by itself and of each of its cache lines, with so many bytes of vectors; of a page of the
    file that is not in memory."""

    itself: float
    line: float
    size: int
    page: float
    picks: Picks


def vector_bytes(tree: TreeSize, dimension: int) -> int:
    """Of nodes and slots."""
    return (tree.nodes + tree.slots) * dimension


def microseconds(trial: FetchTrial, dimension: int, tree: TreeSize, told: Counts) -> float:
    """Of a fetch in the server whose pages are all in memory; the wire is not in it."""
    picks, size = trial.picks, vector_bytes(tree, dimension)
    by_line = max(0.0, picks.line(size) - picks.line(trial.size))
    by_vector = max(0.0, picks.vector(size) - picks.vector(trial.size))
    farther = by_line * (2 * told.met + 5 * told.opened) + by_vector * (told.compared + told.opened)
    return trial.itself + of_roots(picks, told) + told.lines(dimension) * trial.line + farther / 1e3


def of_roots(picks: Picks, told: Counts) -> float:
    """Microseconds of comparing with ROOTs, which come one after the other, as the processor expects."""
    return told.roots * picks.vectors[0] / 1e3


def pages(shape: Shape, tree: TreeSize, told: Counts) -> float:
    """Pages of the file that a fetch touches, if no two things that it reads share one: at most."""
    records = 1 + (tree.nodes >> NODES_SHIFT)
    scales = min(told.met, records) + min(told.compared, records)
    node = 2 + 1 + 2 + shape.dimension * told.slots / max(told.opened, 1) / mmap.PAGESIZE
    vectors = told.compared * (1 + shape.dimension / mmap.PAGESIZE)
    block = min(K, shape.entries) * (5 + 3)  # of a slot its ids, seals, subject and checksum; a value and its columns
    return scales + told.met + vectors + told.opened * node + block
