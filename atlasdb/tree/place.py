"""Where a new entry stands; design rule 6.

An entry of a head that has a guide reads like that guide, and joins its INTER node. A key that reads like no guide (in
FB13 97% of the entries of new heads, and 3% of the others) joins the newcomers, whom every descent compares.
"""

import numpy as np

from atlasdb.tree import kmeans
from atlasdb.tree.image import TreeImage, U32s
from atlasdb.tree.kmeans import Positions
from atlasdb.tree.rank import Rows
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats, Vectors

PROBES = 8
"""ROOTs that are looked under for each key."""
LIKENESS = 0.77
"""Least cosine of a key, less the mean of all, and its guide. In FB13 95% of the entries of known heads have .79 or
more, 95% of those of new heads .72 or less."""
CHUNK = 1024
"""Keys compared at once."""


def nearest(image: TreeImage, keys: Vectors) -> U32s:
    """The INTER node of each of N keys: uint32 (N,)."""
    found = np.full(len(keys), image.newcomers, np.uint32)
    if len(image.guides):
        for start in range(0, len(keys), CHUNK):
            guides, likeness = _nearest_guides(image, keys.take(slice(start, start + CHUNK)))
            joins = likeness >= LIKENESS
            found[start : start + CHUNK][joins] = image.guides.parents[guides[joins]]
    return found


def _nearest_guides(image: TreeImage, keys: Vectors) -> tuple[Positions, Floats]:
    """The guide of each key, and its cosine: (n,). Keys that look under the same ROOT are compared together."""
    mean = image.inter.vectors.take([image.newcomers]).floats()
    keys = quantise(kmeans.unit(keys.floats() - mean))
    count, probes = len(keys), min(PROBES, len(image.roots))
    near = np.argpartition(-Rows(keys).logits(image.roots.vectors), probes - 1, axis=1)[:, :probes].ravel()
    order = np.argsort(near, kind="stable")
    guides = np.zeros(count, np.int64)
    likeness = np.full(count, -np.inf, np.float32)
    for pairs in np.split(order, np.flatnonzero(np.diff(near[order])) + 1):
        root, asking = near[pairs[0]], pairs // probes
        listed = image.listed[image.starts[root] : image.starts[root + 1]]
        if not len(listed):
            continue
        dots = Rows(keys.take(asking)).logits(_unit(image.guides.vectors.take(listed)))
        top = np.argmax(dots, axis=1)
        value = dots[np.arange(len(asking)), top]
        better = value > likeness[asking]
        likeness[asking[better]] = value[better]
        guides[asking[better]] = listed[top[better]]
    return guides, likeness


def _unit(vectors: Vectors) -> Vectors:
    """The same directions, of length 1."""
    data = vectors.data.astype(np.float32)
    lengths = np.sqrt(np.einsum("nd,nd->n", data, data))
    return Vectors(vectors.data, 1 / np.maximum(lengths, np.float32(1)))
