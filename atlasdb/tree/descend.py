"""A fetch's way down: ROOT, gates, a walk over the graph of INTER nodes, their slots, the best k; design (4)."""

import numpy as np
import numpy.typing as npt

from atlasdb.tree import codes, kernels, scoring
from atlasdb.tree.image import Forest, Tree
from atlasdb.tree.rank import Found, check_sound, taken
from atlasdb.tree.slots import Positions
from atlasdb_contract.types import Beams, FetchCost, Floats, Vectors

ROOTS = 8
"""ROOTs whose gates a walk enters by."""
NODES = 768
"""Most INTER nodes opened in each tree, for k up to 64; with the root of k beyond that."""
DEPTH = np.float32(9)
"""A walk ends where the best node that is left is so many logits below the best of all (bench/descent.py)."""
MARGIN = np.float32(1.5)
"""A node is not compared if its code says that it is worse than the worst to be opened by so many standard errors."""
LEAST = 32
"""INTER nodes that are opened in any case."""
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

    def __init__(self, forest: Forest, rows: Vectors, room: int) -> None:
        self._forest = forest
        self._rows = rows.data
        self._scales = rows.scales
        self.slots = np.empty(room, np.int64)
        self.weights = np.empty(room, np.float32)
        self.logits = np.empty((room, len(rows)), np.float32)
        self.count = 0
        self.compared = 0

    def add_ranges(self, tree: int, wanted: Positions) -> None:
        """The slots of one tree; `wanted` int64 (n, 2)."""
        amount = int((wanted[:, 1] - wanted[:, 0]).sum())
        self._make_room(amount)
        self.compared += amount
        forest = self._forest
        self.count = scoring.score_ranges(
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
    """The best `k` entries for rows (R, D), R >= 1, among those of the INTER nodes that a walk opens, and the delta.

    An entry's score is its softmax probability among all that were compared, summed over rows. Dead entries are left
    out. The cost's microseconds are the caller's to fill in. Unsound where a chosen slot fails its checksum.
    """
    beams = beams or Beams()
    rows = Vectors(np.array(rows.data), np.array(rows.scales))  # writable: numba compiles once more for what is not
    opened, roots, compared = _walk_all(forest, rows, k, beams)
    spans = [
        scoring.ranges(nodes, tree.nodes_shift, tree.nodes.at, len(tree.slots)) if len(nodes) else _NO_RANGES
        for tree, nodes in zip(forest.trees, opened, strict=True)
    ]
    candidates = Candidates(forest, rows, sum(int((span[:, 1] - span[:, 0]).sum()) for span in spans))
    for number, span in enumerate(spans):
        candidates.add_ranges(number, span)
    candidates.add_delta()
    candidates.leave_out()
    slots = candidates.slots[: candidates.count]
    scores = candidates.scores()
    read = candidates.compared * (forest.dimension + scoring.SLOT_BYTES)
    cost = FetchCost(roots, compared, sum(map(len, opened)), candidates.compared, read)
    return taken(forest, slots, scores, k, cost)


_NO_RANGES = np.zeros((0, 2), np.int64)


def _walk_all(forest: Forest, rows: Vectors, k: int, beams: Beams) -> tuple[list[Positions], int, int]:
    """The INTER nodes opened in each tree; ROOTs and INTER nodes looked at."""
    if not forest.trees:
        return [], 0, 0
    room, seen = scratch(forest, k, beams)
    opened: list[Positions] = []
    roots = looked = 0
    asking = [
        (row, scale, codes.asked(row, scale))
        for row, scale in zip(*kernels.representatives(rows.data, rows.scales, ALIKE), strict=True)
    ]
    for tree in forest.trees:
        parts = []
        for row, scale, asked in asking:
            nodes, met = opened_in(tree, row, scale, asked, beams.root or ROOTS, room, seen)
            parts.append(nodes)
            roots, looked = roots + len(tree.roots), looked + met
        opened.append(parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts)))
    return opened, roots, looked


def scratch(forest: Forest, k: int, beams: Beams) -> tuple[int, npt.NDArray[np.int32]]:
    """Most nodes that a walk opens, and the table for what it has seen; the forest has a tree."""
    largest = max(tree.node_count for tree in forest.trees)
    room = min(beams.inter or round(NODES * max(1, k / 64) ** 0.5), largest)
    return room, np.empty(1 << max(13, min(64 * room, 4 * largest).bit_length()), np.int32)


def opened_in(
    tree: Tree, row: npt.NDArray[np.int8], scale: np.float32, asked: codes.Asked, beam: int, room: int,
    seen: npt.NDArray[np.int32],
) -> tuple[Positions, int]:  # fmt: skip
    """The INTER nodes of a tree that one row's walk opens, and how many it looked at."""
    return kernels.opened(  # type: ignore[no-any-return]
        tree.roots.data,
        tree.roots.scales,
        tree.gates,
        beam,
        tree.node_count,
        tree.nodes_shift,
        tree.nodes.at,
        tree.links,
        row,
        scale,
        asked.planes,
        asked.low,
        asked.step,
        asked.total,
        MARGIN * codes.SPREAD * asked.length,
        DEPTH,
        LEAST,
        seen,
        room,
    )
