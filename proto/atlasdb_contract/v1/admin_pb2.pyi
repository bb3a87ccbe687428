from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class StatsRequest(_message.Message):
    __slots__ = ("collection",)
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    collection: str
    def __init__(self, collection: _Optional[str] = ...) -> None: ...

class Latency(_message.Message):
    __slots__ = ("count", "seconds", "p50_us", "p99_us")
    COUNT_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    P50_US_FIELD_NUMBER: _ClassVar[int]
    P99_US_FIELD_NUMBER: _ClassVar[int]
    count: int
    seconds: float
    p50_us: float
    p99_us: float
    def __init__(self, count: _Optional[int] = ..., seconds: _Optional[float] = ..., p50_us: _Optional[float] = ..., p99_us: _Optional[float] = ...) -> None: ...

class Recall(_message.Message):
    __slots__ = ("samples", "mass", "recall")
    SAMPLES_FIELD_NUMBER: _ClassVar[int]
    MASS_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    samples: int
    mass: float
    recall: float
    def __init__(self, samples: _Optional[int] = ..., mass: _Optional[float] = ..., recall: _Optional[float] = ...) -> None: ...

class CollectionStats(_message.Message):
    __slots__ = ("name", "encoder", "dimension", "entries", "triples", "inverse_entries", "distinct_values", "generation", "root_nodes", "inter_nodes", "delta_entries", "tombstones", "largest_posting", "table_bytes", "trees", "setsum", "damage", "entries_out", "heads", "heads_estimated", "slots", "posting_sizes", "fetches", "recall", "inserted_per_second", "max_entries", "max_bytes")
    class TableBytesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    ENCODER_FIELD_NUMBER: _ClassVar[int]
    DIMENSION_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_FIELD_NUMBER: _ClassVar[int]
    TRIPLES_FIELD_NUMBER: _ClassVar[int]
    INVERSE_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    DISTINCT_VALUES_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    ROOT_NODES_FIELD_NUMBER: _ClassVar[int]
    INTER_NODES_FIELD_NUMBER: _ClassVar[int]
    DELTA_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    TOMBSTONES_FIELD_NUMBER: _ClassVar[int]
    LARGEST_POSTING_FIELD_NUMBER: _ClassVar[int]
    TABLE_BYTES_FIELD_NUMBER: _ClassVar[int]
    TREES_FIELD_NUMBER: _ClassVar[int]
    SETSUM_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    ENTRIES_OUT_FIELD_NUMBER: _ClassVar[int]
    HEADS_FIELD_NUMBER: _ClassVar[int]
    HEADS_ESTIMATED_FIELD_NUMBER: _ClassVar[int]
    SLOTS_FIELD_NUMBER: _ClassVar[int]
    POSTING_SIZES_FIELD_NUMBER: _ClassVar[int]
    FETCHES_FIELD_NUMBER: _ClassVar[int]
    RECALL_FIELD_NUMBER: _ClassVar[int]
    INSERTED_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MAX_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    MAX_BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    encoder: str
    dimension: int
    entries: int
    triples: int
    inverse_entries: int
    distinct_values: int
    generation: int
    root_nodes: int
    inter_nodes: int
    delta_entries: int
    tombstones: int
    largest_posting: int
    table_bytes: _containers.ScalarMap[str, int]
    trees: int
    setsum: str
    damage: _containers.RepeatedScalarFieldContainer[str]
    entries_out: int
    heads: int
    heads_estimated: bool
    slots: int
    posting_sizes: _containers.RepeatedScalarFieldContainer[int]
    fetches: Latency
    recall: Recall
    inserted_per_second: float
    max_entries: int
    max_bytes: int
    def __init__(self, name: _Optional[str] = ..., encoder: _Optional[str] = ..., dimension: _Optional[int] = ..., entries: _Optional[int] = ..., triples: _Optional[int] = ..., inverse_entries: _Optional[int] = ..., distinct_values: _Optional[int] = ..., generation: _Optional[int] = ..., root_nodes: _Optional[int] = ..., inter_nodes: _Optional[int] = ..., delta_entries: _Optional[int] = ..., tombstones: _Optional[int] = ..., largest_posting: _Optional[int] = ..., table_bytes: _Optional[_Mapping[str, int]] = ..., trees: _Optional[int] = ..., setsum: _Optional[str] = ..., damage: _Optional[_Iterable[str]] = ..., entries_out: _Optional[int] = ..., heads: _Optional[int] = ..., heads_estimated: _Optional[bool] = ..., slots: _Optional[int] = ..., posting_sizes: _Optional[_Iterable[int]] = ..., fetches: _Optional[_Union[Latency, _Mapping]] = ..., recall: _Optional[_Union[Recall, _Mapping]] = ..., inserted_per_second: _Optional[float] = ..., max_entries: _Optional[int] = ..., max_bytes: _Optional[int] = ...) -> None: ...

