"""Memory of a server: what it keeps while it serves, and what a build takes beside that."""

from dataclasses import dataclass
from math import ceil

from atlasdb.matrices import NODES_SHIFT, SLOTS_SHIFT
from atlasdb.planning.disk import TreeSize
from atlasdb.planning.shape import Shape
from atlasdb.store import entries, values
from atlasdb.tree import codes, residuals
from atlasdb.tree.image import NODE_COLUMNS, SLOT_COLUMNS

WORD = 8


@dataclass(frozen=True, slots=True)
class BuildBytes:
    """Bytes that a build takes at the worst moment of each stage, an entry, where keys have `dimension` dimensions, few
    enough to be left out of account."""

    dimension: int
    stages: dict[str, float]


def kept(shape: Shape, tree: TreeSize) -> int:
    """Bytes that a server keeps of a collection: where the records lie, the ROOTs and the residuals; pages of the file
    are not in it.

    Where rows lie is kept twice, as the writer looks them up too.
    """
    records = (
        (tree.nodes >> NODES_SHIFT, 1 + NODE_COLUMNS),
        (tree.slots >> SLOTS_SHIFT, 1 + SLOT_COLUMNS),
        (2 * (shape.entries // entries.RECORD_ENTRIES), 2 + entries.COLUMNS),
        (2 * (shape.values // values.RECORD_VALUES), 2 + values.COLUMNS),
    )
    directories = sum(WORD * (count + 1) * columns for count, columns in records)
    directions = tree.roots * (shape.dimension + 4 + 8) + residuals.RESIDUALS * (shape.dimension + 4)
    return directories + directions


def building(trial: BuildBytes, shape: Shape, tree: TreeSize, given: int) -> int:
    """Bytes that a build of `tree` from so many given slots takes, at its worst moment: what is not vectors as in the
    trial, the given keys, and the nodes, of which it has two versions from the graph on and at the end the codes."""
    more = shape.dimension - trial.dimension
    coded = WORD * (codes.words(shape.dimension) - codes.words(trial.dimension))
    node = {
        "read": 0,
        "nodes": more,
        "ROOTs": more,
        "graph": 2 * more,
        "residuals": 2 * more,
        "write": 2 * more + coded,
    }
    stages = dict(trial.stages)  # residuals are worked out in parts, of which the trial has not even one
    stages["residuals"] = min(stages["residuals"], stages["graph"])
    return ceil(max(each * shape.entries + node[name] * tree.nodes for name, each in stages.items()) + more * given)
