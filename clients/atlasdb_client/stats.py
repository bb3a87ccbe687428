"""What `Client.stats` and `Client.repair` answer: messages of admin.proto as values. A test compares the fields."""

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
    max_entries: int
    max_bytes: int
    """Its quota; 0: no limit."""


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
