"""What must hold of every tree; pure."""

from collections.abc import Iterator

import numpy as np

from atlasdb.tree.image import NOBODY, Nodes, TreeImage, U32s


def problems(image: TreeImage, node_of: U32s | None = None) -> list[str]:
    """What is wrong, a sentence each; none if all is well.

    `node_of` (M,): the INTER node of each entry that the build placed; counts are compared with it.
    """
    return list(_dangling(image)) or list(_disagreeing(image, node_of))


def _dangling(image: TreeImage) -> Iterator[str]:
    roots, inter, guides = image.roots, image.inter, image.guides
    if not (len(roots) and len(inter)):
        yield f"a level is empty: {len(roots)} ROOTs, {len(inter)} INTER nodes"
        return
    if len({nodes.vectors.dimension for nodes in (roots, inter, guides)}) > 1:
        yield "the levels' dimensions differ"
    if inter.parents.max() >= len(roots):
        yield f"INTER node {int(inter.parents.argmax())} has the ROOT {inter.parents.max()}, which is not there"
    if len(guides) and guides.parents.max() >= len(inter):
        yield f"guide {int(guides.parents.argmax())} has the INTER node {guides.parents.max()}, which is not there"
    real = guides.links[guides.links != NOBODY]
    if len(real) and real.max() >= len(roots):
        yield f"a guide is listed by the ROOT {real.max()}, which is not there"


def _disagreeing(image: TreeImage, node_of: U32s | None) -> Iterator[str]:
    roots, inter, guides = image.roots, image.inter, image.guides
    for nodes, name, above in ((inter, "INTER nodes", "ROOTs"), (guides, "guides", "INTER nodes")):
        if np.any(np.diff(nodes.parents.astype(np.int64)) < 0):
            yield f"{name} are not in the order of their {above}"
    if not np.array_equal(np.unique(guides.parents), np.arange(image.newcomers)):
        yield "an INTER node other than the newcomers' has no guide, so no descent finds it"
    ordered = np.sort(guides.links, axis=1)
    if np.any((ordered != NOBODY).sum(axis=1) == 0):
        yield "a guide is listed by no ROOT, so no descent finds it"
    if np.any((ordered[:, 1:] == ordered[:, :-1]) & (ordered[:, 1:] != NOBODY)):
        yield "a guide is listed twice by one ROOT"
    if not np.array_equal(_below(guides, len(inter)), inter.counts):
        yield "an INTER node's count is not the sum of its guides'"
    if not np.array_equal(_below(inter, len(roots)), roots.counts):
        yield "a ROOT's count is not the sum of its INTER nodes'"
    if node_of is not None and not np.array_equal(np.bincount(node_of, minlength=len(inter)), inter.counts):
        yield "an INTER node's count is not the number of its entries"


def _below(nodes: Nodes, parents: int) -> U32s:
    return np.bincount(nodes.parents, weights=nodes.counts, minlength=parents).astype(np.uint32)
