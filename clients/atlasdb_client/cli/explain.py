"""explain: a search's descent as a tree of text, and what became of the entries asked about."""

import math
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from enum import Enum
from typing import Any

from atlasdb_client.cli import output
from atlasdb_client.cli.output import Branch
from atlasdb_client.client import connect
from atlasdb_contract.quantities import size
from atlasdb_contract.types import (
    Block,
    Entry,
    Explanation,
    Fate,
    MetNode,
    NodeFate,
    Sighting,
    TreeExplanation,
    Verdict,
    Walk,
)

SHOWN = 10
"""Entries of the block that are named."""

Named = Mapping[int, Entry]


def explain(args: Namespace) -> int:
    """How a text's nearest entries are found."""
    triples = [tuple(triple) for triple in args.triple]
    with connect(args.server) as client:
        block, explanation = client.explain(args.collection, args.text, args.k, args.entry, triples)
        entries = client.get(args.collection, sorted(_mentioned(block, explanation)))
    named: dict[int, Entry] = {entry.id: entry for entry in entries}
    if args.json:
        output.print_json(_json(block, explanation, named))
        return 0
    asked = [f"entry {number}" for number in args.entry] + [f"the triple ({', '.join(triple)})" for triple in triples]
    output.print_tree(
        Branch(
            f'"{args.text}" in {args.collection}: {output.plural(len(block.ids), "entry")} '
            f"in {_time(block.cost.microseconds)}, {size(block.cost.bytes_read)} read",
            [
                *(_tree(tree, named) for tree in explanation.trees),
                Branch(f"delta: {output.plural(explanation.delta_slots, 'slot')} compared"),
                _block(block, explanation, named),
                Branch("time", [Branch(f"{one.name}: {_time(one.microseconds)}") for one in explanation.stages]),
                *(
                    _verdict(verdict, what, block, explanation, named)
                    for verdict, what in zip(explanation.verdicts, asked, strict=True)
                ),
            ],
        )
    )
    return 0


def _mentioned(block: Block, explanation: Explanation) -> set[int]:
    """The entries that are shown by their names."""
    walks = [walk for tree in explanation.trees for walk in tree.walks]
    nodes = [node for walk in walks for node in walk.nodes]
    nodes += [one.link for verdict in explanation.verdicts for one in verdict.sightings if one.link is not None]
    ids = {node.entry for node in nodes} | {verdict.entry for verdict in explanation.verdicts}
    return {int(number) for number in ids if number} | set(block.ids[:SHOWN].tolist())


def _tree(tree: TreeExplanation, named: Named) -> Branch:
    steps = [step for walk in tree.walks for step in _walk(walk, tree, named)]
    leaf = f"{output.plural(tree.slots, 'slot')} with {output.plural(tree.entries, 'entry')} compared"
    return Branch(
        f"generation {tree.generation}: {output.plural(tree.roots, 'ROOT')}, {output.plural(tree.nodes, 'INTER node')}",
        [*steps, Branch(f"LEAF: {leaf}")],
    )


def _walk(walk: Walk, tree: TreeExplanation, named: Named) -> Iterator[Branch]:
    kept = f"the best {walk.beam:,}" if walk.beam > 1 else "the best one"
    yield Branch(
        f"ROOT: {tree.roots:,} compared; {kept}, logits {walk.best_root:.2f} to {walk.last_root:.2f}, "
        f"have {output.plural(walk.looked, 'INTER node')}, of which the best {walk.gates:,} by their codes are gates"
    )
    best = [Branch(_node(node, named)) for node in walk.nodes]
    more = walk.met - len(best)
    yield Branch(
        f"INTER: {walk.met:,} met, {walk.compared:,} of them compared, {walk.opened:,} opened; it ended at "
        f"{walk.bar:.2f}: {walk.end.value}; of {output.plural(walk.offered, 'slot')} those expected above "
        f"{walk.slot_bar:.2f} were compared",
        [*best, Branch(f"and {more:,} more")] if more else best,
    )


def _node(node: MetNode, named: Named) -> str:
    state = "opened" if node.opened else "not opened"
    return f"{node.logit:.2f} {_name(node, named)}: {state}, {output.plural(node.slots, 'slot')}"


