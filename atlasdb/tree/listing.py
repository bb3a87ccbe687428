"""Which ROOTs list a guide.

A guide on a border is lost to a row that falls on the other side, so each stands under LINKS ROOTs. After the nearest,
each further one is near too but lies in another direction: its cost is |y - c|^2 plus SPREAD times the square of that
part of y - c that is parallel to a residual already taken (SOAR: Sun et al., 2023, arXiv:2404.00774). Three ROOTs that
see a guide from different sides find it as often as six that all lie together.
"""

import numpy as np
import numpy.typing as npt

from atlasdb.tree.image import U32s
from atlasdb.tree.kmeans import REACH, Grouped, Load, Tick, chunks, group_members, ignore
from atlasdb_contract.types import Floats

LINKS = 4
SPREAD = 1.0
POOL = 24
"""Nearest ROOTs that are considered."""


def links(load: Load, count: int, roots: Grouped, tick: Tick = ignore) -> U32s:
    """For each of `count` unit vectors its ROOTs, the nearest first: uint32 (count, min(LINKS, ROOTs))."""
    found = np.empty((count, min(LINKS, len(roots.centroids))), np.uint32)
    if found.shape[1] == 1:
        found[:] = 0
        return found
    wide = len(roots.centroids) <= REACH
    members = [np.arange(count)] if wide else group_members(load, count, roots.tops, tick)
    for group, own in enumerate(members):
        near = roots.near(group)
        if len(near) < found.shape[1]:
            near = np.arange(len(roots.centroids))
        centroids = roots.centroids[near]
        between = centroids @ centroids.T
        for chunk in chunks(own):
            found[chunk] = near[spread(load(chunk) @ centroids.T, between, found.shape[1])]
            tick(len(chunk))
    return found


def spread(dots: Floats, between: Floats, wanted: int) -> npt.NDArray[np.int64]:
    """Choose for each row of `dots` (N, C), unit vectors . unit centroids; `between` (C, C): centroids . centroids."""
    pool = min(POOL, dots.shape[1])
    near = np.argpartition(-dots, pool - 1, axis=1)[:, :pool]
    likeness = np.take_along_axis(dots, near, axis=1)
    distance = 2 - 2 * likeness
    every = np.arange(len(dots))
    taken = np.argmax(likeness, axis=1)
    chosen = np.empty((len(dots), wanted), np.int64)
    parallel = np.zeros_like(likeness)
    free = np.zeros_like(likeness)
    for turn in range(wanted):
        chosen[:, turn] = near[every, taken]
        free[every, taken] = np.inf
        own = likeness[every, taken][:, None]
        along = 1 - likeness - own + between[near, chosen[:, turn, None]]
        parallel = np.maximum(parallel, along**2 / np.maximum(2 - 2 * own, 1e-6))
        taken = np.argmin(distance + SPREAD * parallel + free, axis=1)
    return chosen
