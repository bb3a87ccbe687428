"""The nouns as values (docs/design.md, "Nouns"). All are immutable; arrays are not to be written to."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.ids import EntryId, Generation

Int8s = npt.NDArray[np.int8]
Floats = npt.NDArray[np.float32]
Ids = npt.NDArray[np.uint64]

NO_ENCODER = "none"
"""The encoder of a collection whose every insert brings its vectors."""


@dataclass(frozen=True, slots=True)
class Triple:
    """A fact as given. Identity is (head, relation, tail); source and metadata travel along."""

    head: str
    relation: str
    tail: str
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("head", "relation", "tail"):
            if not getattr(self, name).strip():
                raise InvalidArgument(f"the {name} is empty; a triple needs a head, a relation and a tail")

    @property
    def identity(self) -> tuple[str, str, str]:
        """What makes two triples the same fact."""
        return (self.head, self.relation, self.tail)


@dataclass(frozen=True, slots=True)
class Vectors:
    """N quantised vectors: vector i is `data[i] * scales[i]`.

    `data` is int8 (N, D), C-contiguous; `scales` is float32 (N,).
    """

    data: Int8s
    scales: Floats

    def __post_init__(self) -> None:
        if self.data.ndim != 2 or self.data.dtype != np.int8:
            raise InvalidArgument(f"vectors are int8 of shape (N, D), not {self.data.dtype} {self.data.shape}")
        if self.scales.shape != (len(self.data),) or self.scales.dtype != np.float32:
            raise InvalidArgument(f"{len(self.data)} vectors need as many float32 scales, not {self.scales.shape}")

    def __len__(self) -> int:
        return len(self.data)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.data.shape[1])

    def floats(self) -> Floats:
        """The vectors themselves: float32 (N, D), a copy."""
        return np.multiply(self.data, self.scales[:, None], dtype=np.float32)

    def take(self, positions: Any) -> "Vectors":
        """The vectors at `positions` (indices, a mask or a slice)."""
        return Vectors(np.ascontiguousarray(self.data[positions]), np.ascontiguousarray(self.scales[positions]))


@dataclass(frozen=True, slots=True)
class Entry:
    """One stored fact. Vectors are there when they were asked for: int8 (1, D) each."""

    id: EntryId
    triple: Triple
    inverse: bool = False
    key_text: str = ""
    value_text: str = ""
    key: Vectors | None = None
    value: Vectors | None = None


@dataclass(frozen=True, slots=True)
class CollectionConfig:
    """What a collection is made with; fixed for its life."""

    encoder: str = "all-MiniLM-L6-v2"
    dimension: int = 0
    """0: the encoder's own."""
    phrases: Mapping[str, str] = field(default_factory=dict)
    """relation -> noun phrase, before the rules of KG2KV."""
    inverse: Literal["none", "all"] | frozenset[str] = "none"
    """Which relations get a second entry that points back."""


@dataclass(frozen=True, slots=True)
class Quota:
    """The most that a collection may hold; 0: no limit."""

    entries: int = 0
    bytes: int = 0
    """Of the pages of its tables."""

    def __post_init__(self) -> None:
        for name in ("entries", "bytes"):
            if not 0 <= getattr(self, name) < 1 << 63:
                raise InvalidArgument(f"a quota of {getattr(self, name)} {name} is out of range; 0 is no limit")


UNLIMITED = Quota()


@dataclass(frozen=True, slots=True)
class Collection:
    """A named set of entries."""

    name: str
    config: CollectionConfig
    entries: int
    generation: Generation
    created: float
    quota: Quota = field(default_factory=Quota)


@dataclass(frozen=True, slots=True)
class Refusal:
    """A triple of an insert that was not taken, and why."""

    position: int
    reason: str


@dataclass(frozen=True, slots=True)
class InsertAck:
    """Durable when received. `ids[i]` is triple i's entry, 0 for a refused one."""

    sequence: int
    ids: tuple[EntryId, ...]
    created: int
    existing: int
    refused: tuple[Refusal, ...] = ()
    memory: int = 0
    """Bytes of the server's anonymous memory, where it tells."""


@dataclass(frozen=True, slots=True)
class Beams:
    """ROOTs whose nodes are looked at, and most INTER nodes that a walk opens (docs/design.md (4)); 0 is the store's
    default."""

    root: int = 0
    inter: int = 0


@dataclass(frozen=True, slots=True)
class FetchCost:
    """What one descent cost: ROOTs compared, INTER nodes looked at (by their code or their vector), nodes of which
    slots were compared, these slots, bytes read for all that, time in the store."""

    root_scored: int = 0
    inter_scored: int = 0
    postings_read: int = 0
    entries_scored: int = 0
    bytes_read: int = 0
    microseconds: int = 0
    entries_out: int = 0
    """Left out, as what holds them is damaged."""


