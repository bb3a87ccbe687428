"""A descent explained: the steps of `descend`, one by one with their times, and what became of nodes and entries.

The walks and comparisons are the compiled ones of a fetch, so the block is the same. What a walk did is worked out
afterwards, from the nodes that it met: each is compared exactly and by its code, and judged by the bar where it ended.
"""

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb.tree import codes, kernels, scoring
from atlasdb.tree import descend as descending
from atlasdb.tree.descend import Candidates, scratch
from atlasdb.tree.image import Forest, Tree, lent
from atlasdb.tree.rank import Found, taken
from atlasdb.tree.slots import Positions
from atlasdb_contract import types as t
from atlasdb_contract.ids import EntryId, Generation
from atlasdb_contract.types import Beams, FetchCost, Floats, Ids, Vectors

TOP = 5
"""Nodes of a walk that are shown."""

Bools = npt.NDArray[np.bool_]


class Clock:
    """Adds up time by the names of stages, in the order of their first use."""

    def __init__(self) -> None:
        self._seconds: dict[str, float] = {}

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """What runs inside counts for `name`."""
        started = time.perf_counter()
        yield
        self._seconds[name] = self._seconds.get(name, 0.0) + time.perf_counter() - started

    @property
    def stages(self) -> tuple[t.Stage, ...]:
        """In microseconds."""
        return tuple(t.Stage(name, round(1e6 * seconds)) for name, seconds in self._seconds.items())


@dataclass(frozen=True, slots=True)
class Asking:
    """A group of `rows` alike rows: their mean int8 (D,) with its scale, and the same to be compared with codes."""

    rows: int
    row: npt.NDArray[np.int8]
    scale: np.float32
    asked: codes.Asked

    def judge(self, tree: Tree, nodes: Positions) -> tuple[Floats, Floats, Floats]:
        """Nodes int64 (n,): logits, what the codes say, and the most that they allow, float32 (n,) each."""
        a = self.asked
        logits, estimates, most = kernels.judged(
            nodes, tree.nodes_shift, tree.nodes.at, self.row, self.scale, a.planes, a.low, a.step, a.total,
            descending.MARGIN * codes.SPREAD * a.length,
        )  # fmt: skip
        return logits, estimates, most


@dataclass(frozen=True, slots=True)
class Walked:
    """The nodes int64 (n,) that one walk met from the gates of `beam` ROOTs on, sorted; `opened` and `compared` bool
    (n,). `order`: the opened ones from the best on."""

    asking: Asking
    beam: int
    gates: Positions
    order: Positions
    nodes: Positions
    logits: Floats
    opened: Bools
    compared: Bools
    bar: float
    end: t.WalkEnd


@dataclass(frozen=True, slots=True)
class Explained:
    """A descent's result with what is to be told of it. `walked`: of each tree."""

    found: Found
    trees: tuple[t.TreeExplanation, ...]
    walked: tuple[tuple[Walked, ...], ...]
    candidates: Candidates
    scores: Floats
    """(n,), of one entry of each of the candidates' slots."""
    peaks: Floats
    """(R,): the largest logits of each row."""