class StatsReply(_message.Message):
    __slots__ = ("collections", "file_bytes", "map_bytes", "free_bytes", "format_version", "server_version", "uptime_seconds", "resident_bytes", "texts_encoded", "encoder_busy_seconds", "pages", "free_pages", "commits", "fetches", "inserted_per_second", "oldest_reader_seconds", "oldest_reader_commits", "processes")
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    MAP_BYTES_FIELD_NUMBER: _ClassVar[int]
    FREE_BYTES_FIELD_NUMBER: _ClassVar[int]
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    SERVER_VERSION_FIELD_NUMBER: _ClassVar[int]
    UPTIME_SECONDS_FIELD_NUMBER: _ClassVar[int]
    RESIDENT_BYTES_FIELD_NUMBER: _ClassVar[int]
    TEXTS_ENCODED_FIELD_NUMBER: _ClassVar[int]
    ENCODER_BUSY_SECONDS_FIELD_NUMBER: _ClassVar[int]
    PAGES_FIELD_NUMBER: _ClassVar[int]
    FREE_PAGES_FIELD_NUMBER: _ClassVar[int]
    COMMITS_FIELD_NUMBER: _ClassVar[int]
    FETCHES_FIELD_NUMBER: _ClassVar[int]
    INSERTED_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    OLDEST_READER_SECONDS_FIELD_NUMBER: _ClassVar[int]
    OLDEST_READER_COMMITS_FIELD_NUMBER: _ClassVar[int]
    PROCESSES_FIELD_NUMBER: _ClassVar[int]
    collections: _containers.RepeatedCompositeFieldContainer[CollectionStats]
    file_bytes: int
    map_bytes: int
    free_bytes: int
    format_version: int
    server_version: str
    uptime_seconds: float
    resident_bytes: int
    texts_encoded: int
    encoder_busy_seconds: float
    pages: int
    free_pages: int
    commits: Latency
    fetches: Latency
    inserted_per_second: float
    oldest_reader_seconds: float
    oldest_reader_commits: int
    processes: int
    def __init__(self, collections: _Optional[_Iterable[_Union[CollectionStats, _Mapping]]] = ..., file_bytes: _Optional[int] = ..., map_bytes: _Optional[int] = ..., free_bytes: _Optional[int] = ..., format_version: _Optional[int] = ..., server_version: _Optional[str] = ..., uptime_seconds: _Optional[float] = ..., resident_bytes: _Optional[int] = ..., texts_encoded: _Optional[int] = ..., encoder_busy_seconds: _Optional[float] = ..., pages: _Optional[int] = ..., free_pages: _Optional[int] = ..., commits: _Optional[_Union[Latency, _Mapping]] = ..., fetches: _Optional[_Union[Latency, _Mapping]] = ..., inserted_per_second: _Optional[float] = ..., oldest_reader_seconds: _Optional[float] = ..., oldest_reader_commits: _Optional[int] = ..., processes: _Optional[int] = ...) -> None: ...

class BuildRequest(_message.Message):
    __slots__ = ("collection", "seed")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    SEED_FIELD_NUMBER: _ClassVar[int]
    collection: str
    seed: int
    def __init__(self, collection: _Optional[str] = ..., seed: _Optional[int] = ...) -> None: ...

class Progress(_message.Message):
    __slots__ = ("stage", "done", "total", "generation", "memory_bytes")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    GENERATION_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    generation: int
    memory_bytes: int
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., generation: _Optional[int] = ..., memory_bytes: _Optional[int] = ...) -> None: ...

class VerifyRequest(_message.Message):
    __slots__ = ("collection", "bytes_per_second", "cursor")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    collection: str
    bytes_per_second: int
    cursor: bytes
    def __init__(self, collection: _Optional[str] = ..., bytes_per_second: _Optional[int] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class VerifyProgress(_message.Message):
    __slots__ = ("collection", "stage", "done", "total", "damage", "cursor")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    CURSOR_FIELD_NUMBER: _ClassVar[int]
    collection: str
    stage: str
    done: int
    total: int
    damage: _containers.RepeatedScalarFieldContainer[str]
    cursor: bytes
    def __init__(self, collection: _Optional[str] = ..., stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., damage: _Optional[_Iterable[str]] = ..., cursor: _Optional[bytes] = ...) -> None: ...

class RepairRequest(_message.Message):
    __slots__ = ("collection", "dry_run")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    collection: str
    dry_run: bool
    def __init__(self, collection: _Optional[str] = ..., dry_run: _Optional[bool] = ...) -> None: ...

class RepairProgress(_message.Message):
    __slots__ = ("collection", "stage", "done", "total", "restored", "lost")
    COLLECTION_FIELD_NUMBER: _ClassVar[int]
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    RESTORED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    collection: str
    stage: str
    done: int
    total: int
    restored: _containers.RepeatedScalarFieldContainer[str]
    lost: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, collection: _Optional[str] = ..., stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., restored: _Optional[_Iterable[str]] = ..., lost: _Optional[_Iterable[str]] = ...) -> None: ...