@dataclass(frozen=True, slots=True)
class Block:
    """The k entries chosen by one Fetch, best first. `ids` is u64 (k,), `scores` float32 (k,)."""

    ids: Ids
    keys: Vectors
    values: Vectors
    scores: Floats
    generation: Generation
    cost: FetchCost
    sequence: int = 0
    explanation: "Explanation | None" = None
    """Where it was asked for."""


@dataclass(frozen=True, slots=True)
class Hit:
    """One answer of a search: cosine of the text's vector and the entry's key."""

    entry: Entry
    cosine: float


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a long task is. `total` 0: not known yet."""

    stage: str
    done: int
    total: int
    generation: Generation = Generation(0)
    damage: tuple[str, ...] = ()
    memory: int = 0
    """Bytes of the server's anonymous memory, where it tells."""
    cursor: bytes = b""
    """Of a verification: where to go on, should it be cut off."""


# How a fetch came to its Block. Logits are those of a walk's row: the mean of rows that are alike.


@dataclass(frozen=True, slots=True)
class About:
    """Entries that an explanation is to speak of, named by id and by triple."""

    ids: tuple[int, ...] = ()
    triples: tuple[Triple, ...] = ()


class WalkEnd(Enum):
    """Why a walk opened no further node."""

    ALL = "every node that was met is open"
    DEPTH = "no node is left that is near enough to the best"
    BEAM = "as many nodes are open as may be"


class NodeFate(Enum):
    """What a walk did with an INTER node."""

    UNMET = "no opened node links to it"
    MET = "it was told by its code alone"
    COMPARED = "it was compared, and its links were not followed"
    OPENED = "its links were followed"


class Fate(Enum):
    """What a fetch did with an entry."""

    ABSENT = "it is not in the collection"
    DELETED = "it was deleted"
    PASSED = "its slot was not compared"
    FAINT = "it is in the delta, and nothing beside the rest"
    BEATEN = "it was compared, and others are better"
    CHOSEN = "it is in the block"


@dataclass(frozen=True, slots=True)
class MetNode:
    """An INTER node that a walk met: its number in the tree, its logit, how many slots it has, and one of its entries
    that are there (0: none is)."""

    node: int
    logit: float
    opened: bool
    slots: int
    entry: EntryId


@dataclass(frozen=True, slots=True)
class Walk:
    """One walk over a tree, for `rows` rows that are alike.

    It entered by `gates` INTER nodes: the best, by their codes, of the `looked` ones of the `beam` ROOTs that are best,
    with logits from `best_root` down to `last_root`. Of the `met` nodes, `compared` were compared with the row and
    `opened` of these opened: their links were followed. `nodes` are the few best. Of the slots of all that were met,
    `offered` were considered, by what their residuals say, and compared from `slot_bar` on.
    """

    rows: int
    beam: int
    best_root: float
    last_root: float
    looked: int
    gates: int
    met: int
    compared: int
    opened: int
    best: float
    """Logit of the best node."""
    bar: float
    """The logit that a node has to have to be opened; -inf: any."""
    offered: int
    slot_bar: float
    """The expected logit that a slot has to have to be compared; -inf: any."""
    end: WalkEnd
    nodes: tuple[MetNode, ...] = ()


@dataclass(frozen=True, slots=True)
class TreeExplanation:
    """What a descent did in one tree of `roots` ROOTs and `nodes` INTER nodes: its walks, and the slots that were
    compared, of `parents` nodes, with how many entries those have."""

    generation: Generation
    roots: int
    nodes: int
    walks: tuple[Walk, ...]
    parents: int
    slots: int
    entries: int


@dataclass(frozen=True, slots=True)
class Sighting:
    """An entry's node in one walk, and its slot. `estimate` is the node's logit as its code tells it. The slot is
    `expected` to have what the node has and its residual adds, and was compared if that is above `slot_bar`."""

    fate: NodeFate
    logit: float
    estimate: float
    bar: float
    expected: float
    slot_bar: float
    link: MetNode | None = None
    """Of a node that was not met: the best that was met and links to it."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """Why an entry is in the block, or not.

    `generation` is its tree's, 0 that of the delta; `node` the INTER node there, `sightings` what walks did with it:
    those that met it or came nearest to it, 8 at most.
    `rank` counts from 1 among all candidates, 0: it is none. `score` is what it has, or would have as one more
    candidate. `logits`: with each row.
    """

    entry: EntryId
    fate: Fate
    generation: Generation = Generation(0)
    node: int = 0
    rank: int = 0
    score: float = 0.0
    logits: tuple[float, ...] = ()
    sightings: tuple[Sighting, ...] = ()


@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a fetch, and its time."""

    name: str
    microseconds: int


@dataclass(frozen=True, slots=True)
class Explanation:
    """How a fetch came to its Block: its trees, the slots of the delta that were compared, the entries that the block
    was chosen from, the time by stages, and what became of the entries asked about (those by id, then by triple)."""

    trees: tuple[TreeExplanation, ...]
    delta_slots: int
    candidates: int
    stages: tuple[Stage, ...]
    verdicts: tuple[Verdict, ...] = ()
