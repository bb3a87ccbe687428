"""Why an entry is in a block or not: where its slot is, and what a descent did with the node over it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from atlasdb.tree import scoring, walking
from atlasdb.tree.explain import Explained, Walked, entries_of, key_of, met_nodes, slots_of_tree
from atlasdb.tree.image import Forest, Tree, lent, rows_in
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import EntryId, Generation
from atlasdb_contract.types import Fate, Floats, MetNode, NodeFate, Sighting, Vectors, Verdict

NEAREST = 8
"""Walks that a verdict tells of."""


@dataclass(frozen=True, slots=True)
class Place:
    """An entry that is there, and its slot: slot `slot` of the forest's tree `tree`, or somewhere in the delta."""

    entry: EntryId
    tree: int | None = None
    slot: int = 0


def verdict(
    forest: Forest, rows: Vectors, explained: Explained, place: Place, generations: Sequence[Generation]
) -> Verdict:
    """Of one entry. `generations` are the trees'. DataLoss where no node, or no slot of the delta, has it."""
    slot = _slot_in_delta(forest, place.entry) if place.tree is None else _slot_in_tree(forest, place)
    logits = _logits(rows, key_of(forest, slot))
    rank, score = _standing(forest, explained, place.entry, slot, logits)
    chosen = place.entry in explained.found.ids
    fate = Fate.CHOSEN if chosen else Fate.BEATEN
    told = tuple(logits.tolist())
    if place.tree is None:
        return Verdict(place.entry, fate if rank else Fate.FAINT, rank=rank, score=score, logits=told)
    node = _node_of(forest.trees[place.tree], place)
    sightings = _sightings(forest, place, explained.walked[place.tree], node)
    generation = generations[place.tree]
    return Verdict(place.entry, fate if rank else Fate.PASSED, generation, node, rank, score, told, sightings)


def _slot_in_tree(forest: Forest, place: Place) -> int:
    assert place.tree is not None
    return int(slots_of_tree(forest, place.tree, np.array([place.slot]))[0])


def _slot_in_delta(forest: Forest, entry: EntryId) -> int:
    """The forest's name of it. The delta has a slot for each entry."""
    for record in range(forest.bases[-1], len(forest.slots.counts)):
        ids = lent(forest.slots.at[record, scoring.IDS], (int(forest.slots.counts[record]),), np.uint64)
        if len(found := np.flatnonzero(ids == np.uint64(entry))):
            return record << scoring.POSITION_BITS | int(found[0])
    raise DataLoss(f"the slot of entry {entry} is missing; `atlasdb verify` lists all damage")


def _node_of(tree: Tree, place: Place) -> int:
    """The INTER node whose slots hold this one."""
    firsts = np.array([rows_in(tree, record)["first"][0] for record in range(len(tree.nodes.counts))])
    record = int(np.searchsorted(firsts, place.slot, side="right")) - 1
    rows = rows_in(tree, max(record, 0))
    position = int(np.searchsorted(rows["first"], place.slot, side="right")) - 1
    if record < 0 or place.slot >= int(rows["first"][position]) + int(rows["count"][position]):
        raise DataLoss(f"no INTER node has the slot of entry {place.entry}; `atlasdb verify` lists all damage")
    return (record << tree.nodes_shift) + position


def _logits(rows: Vectors, key: Vectors) -> Floats:
    """A key (1, D) with each row: float32 (R,)."""
    products = rows.data.astype(np.int32) @ key.data[0].astype(np.int32)
    logits: Floats = products.astype(np.float32) * key.scales[0] * rows.scales
    return logits


def _standing(forest: Forest, explained: Explained, entry: EntryId, slot: int, logits: Floats) -> tuple[int, float]:
    """The entry's rank among the candidates (0: it is none) and its score; equals are in the order of their ids."""
    candidates, scores = explained.candidates, explained.scores
    slots, weights = candidates.slots[: candidates.count], candidates.weights[: candidates.count]
    at = np.flatnonzero(slots == slot)
    if not len(at):
        return 0, _score_beside(explained, logits)
    score = scores[at[0]]
    ahead = int(weights[scores > score].sum(dtype=np.float64))
    equal = slots[scores == score]
    ids = entries_of(forest, equal, int(weights.max()))
    return ahead + int((ids < np.uint64(entry)).sum()) + 1, float(score)


def _score_beside(explained: Explained, logits: Floats) -> float:
    """What one more candidate with these logits (R,) would score."""
    candidates = explained.candidates
    powers = candidates.logits[: candidates.count]  # as the softmax left them
    totals = candidates.weights[: candidates.count].astype(np.float64) @ powers
    peaks = np.maximum(explained.peaks, logits).astype(np.float64)
    own = np.exp(logits - peaks)
    return float((own / (own + totals * np.exp(explained.peaks - peaks))).sum())


def _sightings(forest: Forest, place: Place, walks: Sequence[Walked], node: int) -> tuple[Sighting, ...]:
    """The node of a place in those walks over its tree that met it, or came nearest to it."""
    assert place.tree is not None
    seen = [(_sighting(forest.trees[place.tree], one, node, place.slot), one) for one in walks]
    seen.sort(key=lambda pair: (pair[0].fate is not NodeFate.UNMET, pair[0].expected - pair[0].slot_bar), reverse=True)
    return tuple(
        replace(sighting, link=_link_to(forest, place.tree, one, node)) if sighting.fate is NodeFate.UNMET else sighting
        for sighting, one in seen[:NEAREST]
    )


_FATES = {walking.MET: NodeFate.MET, walking.COMPARED: NodeFate.COMPARED, walking.OPENED: NodeFate.OPENED}


def _sighting(tree: Tree, walked: Walked, node: int, slot: int) -> Sighting:
    logits, estimates = walked.judge(tree, np.array([node]))
    position, fate, score = int(np.searchsorted(walked.nodes, node)), NodeFate.UNMET, float(logits[0])
    if position < len(walked.nodes) and walked.nodes[position] == node:
        fate, score = _FATES[int(walked.fates[position])], float(walked.logits[position])
    row = rows_in(tree, node >> tree.nodes_shift)[node & ((1 << tree.nodes_shift) - 1)]
    within = slot - int(row["first"])
    code = int(row["residuals"][within]) if within < walking.RESIDUALS else len(walked.shares) - 1
    expected = score + float(walked.shares[min(code, len(walked.shares) - 1)])
    return Sighting(fate, float(logits[0]), float(estimates[0]), walked.bar, expected, walked.slot_bar)


def _link_to(forest: Forest, number: int, walked: Walked, node: int) -> MetNode | None:
    """The best node that a walk met of those with a link to `node`; none was opened, as it was not met."""
    tree = forest.trees[number]
    linking = np.zeros(len(walked.nodes), np.bool_)
    records = walked.nodes >> tree.nodes_shift
    for record in np.unique(records).tolist():
        links = rows_in(tree, record)["links"]
        here = np.flatnonzero(records == record)
        positions = walked.nodes[here] - (record << tree.nodes_shift)
        linking[here] = (links[positions] == node).any(axis=1)
    found = np.flatnonzero(linking)
    if not len(found):
        return None
    return met_nodes(forest, number, walked, found[[walked.logits[found].argmax()]])[0]
