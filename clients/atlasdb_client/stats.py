"""What `Client.stats`, `repair`, `compact` and snapshots answer: messages of admin.proto as values. A test compares
the fields of stats."""

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Latency:
    """Of what happened in the last minutes: `count` in so many seconds; percentiles to some 6%."""

    count: int
    seconds: float
    p50_us: float
    p99_us: float


@dataclass(frozen=True, slots=True)
class Recall:
    """Means over the last fetches that the server compared with the exact answer: the share of the exact block's mass,
    and of its entries."""

    samples: int
    mass: float
    recall: float


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
    heads: int
    """Distinct heads (and tails of inverse entries) in the slots."""
    heads_estimated: bool
    slots: int
    """Of the trees."""
    posting_sizes: tuple[int, ...]
    """How many INTER nodes have 1 slot, 2, 3 to 4, 5 to 8, and so on."""
    fetches: Latency
    recall: Recall
    inserted_per_second: float
    """Entries, in the last minute."""

    max_entries: int
    max_bytes: int
    """Its quota; 0: no limit."""

    @property
    def delta_share(self) -> float:
        """Of all slots."""
        return self.delta_entries / max(1, self.delta_entries + self.slots)

    @property
    def bytes_per_entry(self) -> float:
        """On disk, in all tables."""
        return sum(self.table_bytes.values()) / max(1, self.entries)


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
    pages: int
    free_pages: int
    """Pages that hold nothing."""
    commits: Latency
    fetches: Latency
    """Of all collections."""
    inserted_per_second: float
    oldest_reader_seconds: float
    """How long the oldest view has been open."""
    oldest_reader_commits: int
    """How many commits old it is."""
    processes: int
    """That serve the store; latencies and recall are of all of them."""

    @property
    def fragmentation(self) -> float:
        """The share of the file's pages that hold nothing."""
        return self.free_pages / max(1, self.pages)


@dataclass(frozen=True, slots=True)
class RepairProgress:
    """How far a repair is; `restored` and `lost`: since the one before, a sentence each."""

    collection: str
    stage: str
    done: int
    total: int
    restored: tuple[str, ...]
    lost: tuple[str, ...]
