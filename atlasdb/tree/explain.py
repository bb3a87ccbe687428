"""A descent explained: the steps of `descend`, one by one with their times, and what became of nodes and entries.

The walks and comparisons are the compiled ones of a fetch, so the block is the same.
"""

import itertools
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb.tree import descend as descending
from atlasdb.tree import scoring, walking
from atlasdb.tree.descend import Asking, Candidates, Plan, asking_of, cost_of, plans
from atlasdb.tree.image import Forest, Tree, lent, rows_in
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
class Walked:
    """What one walk over a tree, for a group of `rows` rows, met: nodes int64 (n,), rising, with their logits, by code
    where they were not compared, and fates uint8. `offered` int64 (m, 3) as of walking.walk, but for the places, which
    are among `nodes`; `chosen` bool (m,): those that were compared."""

    asking: Asking
    rows: int
    beam: int
    looked: int
    gates: int
    nodes: Positions
    logits: Floats
    fates: npt.NDArray[np.uint8]
    bar: float
    end: t.WalkEnd
    shares: Floats
    offered: npt.NDArray[np.int64]
    chosen: Bools
    slot_bar: float

    @property
    def opened(self) -> Bools:
        """Whose links were followed: (n,)."""
        opened: Bools = self.fates == walking.OPENED
        return opened

    def judge(self, tree: Tree, nodes: Positions) -> tuple[Floats, Floats]:
        """Nodes int64 (n,): their logits, and what their codes say, float32 (n,) each."""
        a = self.asking.asked
        logits, estimates = walking.judged(
            nodes, tree.nodes_shift, tree.nodes.at, tree.links, self.asking.row, self.asking.scale, a.planes, a.low,
            a.step, a.total,
        )  # fmt: skip
        return logits, estimates


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
    groups = _groups(rows, clock) if forest.trees else []
    for plan in plans(forest, k, beams):
        walked = tuple(tuple(_walk(tree, *group, plan, clock) for group in groups) for tree in forest.trees)
        candidates, told = Candidates(forest, rows), []
        for number, generation in enumerate(generations):
            told.append(_compare(forest, number, generation, walked[number], candidates, clock))
        if candidates.enough(k):
            break
    with clock.stage("delta"):
        candidates.add_delta()
    candidates.leave_out()
    logits = candidates.logits[: candidates.count]
    peaks = logits.max(axis=0, initial=-np.inf)
    with clock.stage("scores"):
        scores = candidates.scores()
    cost = _cost(forest, walked, candidates.compared)
    with clock.stage("block"):
        found = taken(forest, candidates.slots[: candidates.count], scores, k, cost)
    return Explained(found, tuple(told), walked, candidates, scores, peaks)


def _groups(rows: Vectors, clock: Clock) -> list[tuple[Asking, int]]:
    """The groups of alike rows, with how many rows lie nearest to each."""
    with clock.stage("rows"):
        asking = asking_of(rows)
    floats = np.stack([one.row * one.scale for one in asking])
    lengths = np.maximum(np.linalg.norm(floats, axis=1), np.finfo(np.float32).tiny)
    nearest = (rows.floats() @ (floats / lengths[:, None]).T).argmax(axis=1)
    return list(zip(asking, np.bincount(nearest, minlength=len(asking)).tolist(), strict=True))


