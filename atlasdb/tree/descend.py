"""A fetch's way down the tree: ROOT -> guides -> postings -> the best k entries; design (4).

`descend` is a generator: it yields the INTER nodes whose postings it needs and is handed them, so it knows no store.
"""

from collections.abc import Callable, Generator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb.tree.image import TreeImage, U32s
from atlasdb.tree.rank import NO_IDS, Found, Postings, PostingView, Rows, best, mass, rank
from atlasdb_contract.types import Beams, FetchCost, Ids, Vectors

__all__ = ["Descent", "Found", "PostingRequest", "PostingView", "default_inter", "descend", "drive", "scan"]

DEFAULT = Beams()

Descent = Generator["PostingRequest", list[PostingView], Found]


@dataclass(frozen=True, slots=True)
class PostingRequest:
    """Which postings to read, with their deltas: `nodes` uint32 (P,), rising. The views' order is free."""

    nodes: U32s


NARROW = 9
"""Fewest ROOTs kept by default, in parts of the third root of their number: 143 of 4,000."""
WIDE = 10
"""Most ROOTs kept by default, in parts of the square root of their number: 634 of 4,000."""
DEPTH = 1.9
"""By default the ROOTs are kept whose logit is within so many standard deviations of the best one's."""


def default_inter(image: TreeImage, k: int) -> int:
    """INTER nodes read by default: chosen by recall on 3K, 30K and 300K entries (bench/descent.py)."""
    return int(max(64, 10 * len(image.inter) ** 0.3) * max(1, k / 64) ** 0.5)


def descend(image: TreeImage, rows: Vectors, k: int, beams: Beams = DEFAULT, tombstones: Ids = NO_IDS) -> Descent:
    """The best `k` entries for rows (R, D), R >= 1, among the entries of the best INTER nodes.

    A ROOT's or guide's score is its softmax probability among those compared, summed over rows; an INTER node's is that
    of its best guide (the sum would let many poor guides stand before one good one). The newcomers' node is always read
    beside the beam. `tombstones` (sorted) are never returned. The cost's microseconds are the caller's to fill in.
    """
    packed = Rows(rows)
    roots, roots_scored = _best_roots(image, packed, beams.root)
    guides = _listed(image, roots)
    nodes = _best_nodes(image, packed, guides, beams.inter or default_inter(image, k))
    views = yield PostingRequest(nodes)
    found = rank(lambda: views, packed, k, tombstones)
    cost = FetchCost(roots_scored, len(guides), len(nodes), found.cost.entries_scored, found.cost.bytes_read)
    return Found(found.ids, found.value_ids, found.keys, found.scores, cost)


def _best_roots(image: TreeImage, rows: Rows, beam: int) -> tuple[npt.NDArray[np.int64], int]:
    """The ROOTs to look under, and how many were compared: none if all are kept.

    `beam` 0: as many as the rows need. A row that points clearly has few ROOTs near its best one; a vague one has many,
    and its entry may be under any of them, so that a fixed number is too many for the first and too few for the second.
    """
    count = len(image.roots)
    least, most = (beam, beam) if beam else (round(NARROW * count ** (1 / 3)), round(WIDE * count**0.5))
    if least >= count:
        return np.arange(count), 0
    logits = rows.logits(image.roots.vectors)
    shares = mass(logits)
    near = shares >= shares.max() * np.exp(-DEPTH * logits.std(axis=1).mean())
    return best(shares, min(max(int(near.sum()), least), most)), count


def _listed(image: TreeImage, roots: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The guides that these ROOTs list, each once, rising."""
    bounds = zip(image.starts[roots].tolist(), image.starts[roots + 1].tolist(), strict=True)
    wanted = np.zeros(len(image.guides), np.bool_)
    wanted[np.concatenate([image.listed[start:stop] for start, stop in bounds])] = True
    return np.flatnonzero(wanted)


def _best_nodes(image: TreeImage, rows: Rows, guides: npt.NDArray[np.int64], beam: int) -> U32s:
    """The INTER nodes of the best of these guides, and the newcomers: rising."""
    newcomers = np.array([image.newcomers], np.uint32)
    if not len(guides):
        return newcomers
    vectors = image.guides.vectors
    shares = mass(rows.logits(Vectors(vectors.data.take(guides, axis=0), vectors.scales.take(guides))))
    owner = image.guides.parents[guides]
    first = np.flatnonzero(np.diff(owner.astype(np.int64), prepend=-1))
    nodes = owner[first][best(np.maximum.reduceat(shares, first), beam)]
    return np.concatenate([np.sort(nodes), newcomers])


def scan(postings: Postings, rows: Vectors, k: int, tombstones: Ids = NO_IDS) -> Found:
    """The best `k` of all entries, by their softmax probability among all: what a descent is measured against.

    `postings()` gives every segment, and the same again if it is called a second time.
    """
    return rank(postings, Rows(rows), k, tombstones)


def drive(descent: Descent, read: Callable[[PostingRequest], list[PostingView]]) -> Found:
    """Run a descent, with `read` handing it the postings."""
    try:
        request = next(descent)
        while True:
            request = descent.send(read(request))
    except StopIteration as end:
        found: Found = end.value
        return found
