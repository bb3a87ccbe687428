"""What must hold of every tree; pure."""

from collections.abc import Iterator

import numpy as np

from atlasdb.tree.graph import reached
from atlasdb.tree.image import I32s
from atlasdb.tree.slots import Positions


def problems(gates: I32s, links: I32s, starts: Positions, slots: int) -> list[str]:
    """What is wrong with a tree of C ROOTs and B INTER nodes, a sentence each; none if all is well.

    `gates` (C, E) and `links` (B, L) are padded with -1 at the end; `starts` (B + 1,) are the nodes' slots, of `slots`.
    """
    return list(_out_of_bounds(gates, links, starts, slots)) or list(_badly_linked(gates, links))


def _out_of_bounds(gates: I32s, links: I32s, starts: Positions, slots: int) -> Iterator[str]:
    count = len(links)
    for what, nodes in (("a ROOT's gates", gates), ("a node's links", links)):
        if nodes.size and (nodes.min() < -1 or nodes.max() >= count):
            yield f"{what} name a node that is not there; there are {count}"
        if (np.diff((nodes >= 0).astype(np.int8), axis=1) > 0).any():
            yield f"{what} have a gap"
    if len(starts) != count + 1 or starts[0] != 0 or starts[-1] != slots or (np.diff(starts) <= 0).any():
        yield f"the slots of {count} nodes do not divide {slots} slots"


def _badly_linked(gates: I32s, links: I32s) -> Iterator[str]:
    if len(links) and (gates[:, :1] < 0).any():
        yield "a ROOT has no gate"
    if (links == np.arange(len(links))[:, None]).any():
        yield "a node is linked to itself"
    ordered = np.sort(links, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        yield "a node is linked twice to another"
    unreached = len(links) - int(reached(links, gates).sum())
    if unreached:
        yield f"{unreached} of {len(links)} nodes are reached from no gate, so no descent finds them"
