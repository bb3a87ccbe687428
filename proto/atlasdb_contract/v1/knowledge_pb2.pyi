from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Inverse(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    INVERSE_NONE: _ClassVar[Inverse]
    INVERSE_ALL: _ClassVar[Inverse]
    INVERSE_LISTED: _ClassVar[Inverse]
INVERSE_NONE: Inverse
INVERSE_ALL: Inverse
INVERSE_LISTED: Inverse

class Triple(_message.Message):
    __slots__ = ("head", "relation", "tail", "source", "metadata")
    class MetadataEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    HEAD_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    TAIL_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    METADATA_FIELD_NUMBER: _ClassVar[int]
    head: str
    relation: str
    tail: str
    source: str
    metadata: _containers.ScalarMap[str, str]
    def __init__(self, head: _Optional[str] = ..., relation: _Optional[str] = ..., tail: _Optional[str] = ..., source: _Optional[str] = ..., metadata: _Optional[_Mapping[str, str]] = ...) -> None: ...

class Vectors(_message.Message):
    __slots__ = ("dimension", "data", "scales")
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    DATA_FIELD_NUMBER: _ClassVar[int]
    SCALES_FIELD_NUMBER: _ClassVar[int]
    dimension: int
    data: bytes
    scales: bytes
    def __init__(self, dimension: _Optional[int] = ..., data: _Optional[bytes] = ..., scales: _Optional[bytes] = ...) -> None: ...

class CollectionConfig(_message.Message):
    __slots__ = ("encoder", "dimension", "phrases", "inverse", "inverse_relations")
    class PhrasesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    PHRASES_FIELD_NUMBER: _ClassVar[int]
    INVERSE_FIELD_NUMBER: _ClassVar[int]
    INVERSE_RELATIONS_FIELD_NUMBER: _ClassVar[int]
    encoder: str
    dimension: int
    phrases: _containers.ScalarMap[str, str]
    inverse: Inverse
    inverse_relations: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, encoder: _Optional[str] = ..., dimension: _Optional[int] = ..., phrases: _Optional[_Mapping[str, str]] = ..., inverse: _Optional[_Union[Inverse, str]] = ..., inverse_relations: _Optional[_Iterable[str]] = ...) -> None: ...

