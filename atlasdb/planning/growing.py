"""What the server's upkeep makes of a long load: folds beside it, as `engine/upkeep.py` starts them.

A load of less than upkeep.BULK_DELTA entries is let be. A fold that is going on when the load ends gives way to the
build that is asked for then.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from atlasdb.engine import upkeep
from atlasdb.engine.build import GROWTH
from atlasdb.planning.disk import TreeSize
from atlasdb.planning.loading import Load
from atlasdb.planning.shape import Shape

Took = Callable[[int, TreeSize], float]
"""Seconds of a build from so many given slots of this tree."""


@dataclass(frozen=True, slots=True)
class Grown:
    """After the load: the trees, the entries in the delta; and the folds beside it, with their seconds."""

    trees: tuple[TreeSize, ...]
    delta: int
    folds: int
    seconds: float

    @property
    def given(self) -> int:
        """Slots that a build of all is made from."""
        return self.delta + sum(tree.slots for tree in self.trees)


def part(whole: TreeSize, entries: int) -> TreeSize:
    """A tree of some of the entries, as whole heads."""
    share = entries / whole.entries
    return TreeSize(entries, max(1, round(whole.slots * share)), max(1, round(whole.nodes * share)))


def grown(shape: Shape, whole: TreeSize, load: Load, took: Took) -> Grown:
    """The collection when its load ends; `whole` is the tree of all entries."""
    trees: list[TreeSize] = []
    now = spent = 0.0
    folds = folded = 0
    end = load.seconds[-1]
    rate = shape.entries / end if end else upkeep.BULK_RATE
    while True:
        wanted = folded + upkeep.delta_limit(rate, folded)
        if wanted > shape.entries:
            break
        start = max(now, float(np.interp(wanted, load.entries, load.seconds)))
        held = int(np.interp(start, load.seconds, load.entries))
        kept: list[TreeSize] = []
        taken: list[TreeSize] = []
        size = held - folded
        for tree in sorted(trees, key=lambda tree: tree.entries):
            if not kept and tree.entries < GROWTH * size:
                taken.append(tree)
                size += tree.entries
            else:
                kept.append(tree)
        made = part(whole, size)
        lasts = took(held - folded + sum(tree.slots for tree in taken), made)
        if start + lasts > end:
            break
        now, folded, trees = start + lasts, held, [*kept, made]
        folds, spent = folds + 1, spent + lasts
    return Grown(tuple(trees), shape.entries - folded, folds, spent)