def explain(
    forest: Forest, rows: Vectors, k: int, beams: Beams, generations: Sequence[Generation], clock: Clock
) -> Explained:
    """What `descend` finds, explained; `generations` are the trees', and `clock` gets the stages' times."""
    rows = Vectors(np.array(rows.data), np.array(rows.scales))  # as in descend
    asking = _asking(rows, clock)
    walked = _walk_all(forest, asking, k, beams, clock)
    opened = [_opened(walks) for walks in walked]
    with clock.stage("LEAF"):
        spans = [_ranges(tree, nodes) for tree, nodes in zip(forest.trees, opened, strict=True)]
        candidates = Candidates(forest, rows, sum(int((span[:, 1] - span[:, 0]).sum()) for span in spans))
    told = []
    for number, (tree, span) in enumerate(zip(forest.trees, spans, strict=True)):
        before, compared = candidates.count, candidates.compared
        with clock.stage("LEAF"):
            candidates.add_ranges(number, span)
        entries = int(candidates.weights[before : candidates.count].sum(dtype=np.float64))
        walks = tuple(_told(forest, number, one) for one in walked[number])
        sizes = (len(tree.roots), tree.node_count)
        slots = candidates.compared - compared
        told.append(t.TreeExplanation(generations[number], *sizes, walks, len(span), slots, entries))
    with clock.stage("delta"):
        candidates.add_delta()
    candidates.leave_out()
    logits = candidates.logits[: candidates.count]
    peaks = logits.max(axis=0, initial=-np.inf)
    with clock.stage("scores"):
        scores = candidates.scores()
    read = candidates.compared * (forest.dimension + scoring.SLOT_BYTES)
    looked = sum(len(one.nodes) for walks in walked for one in walks)
    roots = len(asking) * sum(len(tree.roots) for tree in forest.trees)
    cost = FetchCost(roots, looked, sum(map(len, opened)), candidates.compared, read)
    with clock.stage("block"):
        found = taken(forest, candidates.slots[: candidates.count], scores, k, cost)
    return Explained(found, tuple(told), walked, candidates, scores, peaks)


def _asking(rows: Vectors, clock: Clock) -> list[Asking]:
    """The groups of alike rows, with how many rows lie nearest to each."""
    with clock.stage("rows"):
        means = Vectors(*kernels.representatives(rows.data, rows.scales, descending.ALIKE))
        asked = [codes.asked(row, scale) for row, scale in zip(means.data, means.scales, strict=True)]
    floats = means.floats()
    lengths = np.maximum(np.linalg.norm(floats, axis=1), np.finfo(np.float32).tiny)
    nearest = (rows.floats() @ (floats / lengths[:, None]).T).argmax(axis=1)
    counts = np.bincount(nearest, minlength=len(means)).tolist()
    return [Asking(*one) for one in zip(counts, means.data, means.scales, asked, strict=True)]


def _walk_all(
    forest: Forest, asking: Sequence[Asking], k: int, beams: Beams, clock: Clock
) -> tuple[tuple[Walked, ...], ...]:
    """Every walk of every tree."""
    if not forest.trees:
        return ()
    room, seen = scratch(forest, k, beams)
    best = np.empty(room, np.int64)
    return tuple(
        tuple(_walk(tree, one, beams.root or descending.ROOTS, seen, best, clock) for one in asking)
        for tree in forest.trees
    )


def _walk(tree: Tree, asking: Asking, beam: int, seen: npt.NDArray[np.int32], best: Positions, clock: Clock) -> Walked:
    with clock.stage("ROOT"):
        gates = _gates_of(tree, asking.row, asking.scale, beam)
    asked = asking.asked
    with clock.stage("INTER"):
        count, _ = kernels.walk(
            tree.node_count, tree.nodes_shift, tree.nodes.at, tree.links, gates, asking.row, asking.scale,
            asked.planes, asked.low, asked.step, asked.total, descending.MARGIN * codes.SPREAD * asked.length,
            descending.DEPTH, descending.LEAST, seen, best,
        )  # fmt: skip
        kept, through = kernels.unpack(best[:count])
    nodes = np.sort(seen[seen >= 0]).astype(np.int64)
    logits, _, most = asking.judge(tree, nodes)
    of_kept = logits[np.searchsorted(nodes, kept)]
    bar, full = -np.inf, count == len(best)
    if count > descending.LEAST:
        bar = min(float(of_kept[0] - descending.DEPTH), float(of_kept[descending.LEAST]))
    if full:
        bar = max(bar, float(of_kept[-1]))
    opened = np.isin(nodes, kept[through])
    compared = np.isin(nodes, kept) | np.isin(nodes, gates) | (most >= bar)
    end = t.WalkEnd.BEAM if full and through.all() else t.WalkEnd.DEPTH
    if opened.all():
        end = t.WalkEnd.ALL
    gates = np.intersect1d(gates, nodes)
    beam = min(beam, len(tree.roots))
    return Walked(asking, beam, gates, kept[through], nodes, logits, opened, compared, bar, end)