class Quota(_message.Message):
    __slots__ = ("entries", "bytes")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    entries: int
    bytes: int
    def __init__(self, entries: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class Collection(_message.Message):
    __slots__ = ("name", "config", "entries", "generation", "created", "quota")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    name: str
    config: CollectionConfig
    entries: int
    generation: int
    created: float
    quota: Quota
    def __init__(self, name: _Optional[str] = ..., config: _Optional[_Union[CollectionConfig, _Mapping]] = ..., entries: _Optional[int] = ..., generation: _Optional[int] = ..., created: _Optional[float] = ..., quota: _Optional[_Union[Quota, _Mapping]] = ...) -> None: ...

class CreateCollectionRequest(_message.Message):
    __slots__ = ("name", "config", "if_missing", "quota")
    NAME_FIELD_NUMBER: _ClassVar[int]
    CONFIG_FIELD_NUMBER: _ClassVar[int]
    IF_MISSING_FIELD_NUMBER: _ClassVar[int]
    QUOTA_FIELD_NUMBER: _ClassVar[int]
    name: str
    config: CollectionConfig
    if_missing: bool
    quota: Quota
    def __init__(self, name: _Optional[str] = ..., config: _Optional[_Union[CollectionConfig, _Mapping]] = ..., if_missing: _Optional[bool] = ..., quota: _Optional[_Union[Quota, _Mapping]] = ...) -> None: ...

class ListCollectionsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListCollectionsReply(_message.Message):
    __slots__ = ("collections",)
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[Collection]
    def __init__(self, collections: _Optional[_Iterable[_Union[Collection, _Mapping]]] = ...) -> None: ...

class DropCollectionRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DropCollectionReply(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: int
    def __init__(self, entries: _Optional[int] = ...) -> None: ...

class SetQuotaRequest(_message.Message):
    __slots__ = ("name", "entries", "bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    entries: int
    bytes: int
    def __init__(self, name: _Optional[str] = ..., entries: _Optional[int] = ..., bytes: _Optional[int] = ...) -> None: ...

class InsertRequest(_message.Message):
    __slots__ = ("collection", "sequence", "triples", "keys", "values", "columns")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    TRIPLES_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    sequence: int
    triples: _containers.RepeatedCompositeFieldContainer[Triple]
    keys: Vectors
    values: Vectors
    columns: TripleColumns
    def __init__(self, collection: _Optional[str] = ..., sequence: _Optional[int] = ..., triples: _Optional[_Iterable[_Union[Triple, _Mapping]]] = ..., keys: _Optional[_Union[Vectors, _Mapping]] = ..., values: _Optional[_Union[Vectors, _Mapping]] = ..., columns: _Optional[_Union[TripleColumns, _Mapping]] = ...) -> None: ...

class TripleColumns(_message.Message):
    __slots__ = ("text", "lengths")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    LENGTHS_FIELD_NUMBER: _ClassVar[int]
    text: bytes
    lengths: bytes
    def __init__(self, text: _Optional[bytes] = ..., lengths: _Optional[bytes] = ...) -> None: ...

class TripleError(_message.Message):
    __slots__ = ("position", "reason")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    position: int
    reason: str
    def __init__(self, position: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...

class InsertAck(_message.Message):
    __slots__ = ("sequence", "ids", "created", "existing", "refused", "memory_bytes")
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    EXISTING_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    sequence: int
    ids: _containers.RepeatedScalarFieldContainer[int]
    created: int
    existing: int
    refused: _containers.RepeatedCompositeFieldContainer[TripleError]
    memory_bytes: int
    def __init__(self, sequence: _Optional[int] = ..., ids: _Optional[_Iterable[int]] = ..., created: _Optional[int] = ..., existing: _Optional[int] = ..., refused: _Optional[_Iterable[_Union[TripleError, _Mapping]]] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class DeleteRequest(_message.Message):
    __slots__ = ("collection", "ids", "triples")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    TRIPLES_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[int]
    triples: _containers.RepeatedCompositeFieldContainer[Triple]
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[int]] = ..., triples: _Optional[_Iterable[_Union[Triple, _Mapping]]] = ...) -> None: ...

class DeleteReply(_message.Message):
    __slots__ = ("deleted", "missing")
    DELETED_FIELD_NUMBER: _ClassVar[int]
    MISSING_FIELD_NUMBER: _ClassVar[int]
    deleted: int
    missing: int
    def __init__(self, deleted: _Optional[int] = ..., missing: _Optional[int] = ...) -> None: ...

class Entry(_message.Message):
    __slots__ = ("id", "triple", "inverse", "key_text", "value_text")
    ID_FIELD_NUMBER: _ClassVar[int]
    TRIPLE_FIELD_NUMBER: _ClassVar[int]
    INVERSE_FIELD_NUMBER: _ClassVar[int]
    KEY_TEXT_FIELD_NUMBER: _ClassVar[int]
    VALUE_TEXT_FIELD_NUMBER: _ClassVar[int]
    id: int
    triple: Triple
    inverse: bool
    key_text: str
    value_text: str
    def __init__(self, id: _Optional[int] = ..., triple: _Optional[_Union[Triple, _Mapping]] = ..., inverse: _Optional[bool] = ..., key_text: _Optional[str] = ..., value_text: _Optional[str] = ...) -> None: ...

class EntryFields(_message.Message):
    __slots__ = ("texts", "keys", "values")
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    texts: bool
    keys: bool
    values: bool
    def __init__(self, texts: _Optional[bool] = ..., keys: _Optional[bool] = ..., values: _Optional[bool] = ...) -> None: ...

class GetRequest(_message.Message):
    __slots__ = ("collection", "ids", "fields")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    IDS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    ids: _containers.RepeatedScalarFieldContainer[int]
    fields: EntryFields
    def __init__(self, collection: _Optional[str] = ..., ids: _Optional[_Iterable[int]] = ..., fields: _Optional[_Union[EntryFields, _Mapping]] = ...) -> None: ...

class GetReply(_message.Message):
    __slots__ = ("entries", "keys", "values")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    keys: Vectors
    values: Vectors
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., keys: _Optional[_Union[Vectors, _Mapping]] = ..., values: _Optional[_Union[Vectors, _Mapping]] = ...) -> None: ...

class FindRequest(_message.Message):
    __slots__ = ("collection", "triples", "columns")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TRIPLES_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    triples: _containers.RepeatedCompositeFieldContainer[Triple]
    columns: TripleColumns
    def __init__(self, collection: _Optional[str] = ..., triples: _Optional[_Iterable[_Union[Triple, _Mapping]]] = ..., columns: _Optional[_Union[TripleColumns, _Mapping]] = ...) -> None: ...

class FindReply(_message.Message):
    __slots__ = ("ids",)
    IDS_FIELD_NUMBER: _ClassVar[int]
    ids: bytes
    def __init__(self, ids: _Optional[bytes] = ...) -> None: ...

class ScanRequest(_message.Message):
    __slots__ = ("collection", "after", "limit", "fields", "head", "relation")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    AFTER_FIELD_NUMBER: _ClassVar[int]
    LIMIT_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    HEAD_FIELD_NUMBER: _ClassVar[int]
    RELATION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    after: int
    limit: int
    fields: EntryFields
    head: str
    relation: str
    def __init__(self, collection: _Optional[str] = ..., after: _Optional[int] = ..., limit: _Optional[int] = ..., fields: _Optional[_Union[EntryFields, _Mapping]] = ..., head: _Optional[str] = ..., relation: _Optional[str] = ...) -> None: ...

class ScanChunk(_message.Message):
    __slots__ = ("entries", "keys", "values")
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    KEYS_FIELD_NUMBER: _ClassVar[int]
    VALUES_FIELD_NUMBER: _ClassVar[int]
    entries: _containers.RepeatedCompositeFieldContainer[Entry]
    keys: Vectors
    values: Vectors
    def __init__(self, entries: _Optional[_Iterable[_Union[Entry, _Mapping]]] = ..., keys: _Optional[_Union[Vectors, _Mapping]] = ..., values: _Optional[_Union[Vectors, _Mapping]] = ...) -> None: ...

class CountRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class CountReply(_message.Message):
    __slots__ = ("entries",)
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    entries: int
    def __init__(self, entries: _Optional[int] = ...) -> None: ...

class SearchRequest(_message.Message):
    __slots__ = ("collection", "text", "k", "exact")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TEXT_FIELD_NUMBER: _ClassVar[int]
    K_FIELD_NUMBER: _ClassVar[int]
    EXACT_FIELD_NUMBER: _ClassVar[int]
    collection: str
    text: str
    k: int
    exact: bool
    def __init__(self, collection: _Optional[str] = ..., text: _Optional[str] = ..., k: _Optional[int] = ..., exact: _Optional[bool] = ...) -> None: ...

class SearchReply(_message.Message):
    __slots__ = ("hits",)
    class Hit(_message.Message):
        __slots__ = ("entry", "cosine")
        ENTRY_FIELD_NUMBER: _ClassVar[int]
        COSINE_FIELD_NUMBER: _ClassVar[int]
        entry: Entry
        cosine: float
        def __init__(self, entry: _Optional[_Union[Entry, _Mapping]] = ..., cosine: _Optional[float] = ...) -> None: ...
    HITS_FIELD_NUMBER: _ClassVar[int]
    hits: _containers.RepeatedCompositeFieldContainer[SearchReply.Hit]
    def __init__(self, hits: _Optional[_Iterable[_Union[SearchReply.Hit, _Mapping]]] = ...) -> None: ...

class EncodeRequest(_message.Message):
    __slots__ = ("collection", "texts")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    collection: str
    texts: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, collection: _Optional[str] = ..., texts: _Optional[_Iterable[str]] = ...) -> None: ...
