"""What must hold of every tree; pure."""

from collections.abc import Iterator

import numpy as np

from atlasdb.tree.image import I32s
from atlasdb.tree.slots import Positions


def problems(root_starts: Positions, links: I32s, starts: Positions, slots: int) -> list[str]:
    """What is wrong with a tree of C ROOTs and B INTER nodes, a sentence each; none if all is well.

    `root_starts` (C + 1,) are the ROOTs' nodes, `links` (B, L) padded with -1 at the end, `starts` (B + 1,) the nodes'
    slots, of `slots`.
    """
    return list(_out_of_bounds(root_starts, links, starts, slots)) or list(_badly_linked(links))


def _out_of_bounds(root_starts: Positions, links: I32s, starts: Positions, slots: int) -> Iterator[str]:
    count = len(links)
    if links.size and (links.min() < -1 or links.max() >= count):
        yield f"a node's links name a node that is not there; there are {count}"
    if (np.diff((links >= 0).astype(np.int8), axis=1) > 0).any():
        yield "a node's links have a gap"
    if root_starts[0] != 0 or root_starts[-1] != count or (np.diff(root_starts) <= 0).any():
        yield f"the nodes of {len(root_starts) - 1} ROOTs do not divide {count} nodes"
    if len(starts) != count + 1 or starts[0] != 0 or starts[-1] != slots or (np.diff(starts) <= 0).any():
        yield f"the slots of {count} nodes do not divide {slots} slots"


def _badly_linked(links: I32s) -> Iterator[str]:
    if (links == np.arange(len(links))[:, None]).any():
        yield "a node is linked to itself"
    ordered = np.sort(links, axis=1)
    if ((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] >= 0)).any():
        yield "a node is linked twice to another"
    linked = np.zeros(len(links) + 1, np.bool_)
    linked[links] = True  # -1 is the last place, which is nobody's
    alone = len(links) - int(linked[:-1].sum())
    if alone > 1:
        yield f"{alone} of {len(links)} nodes have a link from no other"