def _gates_of(tree: Tree, row: npt.NDArray[np.int8], scale: np.float32, beam: int) -> Positions:
    """The gates of the `beam` ROOTs that are best for a row int8 (D,), as a walk enters by them."""
    best = np.empty(min(beam, len(tree.roots)), np.int64)
    count = kernels.nearest_roots(tree.roots.data, tree.roots.scales, row, scale, best)
    nearest, _ = kernels.unpack(best[:count])
    entered: Positions = tree.gates[nearest].ravel().astype(np.int64)
    return entered


def _opened(walks: Sequence[Walked]) -> Positions:
    """Nodes that any of a tree's walks opened; of a lone walk from the best on, as a fetch reads them."""
    return walks[0].order if len(walks) == 1 else np.unique(np.concatenate([one.order for one in walks]))


def _ranges(tree: Tree, nodes: Positions) -> Positions:
    """The slots of nodes: int64 (n, 2)."""
    found: Positions = scoring.ranges(nodes, tree.nodes_shift, tree.nodes.at, len(tree.slots))
    return found


def _told(forest: Forest, number: int, walked: Walked) -> t.Walk:
    """A walk in numbers; `number` is its tree's."""
    tree, asking = forest.trees[number], walked.asking
    roots = tree.roots.data.astype(np.int32) @ asking.row.astype(np.int32) * tree.roots.scales * asking.scale
    opened, compared = int(walked.opened.sum()), int(walked.compared.sum())
    first = np.argsort(-walked.logits, kind="stable")[:TOP]
    return t.Walk(
        rows=asking.rows,
        beam=walked.beam,
        best_root=float(roots.max()),
        last_root=float(np.sort(roots)[-walked.beam]),
        gates=len(walked.gates),
        met=len(walked.nodes),
        cut=len(walked.nodes) - compared,
        left=compared - opened,
        opened=opened,
        best=float(walked.logits.max()),
        bar=walked.bar,
        end=walked.end,
        nodes=tuple(met_nodes(forest, number, walked, first)),
    )


def met_nodes(forest: Forest, number: int, walked: Walked, positions: Positions) -> list[t.MetNode]:
    """Some of the nodes that a walk met, at `positions` among them; `number` is its tree's."""
    tree = forest.trees[number]
    found = []
    for position, (start, stop) in zip(positions.tolist(), _ranges(tree, walked.nodes[positions]), strict=True):
        entry = _first_entry(forest, number, int(start), int(stop))
        node, logit = int(walked.nodes[position]), float(walked.logits[position])
        found.append(t.MetNode(node, logit, bool(walked.opened[position]), int(stop - start), EntryId(entry)))
    return found


def _first_entry(forest: Forest, number: int, start: int, stop: int) -> int:
    """The first entry that is there under the slots of a tree from `start` to `stop`; 0: none."""
    slots = slots_of_tree(forest, number, np.arange(start, stop))
    ids = entries_of(forest, slots, 1)
    return int(ids[0]) if len(ids) else 0


def slots_of_tree(forest: Forest, number: int, slots: Positions) -> Positions:
    """A tree's slots int64 (n,) as they are named in a forest."""
    shift = forest.trees[number].slots_shift
    record, position = forest.bases[number] + (slots >> shift), slots & ((1 << shift) - 1)
    return (record << scoring.POSITION_BITS) | position


def entries_of(forest: Forest, slots: Positions, most: int) -> Ids:
    """The ids of the entries that are there in a forest's slots int64 (n,), `most` of each, slot after slot."""
    equal = np.ones(len(slots), np.float32)
    places, positions = scoring.expand(equal, slots, forest.slots.at, forest.dead, most)
    ids: Ids = scoring.ids_at(slots[places], positions, forest.slots.at)
    return ids


def key_of(forest: Forest, slot: int) -> Vectors:
    """The key of a forest's slot, copied: int8 (1, D)."""
    at, position = forest.slots.at[slot >> scoring.POSITION_BITS], slot & ((1 << scoring.POSITION_BITS) - 1)
    data = lent(at[scoring.KEYS] + position * forest.dimension, (1, forest.dimension), np.int8)
    return Vectors(data.copy(), lent(at[scoring.SCALES] + 4 * position, (1,), np.float32).copy())
