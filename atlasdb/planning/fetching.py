"""What a fetch costs in a tree of some size: what it compares, the bytes and pages of that, and the time.

How much a walk meets is a matter of the keys, not of the machine. It was measured on real keys with the shipped
reader's rows (python bench/descent.py DIR/real --entries 10000,100000,1478756): from 570 of 1,369 nodes to 3,260 of
121,855, until the beam ends it; what it opens and compares is in proportion. The time is the trial's: that of a fetch
by itself, and of each cache line that it reads, and what it takes longer to pick them from more memory than the
trial's.
"""

import mmap
from dataclasses import dataclass
from math import ceil

import numpy as np

from atlasdb.planning.disk import TreeSize
from atlasdb.planning.shape import Shape
from atlasdb.tree import codes, descend, graph, scoring, walking

K = 64
"""Entries of the block."""
LINE = 64
MET, AMONG, GROWTH = 570.0, 1369, 0.38
"""So many nodes are met among AMONG, and with the power GROWTH of their number more among more."""
MOST = 7.0
"""Nodes met, at most, for each that may be opened."""
OPENED, COMPARED = 0.09, 0.15
"""Nodes opened, and compared, for each that is met."""
SLOTS = 0.07
"""With this power of the number of nodes more slots promise enough, until as many are compared as may be."""
IN_ORDER = 0.25
"""What a cache line costs that is read in order, in parts of one at a random place."""


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
    """What one fetch of alike rows reads: ROOTs, INTER nodes `scanned` in order and `met` (their rows), `compared` and
    `opened`, slots."""

    roots: float
    scanned: float
    met: float
    compared: float
    opened: float
    slots: float

    def lines(self, dimension: int) -> float:
        """Cache lines picked at random, without the ROOTs'; those read in order by what they cost."""
        vector = ceil(dimension / LINE)
        row = ceil(8 * codes.words(dimension) / LINE) + 1
        links = ceil(4 * graph.DEGREE / LINE)
        met = (self.met + IN_ORDER * self.scanned) * row
        return met + self.compared * vector + self.opened * links + self.slots * (vector + 2)

    def read(self, dimension: int) -> float:
        """Bytes."""
        row = 8 * codes.words(dimension) + LINE
        vectors = (self.roots + self.compared) * dimension
        return (self.scanned + self.met) * row + vectors + self.slots * (dimension + scoring.SLOT_BYTES)


def counts(tree: TreeSize) -> Counts:
    """Of a fetch of K entries from one tree that has all."""
    scanned = min(descend.ROOTS * tree.nodes / tree.roots, descend.SCANNED, tree.nodes)
    met = min(MET * (tree.nodes / AMONG) ** GROWTH, MOST * descend.NODES, tree.nodes)
    opened = min(max(OPENED * met, descend.LEAST), descend.NODES, met)
    least, most = descend.FEWEST * K, max(descend.PLENTY, descend.MANY * K)
    slots = min(least * max(1.0, tree.nodes / AMONG) ** SLOTS, most, tree.slots)
    return Counts(tree.roots, scanned, met, min(max(COMPARED * met, opened), met), opened, slots)


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
    farther = by_line * (told.met + told.opened) + by_vector * (told.compared + told.slots)
    return trial.itself + of_roots(picks, told) + told.lines(dimension) * trial.line + farther / 1e3


def of_roots(picks: Picks, told: Counts) -> float:
    """Microseconds of comparing with ROOTs, which come one after the other, as the processor expects."""
    return told.roots * picks.vectors[0] / 1e3


def pages(shape: Shape, told: Counts) -> float:
    """Pages of the file that a fetch touches, if no two things that it reads share one: at most."""
    vectors = told.compared * (1 + shape.dimension / mmap.PAGESIZE)
    slots = told.slots * (3 + shape.dimension / mmap.PAGESIZE)
    block = min(K, shape.entries) * (5 + 3)  # of a slot its ids, seals, subject and checksum; a value and its columns
    return told.met + told.scanned * row_bytes_of(shape) / mmap.PAGESIZE + vectors + slots + block


def row_bytes_of(shape: Shape) -> int:
    """Of a node's row."""
    return int(walking.row_bytes(codes.words(shape.dimension), graph.DEGREE))
