"""What is said of a block, between the nouns and the wire; the part of the codec that has most fields. Pure."""

from typing import Any

from atlasdb_contract import types as t
from atlasdb_contract.ids import Generation
from atlasdb_contract.v1 import retrieval_pb2 as rpb

_OF_WALK = ("rows", "beam", "best_root", "last_root", "looked", "gates", "met", "compared", "opened", "best", "bar")
_OF_OFFER = ("offered", "slot_bar")
_OF_NODE = ("node", "logit", "opened", "slots", "entry")
_OF_VERDICT = ("entry", "generation", "node", "rank", "score")
_OF_SIGHTING = ("logit", "estimate", "bar", "expected", "slot_bar")


def explanation_to_proto(explanation: t.Explanation) -> rpb.Explanation:
    """What is said of a block."""
    return rpb.Explanation(
        trees=[
            rpb.TreeExplanation(
                **_numbers(tree, "generation", "roots", "nodes", "parents", "slots", "entries"),
                walks=map(_walk_to_proto, tree.walks),
            )
            for tree in explanation.trees
        ],
        **_numbers(explanation, "delta_slots", "candidates"),
        stages=[rpb.Stage(name=stage.name, microseconds=stage.microseconds) for stage in explanation.stages],
        verdicts=map(_verdict_to_proto, explanation.verdicts),
    )


def explanation_from_proto(message: rpb.Explanation) -> t.Explanation:
    """What is said of a block."""
    trees = (
        t.TreeExplanation(
            Generation(tree.generation),
            tree.roots,
            tree.nodes,
            tuple(map(_walk_from_proto, tree.walks)),
            tree.parents,
            tree.slots,
            tree.entries,
        )
        for tree in message.trees
    )
    stages = (t.Stage(stage.name, stage.microseconds) for stage in message.stages)
    verdicts = map(_verdict_from_proto, message.verdicts)
    return t.Explanation(tuple(trees), message.delta_slots, message.candidates, tuple(stages), tuple(verdicts))


def _numbers(noun: object, *names: str) -> dict[str, Any]:
    return {name: getattr(noun, name) for name in names}


def _walk_to_proto(walk: t.Walk) -> rpb.Walk:
    nodes = [rpb.MetNode(**_numbers(node, *_OF_NODE)) for node in walk.nodes]
    return rpb.Walk(**_numbers(walk, *_OF_WALK, *_OF_OFFER), end=f"WALK_END_{walk.end.name}", nodes=nodes)


def _walk_from_proto(message: rpb.Walk) -> t.Walk:
    end = t.WalkEnd[rpb.WalkEnd.Name(message.end).removeprefix("WALK_END_")]
    return t.Walk(
        **_numbers(message, *_OF_WALK, *_OF_OFFER), end=end, nodes=tuple(map(_node_from_proto, message.nodes))
    )


def _node_from_proto(message: rpb.MetNode) -> t.MetNode:
    return t.MetNode(**_numbers(message, *_OF_NODE))


def _verdict_to_proto(verdict: t.Verdict) -> rpb.Verdict:
    return rpb.Verdict(
        **_numbers(verdict, *_OF_VERDICT),
        fate=f"FATE_{verdict.fate.name}",
        logits=verdict.logits,
        sightings=[
            rpb.Sighting(
                **_numbers(one, *_OF_SIGHTING),
                fate=f"NODE_FATE_{one.fate.name}",
                link=None if one.link is None else rpb.MetNode(**_numbers(one.link, *_OF_NODE)),
            )
            for one in verdict.sightings
        ],
    )


def _verdict_from_proto(message: rpb.Verdict) -> t.Verdict:
    sightings = (
        t.Sighting(
            **_numbers(one, *_OF_SIGHTING),
            fate=t.NodeFate[rpb.NodeFate.Name(one.fate).removeprefix("NODE_FATE_")],
            link=_node_from_proto(one.link) if one.HasField("link") else None,
        )
        for one in message.sightings
    )
    return t.Verdict(
        **_numbers(message, *_OF_VERDICT),
        fate=t.Fate[rpb.Fate.Name(message.fate).removeprefix("FATE_")],
        logits=tuple(message.logits),
        sightings=tuple(sightings),
    )
