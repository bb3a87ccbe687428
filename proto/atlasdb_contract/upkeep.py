"""The nouns of compactions and snapshots, the same in engine and client."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CompactProgress:
    """How far a compaction is; from `file_bytes` on, of the last one: bytes of the file before and after (of a dry run:
    about), what the disk and the memory must have room for, seconds, entries and values dropped, how long writes waited
    for the new file."""

    stage: str
    done: int
    total: int
    file_bytes: int = 0
    after_bytes: int = 0
    disk_bytes: int = 0
    memory_bytes: int = 0
    seconds: float = 0.0
    dead_entries: int = 0
    dead_values: int = 0
    held_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Held:
    """A collection in a snapshot."""

    name: str
    entries: int
    setsum: str


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A whole copy of the store at one moment, as its manifest tells of it."""

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
    damage: tuple[str, ...] = ()
    snapshot: Snapshot | None = None