class CompactRequest(_message.Message):
    __slots__ = ("dry_run", "bytes_per_second", "max_seconds")
    DRY_RUN_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    MAX_SECONDS_FIELD_NUMBER: _ClassVar[int]
    dry_run: bool
    bytes_per_second: int
    max_seconds: float
    def __init__(self, dry_run: _Optional[bool] = ..., bytes_per_second: _Optional[int] = ..., max_seconds: _Optional[float] = ...) -> None: ...

class CompactProgress(_message.Message):
    __slots__ = ("stage", "done", "total", "file_bytes", "after_bytes", "disk_bytes", "memory_bytes", "seconds", "dead_entries", "dead_values", "held_seconds")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    AFTER_BYTES_FIELD_NUMBER: _ClassVar[int]
    DISK_BYTES_FIELD_NUMBER: _ClassVar[int]
    MEMORY_BYTES_FIELD_NUMBER: _ClassVar[int]
    SECONDS_FIELD_NUMBER: _ClassVar[int]
    DEAD_ENTRIES_FIELD_NUMBER: _ClassVar[int]
    DEAD_VALUES_FIELD_NUMBER: _ClassVar[int]
    HELD_SECONDS_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    file_bytes: int
    after_bytes: int
    disk_bytes: int
    memory_bytes: int
    seconds: float
    dead_entries: int
    dead_values: int
    held_seconds: float
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., file_bytes: _Optional[int] = ..., after_bytes: _Optional[int] = ..., disk_bytes: _Optional[int] = ..., memory_bytes: _Optional[int] = ..., seconds: _Optional[float] = ..., dead_entries: _Optional[int] = ..., dead_values: _Optional[int] = ..., held_seconds: _Optional[float] = ...) -> None: ...

class Snapshot(_message.Message):
    __slots__ = ("name", "created", "format_version", "file_bytes", "sha256", "collections")
    class Held(_message.Message):
        __slots__ = ("name", "entries", "setsum")
        NAME_FIELD_NUMBER: _ClassVar[int]
        ENTRIES_FIELD_NUMBER: _ClassVar[int]
        SETSUM_FIELD_NUMBER: _ClassVar[int]
        name: str
        entries: int
        setsum: str
        def __init__(self, name: _Optional[str] = ..., entries: _Optional[int] = ..., setsum: _Optional[str] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    CREATED_FIELD_NUMBER: _ClassVar[int]
    FORMAT_VERSION_FIELD_NUMBER: _ClassVar[int]
    FILE_BYTES_FIELD_NUMBER: _ClassVar[int]
    SHA256_FIELD_NUMBER: _ClassVar[int]
    COLLECTIONS_FIELD_NUMBER: _ClassVar[int]
    name: str
    created: float
    format_version: int
    file_bytes: int
    sha256: str
    collections: _containers.RepeatedCompositeFieldContainer[Snapshot.Held]
    def __init__(self, name: _Optional[str] = ..., created: _Optional[float] = ..., format_version: _Optional[int] = ..., file_bytes: _Optional[int] = ..., sha256: _Optional[str] = ..., collections: _Optional[_Iterable[_Union[Snapshot.Held, _Mapping]]] = ...) -> None: ...

class CreateSnapshotRequest(_message.Message):
    __slots__ = ("name", "bytes_per_second")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BYTES_PER_SECOND_FIELD_NUMBER: _ClassVar[int]
    name: str
    bytes_per_second: int
    def __init__(self, name: _Optional[str] = ..., bytes_per_second: _Optional[int] = ...) -> None: ...

class SnapshotProgress(_message.Message):
    __slots__ = ("stage", "done", "total", "damage", "snapshot")
    STAGE_FIELD_NUMBER: _ClassVar[int]
    DONE_FIELD_NUMBER: _ClassVar[int]
    TOTAL_FIELD_NUMBER: _ClassVar[int]
    DAMAGE_FIELD_NUMBER: _ClassVar[int]
    SNAPSHOT_FIELD_NUMBER: _ClassVar[int]
    stage: str
    done: int
    total: int
    damage: _containers.RepeatedScalarFieldContainer[str]
    snapshot: Snapshot
    def __init__(self, stage: _Optional[str] = ..., done: _Optional[int] = ..., total: _Optional[int] = ..., damage: _Optional[_Iterable[str]] = ..., snapshot: _Optional[_Union[Snapshot, _Mapping]] = ...) -> None: ...

class ListSnapshotsRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class ListSnapshotsReply(_message.Message):
    __slots__ = ("snapshots",)
    SNAPSHOTS_FIELD_NUMBER: _ClassVar[int]
    snapshots: _containers.RepeatedCompositeFieldContainer[Snapshot]
    def __init__(self, snapshots: _Optional[_Iterable[_Union[Snapshot, _Mapping]]] = ...) -> None: ...

class VerifySnapshotRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteSnapshotRequest(_message.Message):
    __slots__ = ("name",)
    NAME_FIELD_NUMBER: _ClassVar[int]
    name: str
    def __init__(self, name: _Optional[str] = ...) -> None: ...

class DeleteSnapshotReply(_message.Message):
    __slots__ = ("bytes",)
    BYTES_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    def __init__(self, bytes: _Optional[int] = ...) -> None: ...
