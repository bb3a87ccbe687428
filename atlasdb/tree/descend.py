"""A fetch's way down: ROOTs, gates, a walk over the graph of INTER nodes, the slots that promise most, the best k;
design (4)."""

import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from atlasdb.tree import codes, kernels, scoring, walking
from atlasdb.tree.image import Forest, Tree
from atlasdb.tree.rank import Found, check_sound, taken
from atlasdb.tree.slots import Positions
from atlasdb_contract.types import Beams, FetchCost, Floats, Vectors

ROOTS = 8
"""ROOTs whose nodes are looked at by their codes for where a walk enters."""
SCANNED = 1 << 12
"""At most so many of their nodes."""
GATES = 128
"""Nodes where a walk enters: the best of those."""
NODES = 768
"""Most INTER nodes opened in each tree, for k up to 64; with the root of k beyond that."""
DEPTH = np.float32(8)
"""A walk ends where the best node that is left is so many logits below the best of all (bench/descent.py)."""
LEAST = 32
"""INTER nodes that are opened in any case."""
MET = 16
"""A walk keeps so many nodes for each that it may open."""
CUT = np.float32(10)
"""A slot is compared if its expected logit is at most so far below the best expected one."""
FEWEST, MANY = 4, 8
"""But so many slots for each entry of the block at least, and at most."""
PLENTY = 512
"""MANY or no: so many may be compared."""
SLOTS = 8
"""And where a fetch says that more than NODES nodes may be opened, at least so many slots for each further one."""
OFFERED = 8
"""A walk keeps so many slots for each that may be compared, to choose from."""
ALIVE = 4
"""A descent is made again, for WIDER times as many entries, where fewer than one in so many slots that it compared has
an entry that is not deleted."""
WIDER = 16
WIDEST = 1 << 14
"""And for so many at most."""
ALIKE = np.float32(0.9)
"""Rows whose cosine with their mean is at least this are walked for together: the rows of the several attention heads
at one token are near copies (.98), and their mean finds what each of them finds."""
SURE = 4096
"""So many slots of a large delta are kept whatever their logits."""
WINDOW = np.float32(16)
"""Beyond those, a logit so far below its row's largest is nothing: 1e-7 of its softmax."""
UNDERFLOW = np.float32(87)
"""What is so far below the largest has no probability in float32."""


class Candidates:
    """Slots compared with all rows (R, D): `slots` int64, `weights` float32, how many entries each has, and `logits`
    float32 (R columns), `count` of them filled."""

    def __init__(self, forest: Forest, rows: Vectors) -> None:
        self._forest = forest
        self._rows = rows.data
        self._scales = rows.scales
        self.slots = np.empty(0, np.int64)
        self.weights = np.empty(0, np.float32)
        self.logits = np.empty((0, len(rows)), np.float32)
        self.count = 0
        self.compared = 0

    def enough(self, k: int) -> bool:
        """Whether what is compared so far is mostly alive, and enough for a block: else deleted entries, which are
        known only here, stood where others should."""
        dead = self.compared - self.count
        return not dead or (self.count * ALIVE >= self.compared and self.weights[: self.count].sum() >= k)

    def add_slots(self, tree: int, parts: Sequence[Positions]) -> None:
        """Slots int64 (n,) of one tree, those of all groups of rows, each once."""
        wanted = parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))
        self._make_room(len(wanted))
        self.compared += len(wanted)
        forest = self._forest
        self.count = scoring.score_slots(
            wanted,
            forest.bases[tree],
            forest.trees[tree].slots_shift,
            forest.slots.at,
            self._rows,
            self._scales,
            forest.dead,
            self.slots,
            self.weights,
            self.logits,
            self.count,
        )

    def add_delta(self) -> None:
        """All of the delta, but for what is nothing beside the rest."""
        forest = self._forest
        record, position = forest.bases[-1], 0
        if record == len(forest.slots.counts):
            return
        self.compared += len(forest.delta)
        peaks = self.logits[: self.count].max(axis=0, initial=-np.inf)
        self._make_room(min(len(forest.delta), 2 * SURE))
        while True:
            self.count, record, position = scoring.score_records(
                record,
                position,
                forest.slots.counts,
                forest.slots.at,
                self._rows,
                self._scales,
                forest.dead,
                self.slots,
                self.weights,
                self.logits,
                self.count,
                SURE,
                peaks,
                WINDOW,
            )
            if record == len(forest.slots.counts):
                return
            self._make_room(self.count)

    def leave_out(self) -> None:
        """Forget the slots that are known to be damaged."""
        out = self._forest.out
        if not len(out):
            return
        kept = np.flatnonzero(~np.isin(self.slots[: self.count], out))
        self.count = len(kept)
        for column in (self.slots, self.weights, self.logits):
            column[: self.count] = column[kept]

    def scores(self) -> Floats:
        """Of one entry of each slot; the logits are overwritten. Unsound where a damaged one spoils the softmax."""
        here = slice(0, self.count)
        try:
            scores: Floats = scoring.masses(self.logits[here], self.weights[here], UNDERFLOW)
        except ZeroDivisionError:
            scores = np.full(self.count, np.nan, np.float32)
        if not np.isfinite(scores.sum()):
            check_sound(self._forest, self.slots[here])
        return scores

    def _make_room(self, more: int) -> None:
        short = self.count + more - len(self.slots)
        if short > 0:
            self.slots = np.concatenate([self.slots, np.empty(short, np.int64)])
            self.weights = np.concatenate([self.weights, np.empty(short, np.float32)])
            self.logits = np.concatenate([self.logits, np.empty((short, self.logits.shape[1]), np.float32)])