def _name(node: MetNode, named: Named) -> str:
    """A node by what its entries are about."""
    entry = named.get(node.entry)
    if entry is None:
        return f"node {node.node}"
    return entry.triple.tail if entry.inverse else entry.triple.head


def _block(block: Block, explanation: Explanation, named: Named) -> Branch:
    first = [
        Branch(f"{score:.3g} {_entry(number, named)}")
        for number, score in zip(block.ids[:SHOWN].tolist(), block.scores.tolist(), strict=False)
    ]
    if more := len(block.ids) - len(first):
        first.append(Branch(f"and {more:,} more"))
    chosen = f"{len(block.ids):,} of {output.plural(explanation.candidates, 'candidate')}"
    return Branch(f"block: {chosen}, by score", first)


def _entry(number: int, named: Named) -> str:
    entry = named.get(number)
    if entry is None:
        return f"entry {number}"
    relation = entry.triple.relation + " (inverse)" * entry.inverse
    return f"entry {number} ({entry.triple.head}, {relation}, {entry.triple.tail})"


def _verdict(verdict: Verdict, asked: str, block: Block, explanation: Explanation, named: Named) -> Branch:
    """A sentence, and for an entry that was not compared one for each walk over its tree."""
    what = _entry(verdict.entry, named) if verdict.entry else asked
    last = float(block.scores[-1]) if len(block.scores) else 0.0
    its = f"its score is {verdict.score:.3g}, and the last of the block has {last:.3g}"
    would = f"its score would be {verdict.score:.3g}, and the last of the block has {last:.3g}"
    match verdict.fate:
        case Fate.CHOSEN:
            return Branch(f"{what} is number {verdict.rank} of the block, with the score {verdict.score:.3g}")
        case Fate.BEATEN:
            place = f"number {verdict.rank:,} of {output.plural(explanation.candidates, 'candidate')}"
            return Branch(f"{what} is not in the block: {place}; {its}")
        case Fate.PASSED:
            node = f"node {verdict.node} of generation {verdict.generation}"
            sightings = [Branch(f"{node} was {_sighting(one, named)}") for one in verdict.sightings]
            return Branch(f"{what} was not compared; {would}", sightings)
        case Fate.FAINT:
            return Branch(f"{what} is not in the block: it is in the delta, and nothing beside the rest; {would}")
        case Fate.DELETED:
            return Branch(f"{what} was deleted")
        case Fate.ABSENT:
            return Branch(f"{what} is not in the collection")


def _sighting(sighting: Sighting, named: Named) -> str:
    """What a walk did with the node of an entry that it passed over."""
    ended = f"its logit is {sighting.logit:.2f}, and the walk ended at {sighting.bar:.2f}"
    slot = f"its slot was expected at {sighting.expected:.2f}, and compared were those above {sighting.slot_bar:.2f}"
    match sighting.fate:
        case NodeFate.UNMET if sighting.link is not None:
            link = f"{_name(sighting.link, named)} ({sighting.link.logit:.2f})"
            return f"never met: {link} links to it and was not opened either; {ended}"
        case NodeFate.UNMET:
            return f"never met: no node that was met links to it; {ended}"
        case NodeFate.MET:
            return f"met, and by its code at {sighting.estimate:.2f}: {slot}"
        case _:
            return f"met and compared, at {sighting.logit:.2f}: {slot}"


def _time(microseconds: int) -> str:
    return f"{microseconds:,} {'µs' if output.in_utf8() else 'us'}"


def _json(block: Block, explanation: Explanation, named: Named) -> dict[str, Any]:
    entries = [
        {"id": number, "score": score} | (output.entry_json(named[number]) if number in named else {})
        for number, score in zip(block.ids.tolist(), block.scores.tolist(), strict=True)
    ]
    told = asdict(explanation, dict_factory=_plain)
    return {"generation": block.generation, "cost": asdict(block.cost), "block": entries, "explanation": told}


def _plain(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    """A noun's fields as JSON has them: it knows neither choices nor infinities."""
    return {name: _value(value) for name, value in pairs}


def _value(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.name.lower()
    return None if isinstance(value, float) and not math.isfinite(value) else value
