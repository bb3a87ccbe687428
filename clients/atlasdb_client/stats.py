"""What `Client.stats`, `repair`, `compact` and snapshots answer: messages of admin.proto as values. A test compares
the fields of stats."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CollectionStats:
    """One collection in numbers."""

    name: str
    encoder: str
    dimension: int
    entries: int
    triples: int
    """As given: entries less the inverse ones."""
    inverse_entries: int
    distinct_values: int
    generation: int
    root_nodes: int
    inter_nodes: int
    delta_entries: int
    """Slots that no tree has yet; every fetch compares them all."""
    tombstones: int
    largest_posting: int
    table_bytes: Mapping[str, int]
    """Bytes of LMDB pages by table."""
    trees: int
    setsum: str
    """Hex: an order-independent sum over the entries. Equal sums: the same entries, ids apart."""
    damage: tuple[str, ...]
    """Damage that is known of, a sentence each; fetches go on without it."""
    entries_out: int
    """Entries that fetches leave out because of it."""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """A store in numbers; sizes in bytes."""

    collections: tuple[CollectionStats, ...]
    file_bytes: int
    map_bytes: int
    free_bytes: int
    format_version: int
    server_version: str
    uptime_seconds: float
    resident_bytes: int
    texts_encoded: int
    encoder_busy_seconds: float


@dataclass(frozen=True, slots=True)
class RepairProgress:
    """How far a repair is; `restored` and `lost`: since the one before, a sentence each."""

    collection: str
    stage: str
    done: int
    total: int
    restored: tuple[str, ...]
    lost: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CompactProgress:
    """How far a compaction is; from `file_bytes` on, of the last one."""

    stage: str
    done: int
    total: int
    file_bytes: int
    after_bytes: int
    """Of a dry run: about."""
    disk_bytes: int
    """What the disk, and then the memory, must have room for."""
    memory_bytes: int
    seconds: float
    dead_entries: int
    """What was dropped, or would be."""
    dead_values: int
    held_seconds: float
    """How long writes waited for the new file."""


@dataclass(frozen=True, slots=True)
class Held:
    """A collection in a snapshot."""

    name: str
    entries: int
    setsum: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole copy of the store at one moment."""

    name: str
    created: float
    format_version: int
    file_bytes: int
    sha256: str
    collections: tuple[Held, ...]


@dataclass(frozen=True, slots=True)
class SnapshotProgress:
    """How far the making, or the verification, of a snapshot is; the last one has it, and what is wrong with it."""

    stage: str
    done: int
    total: int
    damage: tuple[str, ...]
    snapshot: Snapshot | None
