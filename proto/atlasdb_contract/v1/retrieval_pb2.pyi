from atlasdb_contract.v1 import knowledge_pb2 as _knowledge_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class WalkEnd(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    WALK_END_ALL: _ClassVar[WalkEnd]
    WALK_END_DEPTH: _ClassVar[WalkEnd]
    WALK_END_BEAM: _ClassVar[WalkEnd]

class Fate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    FATE_ABSENT: _ClassVar[Fate]
    FATE_DELETED: _ClassVar[Fate]
    FATE_PASSED: _ClassVar[Fate]
    FATE_FAINT: _ClassVar[Fate]
    FATE_BEATEN: _ClassVar[Fate]
    FATE_CHOSEN: _ClassVar[Fate]

class NodeFate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    NODE_FATE_UNMET: _ClassVar[NodeFate]
    NODE_FATE_MET: _ClassVar[NodeFate]
    NODE_FATE_COMPARED: _ClassVar[NodeFate]
    NODE_FATE_OPENED: _ClassVar[NodeFate]
WALK_END_ALL: WalkEnd
WALK_END_DEPTH: WalkEnd
WALK_END_BEAM: WalkEnd
FATE_ABSENT: Fate
FATE_DELETED: Fate
FATE_PASSED: Fate
FATE_FAINT: Fate
FATE_BEATEN: Fate
FATE_CHOSEN: Fate
NODE_FATE_UNMET: NodeFate
NODE_FATE_MET: NodeFate
NODE_FATE_COMPARED: NodeFate
NODE_FATE_OPENED: NodeFate

class FetchRequest(_message.Message):
    __slots__ = ("sequence", "collection", "rows", "k", "beams", "exact", "explain", "about", "about_triples")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    BEAMS_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    EXPLAIN_FIELD_NUMBER: _ClassVar[int]
    ABOUT_FIELD_NUMBER: _ClassVar[int]
    ABOUT_TRIPLES_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    collection: str
    rows: _knowledge_pb2.Vectors
    k: int
    beams: Beams
    exact: bool
    explain: bool
    about: _containers.RepeatedScalarFieldContainer[int]
    about_triples: _containers.RepeatedCompositeFieldContainer[_knowledge_pb2.Triple]
    def __init__(self, sequence: _Optional[int] = ..., collection: _Optional[str] = ..., rows: _Optional[_Union[_knowledge_pb2.Vectors, _Mapping]] = ..., k: _Optional[int] = ..., beams: _Optional[_Union[Beams, _Mapping]] = ..., exact: _Optional[bool] = ..., explain: _Optional[bool] = ..., about: _Optional[_Iterable[int]] = ..., about_triples: _Optional[_Iterable[_Union[_knowledge_pb2.Triple, _Mapping]]] = ...) -> None: ...

class Beams(_message.Message):
    __slots__ = ("root", "inter")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    INTER_FIELD_NUMBER: _ClassVar[int]
    root: int
    inter: int
    def __init__(self, root: _Optional[int] = ..., inter: _Optional[int] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("sequence", "generation", "ids", "keys", "values", "scores", "cost", "explanation")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    EXPLANATION_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    generation: int
    ids: bytes
    keys: _knowledge_pb2.Vectors
    values: _knowledge_pb2.Vectors
    scores: bytes
    cost: FetchCost
    explanation: Explanation
    def __init__(self, sequence: _Optional[int] = ..., generation: _Optional[int] = ..., ids: _Optional[bytes] = ..., keys: _Optional[_Union[_knowledge_pb2.Vectors, _Mapping]] = ..., values: _Optional[_Union[_knowledge_pb2.Vectors, _Mapping]] = ..., scores: _Optional[bytes] = ..., cost: _Optional[_Union[FetchCost, _Mapping]] = ..., explanation: _Optional[_Union[Explanation, _Mapping]] = ...) -> None: ...

class FetchCost(_message.Message):
    __slots__ = ("root_scored", "inter_scored", "postings_read", "entries_scored", "bytes_read", "microseconds", "entries_out")
    ROOT_SCORED_FIELD_NUMBER: _ClassVar[int]
    INTER_SCORED_FIELD_NUMBER: _ClassVar[int]
    POSTINGS_READ_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_SCORED_FIELD_NUMBER: _ClassVar[int]
    BYTES_READ_FIELD_NUMBER: _ClassVar[int]
    MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_OUT_FIELD_NUMBER: _ClassVar[int]
    root_scored: int
    inter_scored: int
    postings_read: int
    entries_scored: int
    bytes_read: int
    microseconds: int
    entries_out: int
    def __init__(self, root_scored: _Optional[int] = ..., inter_scored: _Optional[int] = ..., postings_read: _Optional[int] = ..., entries_scored: _Optional[int] = ..., bytes_read: _Optional[int] = ..., microseconds: _Optional[int] = ..., entries_out: _Optional[int] = ...) -> None: ...

class Explanation(_message.Message):
    __slots__ = ("trees", "delta_slots", "candidates", "stages", "verdicts")
    TREES_FIELD_NUMBER: _ClassVar[int]
    DELTA_SLOTS_FIELD_NUMBER: _ClassVar[int]
    CANDIDATES_FIELD_NUMBER: _ClassVar[int]
    STAGES_FIELD_NUMBER: _ClassVar[int]
    VERDICTS_FIELD_NUMBER: _ClassVar[int]
    trees: _containers.RepeatedCompositeFieldContainer[TreeExplanation]
    delta_slots: int
    candidates: int
    stages: _containers.RepeatedCompositeFieldContainer[Stage]
    verdicts: _containers.RepeatedCompositeFieldContainer[Verdict]
    def __init__(self, trees: _Optional[_Iterable[_Union[TreeExplanation, _Mapping]]] = ..., delta_slots: _Optional[int] = ..., candidates: _Optional[int] = ..., stages: _Optional[_Iterable[_Union[Stage, _Mapping]]] = ..., verdicts: _Optional[_Iterable[_Union[Verdict, _Mapping]]] = ...) -> None: ...

class Stage(_message.Message):
    __slots__ = ("name", "microseconds")
    NAME_FIELD_NUMBER: _ClassVar[int]
    MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    name: str
    microseconds: int
    def __init__(self, name: _Optional[str] = ..., microseconds: _Optional[int] = ...) -> None: ...

class TreeExplanation(_message.Message):
    __slots__ = ("generation", "roots", "nodes", "walks", "parents", "slots", "entries")
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROOTS_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
    WALKS_FIELD_NUMBER: _ClassVar[int]
    PARENTS_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    generation: int
    roots: int
    nodes: int
    walks: _containers.RepeatedCompositeFieldContainer[Walk]
    parents: int
    slots: int
    entries: int
    def __init__(self, generation: _Optional[int] = ..., roots: _Optional[int] = ..., nodes: _Optional[int] = ..., walks: _Optional[_Iterable[_Union[Walk, _Mapping]]] = ..., parents: _Optional[int] = ..., slots: _Optional[int] = ..., entries: _Optional[int] = ...) -> None: ...

class Walk(_message.Message):
    __slots__ = ("rows", "beam", "best_root", "last_root", "looked", "gates", "met", "compared", "opened", "best", "bar", "offered", "slot_bar", "end", "nodes")
    ROWS_FIELD_NUMBER: _ClassVar[int]
    BEAM_FIELD_NUMBER: _ClassVar[int]
    BEST_ROOT_FIELD_NUMBER: _ClassVar[int]
    LAST_ROOT_FIELD_NUMBER: _ClassVar[int]
    LOOKED_FIELD_NUMBER: _ClassVar[int]
    GATES_FIELD_NUMBER: _ClassVar[int]
    MET_FIELD_NUMBER: _ClassVar[int]
    COMPARED_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    BEST_FIELD_NUMBER: _ClassVar[int]
    BAR_FIELD_NUMBER: _ClassVar[int]
    OFFERED_FIELD_NUMBER: _ClassVar[int]
    SLOT_BAR_FIELD_NUMBER: _ClassVar[int]
    END_FIELD_NUMBER: _ClassVar[int]
    NODES_FIELD_NUMBER: _ClassVar[int]
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
    bar: float
    offered: int
    slot_bar: float
    end: WalkEnd
    nodes: _containers.RepeatedCompositeFieldContainer[MetNode]
    def __init__(self, rows: _Optional[int] = ..., beam: _Optional[int] = ..., best_root: _Optional[float] = ..., last_root: _Optional[float] = ..., looked: _Optional[int] = ..., gates: _Optional[int] = ..., met: _Optional[int] = ..., compared: _Optional[int] = ..., opened: _Optional[int] = ..., best: _Optional[float] = ..., bar: _Optional[float] = ..., offered: _Optional[int] = ..., slot_bar: _Optional[float] = ..., end: _Optional[_Union[WalkEnd, str]] = ..., nodes: _Optional[_Iterable[_Union[MetNode, _Mapping]]] = ...) -> None: ...

class MetNode(_message.Message):
    __slots__ = ("node", "logit", "opened", "slots", "entry")
    NODE_FIELD_NUMBER: _ClassVar[int]
    LOGIT_FIELD_NUMBER: _ClassVar[int]
    OPENED_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    node: int
    logit: float
    opened: bool
    slots: int
    entry: int
    def __init__(self, node: _Optional[int] = ..., logit: _Optional[float] = ..., opened: _Optional[bool] = ..., slots: _Optional[int] = ..., entry: _Optional[int] = ...) -> None: ...

class Verdict(_message.Message):
    __slots__ = ("entry", "fate", "generation", "node", "rank", "score", "logits", "sightings")
    ENTRY_FIELD_NUMBER: _ClassVar[int]
    FATE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    RANK_FIELD_NUMBER: _ClassVar[int]
    SCORE_FIELD_NUMBER: _ClassVar[int]
    LOGITS_FIELD_NUMBER: _ClassVar[int]
    SIGHTINGS_FIELD_NUMBER: _ClassVar[int]
    entry: int
    fate: Fate
    generation: int
    node: int
    rank: int
    score: float
    logits: _containers.RepeatedScalarFieldContainer[float]
    sightings: _containers.RepeatedCompositeFieldContainer[Sighting]
    def __init__(self, entry: _Optional[int] = ..., fate: _Optional[_Union[Fate, str]] = ..., generation: _Optional[int] = ..., node: _Optional[int] = ..., rank: _Optional[int] = ..., score: _Optional[float] = ..., logits: _Optional[_Iterable[float]] = ..., sightings: _Optional[_Iterable[_Union[Sighting, _Mapping]]] = ...) -> None: ...

class Sighting(_message.Message):
    __slots__ = ("fate", "logit", "estimate", "bar", "expected", "slot_bar", "link")
    FATE_FIELD_NUMBER: _ClassVar[int]
    LOGIT_FIELD_NUMBER: _ClassVar[int]
    ESTIMATE_FIELD_NUMBER: _ClassVar[int]
    BAR_FIELD_NUMBER: _ClassVar[int]
    EXPECTED_FIELD_NUMBER: _ClassVar[int]
    SLOT_BAR_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    fate: NodeFate
    logit: float
    estimate: float
    bar: float
    expected: float
    slot_bar: float
    link: MetNode
    def __init__(self, fate: _Optional[_Union[NodeFate, str]] = ..., logit: _Optional[float] = ..., estimate: _Optional[float] = ..., bar: _Optional[float] = ..., expected: _Optional[float] = ..., slot_bar: _Optional[float] = ..., link: _Optional[_Union[MetNode, _Mapping]] = ...) -> None: ...
