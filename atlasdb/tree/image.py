"""The nodes of one tree, in memory.

    ROOT    centroids of guides; each ROOT lists guides (`guides.links`), and a guide stands under several ROOTs
      |
    guide   the centroid of one head's keys; it points at the INTER node that holds them (`guides.parents`)
      |
    INTER   a few heads whose entries stand together; its posting is the unit that is read
      |
    LEAF    the entry keys, in postings: not here

NodeId is an INTER node's position, 0 .. B: `inter` node b has the posting b. The last INTER node is that of the
newcomers: entries that came after the build and read like no guide. It has no guide; every descent reads it; its
centroid is the mean of all keys that the tree was built from.
ROOTs and guides hold what a row is compared with (`whiten`), not plain means.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Vectors

U32s = npt.NDArray[np.uint32]

NOBODY = 0xFFFFFFFF
"""Pads `links` of nodes that have fewer."""


@dataclass(frozen=True, slots=True)
class Nodes:
    """N nodes of one level, as columns: what the store keeps a record of each.

    `vectors` int8 (N, D) with scales; `counts` uint32 (N,) entries below each node; `parents` uint32 (N,);
    `links` uint32 (N, L), L >= 0, padded with NOBODY.
    """

    vectors: Vectors
    counts: U32s
    parents: U32s
    links: U32s

    def __len__(self) -> int:
        return len(self.vectors)

    def __post_init__(self) -> None:
        n = len(self.vectors)
        shapes = (self.counts.shape, self.parents.shape, self.links.shape[:1], self.links.ndim)
        if shapes != ((n,), (n,), (n,), 2):
            raise DataLoss(f"{n} nodes have counts, parents and links of the shapes {shapes[:2]} {self.links.shape}")

    @staticmethod
    def zeros(count: int, dimension: int) -> "Nodes":
        """Nodes of nothing."""
        vectors = Vectors(np.zeros((count, dimension), np.int8), np.ones(count, np.float32))
        none = np.zeros(count, np.uint32)
        return Nodes(vectors, none, none, np.zeros((count, 0), np.uint32))

    @staticmethod
    def none(dimension: int) -> "Nodes":
        """No node."""
        return Nodes.zeros(0, dimension)


@dataclass(frozen=True, slots=True)
class TreePlan:
    """What a build found, before anything is written.

    `roots`: parents 0, no links. `inter`: parents are the ROOT that each is nearest to, nondecreasing; no links.
    `guides`: parents are INTER nodes, nondecreasing; links are the ROOTs that list the guide, the nearest first.
    `node_of` uint32 (M,): each entry's INTER node.
    """

    roots: Nodes
    inter: Nodes
    guides: Nodes
    node_of: U32s


@dataclass(frozen=True, slots=True)
class TreeImage:
    """An immutable tree in memory, shared by all fetches of one generation."""

    generation: Generation
    roots: Nodes
    inter: Nodes
    guides: Nodes
    starts: npt.NDArray[np.int64]
    """(ROOTs + 1,): ROOT a lists the guides `listed[starts[a]:starts[a + 1]]`."""
    listed: U32s

    @staticmethod
    def of(generation: Generation, roots: Nodes, inter: Nodes, guides: Nodes) -> "TreeImage":
        """From the nodes as stored or planned."""
        real = guides.links != NOBODY
        owner = guides.links[real].astype(np.int64)
        guide = np.repeat(np.arange(len(guides), dtype=np.uint32), real.sum(axis=1))
        order = np.argsort(owner, kind="stable")
        starts = np.zeros(len(roots) + 1, np.int64)
        np.cumsum(np.bincount(owner, minlength=len(roots)), out=starts[1:])
        return TreeImage(generation, roots, inter, guides, starts, guide[order])

    @staticmethod
    def flat(dimension: int) -> "TreeImage":
        """Generation 0: nobody but newcomers, in INTER node 0. A descent is an exact scan."""
        bare = Nodes.zeros(1, dimension)
        return TreeImage.of(Generation(0), bare, bare, Nodes.zeros(0, dimension))

    @property
    def newcomers(self) -> int:
        """The INTER node of entries that read like no guide."""
        return len(self.inter) - 1

    @property
    def dimension(self) -> int:
        """D."""
        return self.inter.vectors.dimension