def _walk(tree: Tree, asking: Asking, rows: int, plan: Plan, clock: Clock) -> Walked:
    """The steps of walking.sought."""
    row, scale, a = asking.row, asking.scale, asking.asked
    coded = a.planes, a.low, a.step, a.total
    graph = tree.node_count, tree.nodes_shift, tree.nodes.at, tree.links
    with clock.stage("ROOT"):
        best = np.empty(min(plan.beam, len(tree.roots)), np.int64)
        count = walking.nearest_roots(tree.roots.data, tree.roots.scales, row, scale, best)
        nearest, gates = walking.numbers(best[:count]), np.empty(descending.GATES, np.int64)
        gated, looked = walking.enter(nearest, tree.root_starts, *graph, *coded, descending.SCANNED, gates)
    shares = walking.shares_of(tree.residuals.data, tree.residuals.scales, row, scale)
    with clock.stage("INTER"):
        count, _, opened, offers, top = walking.walk(
            gates[:gated], *graph, len(tree.slots), row, scale, *a, shares, descending.DEPTH, plan.least,
            plan.nodes, descending.CUT, 4 * plan.fewest, plan.seen, plan.met, plan.scores, plan.fates,
            plan.heap, plan.offered,
        )  # fmt: skip
        offered = plan.offered[:offers].copy()
        chosen, _, _, slot_bar = walking.promising(offered, plan.scores, shares, descending.CUT, plan.fewest, plan.many)
    order = np.argsort(plan.met[:count])
    offered[:, 1] = np.argsort(order)[offered[:, 1]]
    nodes, fates = plan.met[:count][order], plan.fates[:count][order]
    end = t.WalkEnd.BEAM if opened == plan.nodes else t.WalkEnd.DEPTH
    if opened == count:
        end = t.WalkEnd.ALL
    bar = float(top - descending.DEPTH) if opened >= plan.least else -np.inf
    told = nodes, plan.scores[:count][order], fates, bar, end, shares, offered, chosen, float(slot_bar)
    return Walked(asking, rows, len(nearest), looked, gated, *told)


def _compare(
    forest: Forest, number: int, generation: Generation, walks: Sequence[Walked], candidates: Candidates, clock: Clock
) -> t.TreeExplanation:
    """Compare the slots that the walks over a tree chose; what is to be told of that tree."""
    before, compared = candidates.count, candidates.compared
    with clock.stage("LEAF"):
        candidates.add_slots(number, [one.offered[one.chosen, 0] for one in walks])
    entries = int(candidates.weights[before : candidates.count].sum(dtype=np.float64))
    parents = {int(node) for one in walks for node in one.nodes[one.offered[one.chosen, 1]]}
    tree, told = forest.trees[number], tuple(_told(forest, number, one) for one in walks)
    sizes = len(tree.roots), tree.node_count
    return t.TreeExplanation(generation, *sizes, told, len(parents), candidates.compared - compared, entries)


def _cost(forest: Forest, walked: Sequence[Sequence[Walked]], compared: int) -> FetchCost:
    """As a fetch counts it."""
    looked = np.zeros(3, np.int64)
    for one in itertools.chain.from_iterable(walked):
        parents = len(np.unique(one.offered[one.chosen, 1]))
        products = int((one.fates != walking.MET).sum())
        looked += (one.looked + len(one.nodes), products, parents)
    return cost_of(forest, len(walked[0]) if walked else 0, looked, compared)


def _told(forest: Forest, number: int, walked: Walked) -> t.Walk:
    """A walk in numbers; `number` is its tree's."""
    tree, asking = forest.trees[number], walked.asking
    roots = tree.roots.data.astype(np.int32) @ asking.row.astype(np.int32) * tree.roots.scales * asking.scale
    first = np.argsort(-walked.logits, kind="stable")[:TOP]
    return t.Walk(
        rows=walked.rows,
        beam=walked.beam,
        best_root=float(roots.max()),
        last_root=float(np.sort(roots)[-walked.beam]),
        looked=walked.looked,
        gates=walked.gates,
        met=len(walked.nodes),
        compared=int((walked.fates != walking.MET).sum()),
        opened=int(walked.opened.sum()),
        best=float(walked.logits.max()),
        bar=walked.bar,
        offered=len(walked.offered),
        slot_bar=walked.slot_bar,
        end=walked.end,
        nodes=tuple(met_nodes(forest, number, walked, first)),
    )


def met_nodes(forest: Forest, number: int, walked: Walked, positions: Positions) -> list[t.MetNode]:
    """Some of the nodes that a walk met, at `positions` among them; `number` is its tree's."""
    tree = forest.trees[number]
    found = []
    for position in positions.tolist():
        node, logit = int(walked.nodes[position]), float(walked.logits[position])
        row = rows_in(tree, node >> tree.nodes_shift)[node & ((1 << tree.nodes_shift) - 1)]
        first, count = int(row["first"]), int(row["count"])
        entry = _first_entry(forest, number, first, first + count) if first + count <= len(tree.slots) else 0
        found.append(t.MetNode(node, logit, bool(walked.opened[position]), count, EntryId(entry)))
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
