"""Where a new entry stands: under the INTER node that a row equal to its key would find first; design rule 6.

So an entry of a head that is already there joins its head, and a new head joins one that reads like it.
"""

import numpy as np

from atlasdb.tree.image import TreeImage, U32s
from atlasdb.tree.kmeans import Positions, chunks
from atlasdb_contract.types import Floats, Vectors

PROBES = 8
"""ROOTs that are looked under for each key."""


def nearest(image: TreeImage, keys: Vectors) -> U32s:
    """The INTER node of each of N keys: uint32 (N,)."""
    found = np.zeros(len(keys), np.uint32)
    if len(image.guides) == 1 or not len(keys):
        found[:] = image.guides.parents[0]
        return found
    roots = image.roots.vectors.floats()
    for chunk in chunks(np.arange(len(keys))):
        found[chunk] = image.guides.parents[_nearest_guides(image, roots, keys.take(chunk).floats())]
    return found


def _nearest_guides(image: TreeImage, roots: Floats, keys: Floats) -> Positions:
    """The guide of each key: (n,). Keys that look under the same ROOT are compared together."""
    probes = min(PROBES, len(roots))
    near = np.argpartition(-(keys @ roots.T), probes - 1, axis=1)[:, :probes]
    order = np.argsort(near, axis=None, kind="stable")
    bounds = np.flatnonzero(np.diff(near.ravel()[order], prepend=-1))
    guides = np.zeros(len(keys), np.int64)
    scores = np.full(len(keys), -np.inf, np.float32)
    for some in np.split(order, bounds[1:]):
        root = near.ravel()[some[0]]
        listed = image.listed[image.starts[root] : image.starts[root + 1]]
        if not len(listed):
            continue
        asking = some // probes
        dots = keys[asking] @ image.guides.vectors.take(listed).floats().T
        top = np.argmax(dots, axis=1)
        value = dots[np.arange(len(asking)), top]
        better = value > scores[asking]
        scores[asking[better]] = value[better]
        guides[asking[better]] = listed[top[better]]
    return guides
