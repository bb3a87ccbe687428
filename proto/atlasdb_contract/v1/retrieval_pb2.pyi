from atlasdb_contract.v1 import knowledge_pb2 as _knowledge_pb2
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class FetchRequest(_message.Message):
    __slots__ = ("sequence", "collection", "rows", "k", "beams", "exact")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    ROWS_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    BEAMS_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    collection: str
    rows: _knowledge_pb2.Vectors
    k: int
    beams: Beams
    exact: bool
    def __init__(self, sequence: _Optional[int] = ..., collection: _Optional[str] = ..., rows: _Optional[_Union[_knowledge_pb2.Vectors, _Mapping]] = ..., k: _Optional[int] = ..., beams: _Optional[_Union[Beams, _Mapping]] = ..., exact: _Optional[bool] = ...) -> None: ...

class Beams(_message.Message):
    __slots__ = ("root", "inter")
    ROOT_FIELD_NUMBER: _ClassVar[int]
    INTER_FIELD_NUMBER: _ClassVar[int]
    root: int
    inter: int
    def __init__(self, root: _Optional[int] = ..., inter: _Optional[int] = ...) -> None: ...

class Block(_message.Message):
    __slots__ = ("sequence", "generation", "ids", "keys", "values", "scores", "cost")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    SCORES_FIELD_NUMBER: _ClassVar[int]
    COST_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    generation: int
    ids: bytes
    keys: _knowledge_pb2.Vectors
    values: _knowledge_pb2.Vectors
    scores: bytes
    cost: FetchCost
    def __init__(self, sequence: _Optional[int] = ..., generation: _Optional[int] = ..., ids: _Optional[bytes] = ..., keys: _Optional[_Union[_knowledge_pb2.Vectors, _Mapping]] = ..., values: _Optional[_Union[_knowledge_pb2.Vectors, _Mapping]] = ..., scores: _Optional[bytes] = ..., cost: _Optional[_Union[FetchCost, _Mapping]] = ...) -> None: ...

class FetchCost(_message.Message):
    __slots__ = ("root_scored", "inter_scored", "postings_read", "entries_scored", "bytes_read", "microseconds")
    ROOT_SCORED_FIELD_NUMBER: _ClassVar[int]
    INTER_SCORED_FIELD_NUMBER: _ClassVar[int]
    POSTINGS_READ_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_SCORED_FIELD_NUMBER: _ClassVar[int]
    BYTES_READ_FIELD_NUMBER: _ClassVar[int]
    MICROSECONDS_FIELD_NUMBER: _ClassVar[int]
    root_scored: int
    inter_scored: int
    postings_read: int
    entries_scored: int
    bytes_read: int
    microseconds: int
    def __init__(self, root_scored: _Optional[int] = ..., inter_scored: _Optional[int] = ..., postings_read: _Optional[int] = ..., entries_scored: _Optional[int] = ..., bytes_read: _Optional[int] = ..., microseconds: _Optional[int] = ...) -> None: ...