def descend(forest: Forest, rows: Vectors, k: int, beams: Beams | None = None) -> Found:
    """The best `k` entries for rows (R, D), R >= 1, among those of the slots that promise most, and of the delta.

    An entry's score is its softmax probability among all that were compared, summed over rows. Dead entries are left
    out. The cost is of the last search, where deleted entries made it widen; its microseconds are the caller's to fill
    in. Unsound where a chosen slot fails its checksum.
    """
    rows = Vectors(np.array(rows.data), np.array(rows.scales))  # writable: numba compiles once more for what is not
    asking = asking_of(rows) if forest.trees else []
    for plan in plans(forest, k, beams or Beams()):
        looked = np.zeros(3, np.int64)
        candidates = Candidates(forest, rows)
        for number, tree in enumerate(forest.trees):
            parts = []
            for one in asking:
                slots, counts = sought(tree, one, plan)
                parts.append(slots)
                looked += counts
            candidates.add_slots(number, parts)
        if candidates.enough(k):
            break
    candidates.add_delta()
    candidates.leave_out()
    slots = candidates.slots[: candidates.count]
    scores = candidates.scores()
    return taken(forest, slots, scores, k, cost_of(forest, len(asking), looked, candidates.compared))


def cost_of(forest: Forest, groups: int, looked: npt.NDArray[np.int64], compared: int) -> FetchCost:
    """What a descent cost, but for its time; `looked` int64 (3,) as of walking.sought, of all trees and groups."""
    nodes, products, parents = looked.tolist()
    roots = groups * sum(len(tree.roots) for tree in forest.trees)
    read = compared * (forest.dimension + scoring.SLOT_BYTES) + (roots + products) * forest.dimension
    read += nodes * walking.row_bytes(codes.words(forest.dimension), 0)
    return FetchCost(roots, nodes, parents, compared, read)


@dataclass(frozen=True, slots=True)
class Asking:
    """A group of alike rows: their mean int8 (D,) with its scale, and the same to be compared with codes."""

    row: npt.NDArray[np.int8]
    scale: np.float32
    asked: codes.Asked


def asking_of(rows: Vectors) -> list[Asking]:
    """The groups of rows (R, D)."""
    means = kernels.representatives(rows.data, rows.scales, ALIKE)
    return [Asking(row, scale, codes.asked(row, scale)) for row, scale in zip(*means, strict=True)]


@dataclass(frozen=True, slots=True)
class Plan:
    """How far a descent goes in each tree, and what its walks write into: its thread's, until the next one's."""

    beam: int
    least: int
    nodes: int
    fewest: int
    many: int
    seen: npt.NDArray[np.int32]
    met: Positions
    scores: Floats
    fates: npt.NDArray[np.uint8]
    heap: Positions
    offered: npt.NDArray[np.int64]

    @staticmethod
    def of(forest: Forest, k: int, beams: Beams) -> "Plan":
        """For `k` entries."""
        largest = max((tree.node_count for tree in forest.trees), default=0)
        nodes = min(beams.inter or round(NODES * max(1, k / 64) ** 0.5), largest)
        least = min(nodes, max(LEAST, k // 4))
        room = max(GATES, min(MET * nodes, largest))
        slots = max((len(tree.slots) for tree in forest.trees), default=0)
        fewest = min(max(FEWEST * k, SLOTS * (beams.inter - NODES)), slots)
        many = max(PLENTY, MANY * k, fewest)
        counts = beams.root or ROOTS, least, nodes, fewest, many
        return Plan(*counts, *_scratch(room, min(OFFERED * many, slots)))


def plans(forest: Forest, k: int, beams: Beams) -> Iterator[Plan]:
    """Ever wider ones, until one has all slots compared that it meets, or is for WIDEST entries."""
    while True:
        plan = Plan.of(forest, k, beams)
        yield plan
        if k >= WIDEST or all(plan.fewest >= len(tree.slots) for tree in forest.trees):
            return
        k = min(WIDER * k, WIDEST)


_kept = threading.local()


def _scratch(room: int, offers: int) -> tuple[Any, ...]:
    """`seen`, `met`, `scores`, `fates`, `heap` and `offered` of a Plan: those of the thread's last descent, if they are
    as long, as fresh memory costs more than it takes to fill."""
    last = getattr(_kept, "last", None)
    if last is None or last[0] != (room, offers):
        seen = np.empty(1 << (2 * room).bit_length(), np.int32)
        met, heap, offered = (np.empty(shape, np.int64) for shape in (room, room, (offers, 3)))
        last = (room, offers), (seen, met, np.empty(room, np.float32), np.empty(room, np.uint8), heap, offered)
        _kept.last = last
    scratch: tuple[Any, ...] = last[1]
    return scratch


def sought(tree: Tree, asking: Asking, plan: Plan) -> tuple[Positions, npt.NDArray[np.int64]]:
    """The slots of a tree that one group of rows is to be compared with, and what that took: as of walking.sought."""
    asked = asking.asked
    return walking.sought(  # type: ignore[no-any-return]
        tree.roots.data, tree.roots.scales, tree.root_starts, tree.residuals.data, tree.residuals.scales,
        tree.node_count, tree.nodes_shift, tree.nodes.at, tree.links, len(tree.slots), asking.row, asking.scale,
        *asked, plan.beam, SCANNED, GATES, DEPTH, plan.least, plan.nodes,
        CUT, plan.fewest, plan.many, plan.seen, plan.met, plan.scores, plan.fates, plan.heap,
        plan.offered,
    )  # fmt: skip
