"""Why an entry is in a block or not: where its slot is, and what a descent did with the node over it."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from atlasdb.tree import kernels, scoring
from atlasdb.tree.explain import Explained, Walked, entries_of, key_of, met_nodes, slots_of_tree
from atlasdb.tree.image import Forest, Tree, lent
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
    sightings = _sightings(forest, place.tree, explained.walked[place.tree], node)
    generation = generations[place.tree]
    return Verdict(place.entry, fate if rank else Fate.UNOPENED, generation, node, rank, score, told, sightings)


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
    firsts = np.array([lent(at, (1,), np.uint64)[0] for at in tree.nodes.at[:, kernels.STARTS].tolist()])
    record = int(np.searchsorted(firsts, place.slot, side="right")) - 1
    count = int(tree.nodes.counts[record])
    starts = lent(tree.nodes.at[record, kernels.STARTS], (count + 1,), np.uint64)
    position = int(np.searchsorted(starts, place.slot, side="right")) - 1
    if record < 0 or not 0 <= position < count:
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


def _sightings(forest: Forest, number: int, walks: Sequence[Walked], node: int) -> tuple[Sighting, ...]:
    """A node of the tree `number` in those of its walks that opened it, or came nearest to it."""
    seen = [(_sighting(forest.trees[number], one, node), one) for one in walks]
    seen.sort(key=lambda pair: (pair[0].fate is NodeFate.OPENED, pair[0].logit - pair[0].bar), reverse=True)
    return tuple(
        replace(sighting, link=_link_to(forest, number, one, node)) if sighting.fate is NodeFate.UNMET else sighting
        for sighting, one in seen[:NEAREST]
    )


def _sighting(tree: Tree, walked: Walked, node: int) -> Sighting:
    logits, estimates, most = walked.asking.judge(tree, np.array([node]))
    position = int(np.searchsorted(walked.nodes, node))
    if position == len(walked.nodes) or walked.nodes[position] != node:
        fate = NodeFate.UNMET
    elif walked.opened[position]:
        fate = NodeFate.OPENED
    else:
        fate = NodeFate.LEFT if walked.compared[position] else NodeFate.CUT
    return Sighting(fate, float(logits[0]), float(estimates[0]), float(most[0] - estimates[0]), walked.bar)


def _link_to(forest: Forest, number: int, walked: Walked, node: int) -> MetNode | None:
    """The best node that a walk met of those with a link to `node`; none was opened, as it was not met."""
    tree = forest.trees[number]
    linking = np.zeros(len(walked.nodes), np.bool_)
    records = walked.nodes >> tree.nodes_shift
    for record in np.unique(records).tolist():
        count = int(tree.nodes.counts[record])
        links = lent(tree.nodes.at[record, kernels.LINKS], (count, tree.links), np.int32)
        here = np.flatnonzero(records == record)
        positions = walked.nodes[here] - (record << tree.nodes_shift)
        linking[here] = (links[positions] == node).any(axis=1)
    found = np.flatnonzero(linking)
    if not len(found):
        return None
    return met_nodes(forest, number, walked, found[[walked.logits[found].argmax()]])[0]
