"""The plan of a collection: what the trial tells of the size that is asked for. See docs/plan.md."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import psutil

from atlasdb.planning import building, disk, fetching, growing, loading, memory
from atlasdb.planning.disk import RowBytes, TreeSize
from atlasdb.planning.growing import Grown
from atlasdb.planning.shape import Shape
from atlasdb.planning.trials import Trial


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is: bytes of memory in all and of free room on the disk, cores, and how many were busy."""

    memory: int
    room: int
    cores: int
    busy: float

    @staticmethod
    def here(folder: Path) -> "Machine":
        """This one, with the disk of a folder."""
        memory, room = psutil.virtual_memory().total, shutil.disk_usage(folder).free
        return Machine(memory, room, len(os.sched_getaffinity(0)), os.getloadavg()[0])


@dataclass(frozen=True, slots=True)
class Disk:
    """Bytes: `tables` of the built collection, what they are together, and the most that the file has while the tree is
    built."""

    tables: dict[str, int]
    in_use: int
    peak: int


@dataclass(frozen=True, slots=True)
class Memory:
    """Bytes: of a server's process while it serves, without what encodes texts; how much of that comes with the size;
    what a build takes beside it. And pages of the file that fetches go to: of nodes, in every walk, and of all that a
    fetch may touch."""

    serving: int
    kept: int
    building: int
    node_pages: int
    all_pages: int


@dataclass(frozen=True, slots=True)
class Load:
    """Seconds of loading given vectors; entries a second, of all and at the end; the folds that the server makes beside
    it, and how long these take."""

    seconds: float
    rate: float
    last_rate: float
    folds: int
    fold_seconds: float


@dataclass(frozen=True, slots=True)
class Build:
    """Seconds, and those of each stage."""

    seconds: float
    stages: dict[str, float]


@dataclass(frozen=True, slots=True)
class Fetch:
    """Of 64 entries with the rows of one token: what is compared, bytes read, microseconds in the server with all pages
    in memory, the most pages touched, and microseconds when none of them is in memory."""

    roots: int
    codes: int
    nodes: int
    opened: int
    slots: int
    bytes_read: int
    warm_us: float
    pages: int
    cold_us: float


@dataclass(frozen=True, slots=True)
class Plan:
    """All of it. `nodes` and `roots`: of the tree."""

    shape: Shape
    nodes: int
    roots: int
    disk: Disk
    memory: Memory
    load: Load
    build: Build
    fetch: Fetch
    machine: Machine


def estimated(shape: Shape, trial: Trial, machine: Machine) -> Plan:
    """Of a collection that is loaded in one go and then built."""
    whole = disk.tree_of(shape, trial.pieces)

    def stages(given: int, tree: TreeSize) -> dict[str, float]:
        return building.seconds(trial.build, trial.rows, given, tree)

    load = loading.loaded(shape, trial.load)
    grown = growing.grown(shape, whole, load, lambda given, tree: sum(stages(given, tree).values()))
    took = stages(grown.given, whole)
    kept = disk_of(shape, trial.rows, whole, grown, load.pairs)
    end, before = len(load.seconds) - 1, max(0, len(load.seconds) - 2)
    last = (load.entries[end] - load.entries[before]) / (load.seconds[end] - load.seconds[before])
    pages = kept.tables["postings"] + kept.tables["values"] + kept.tables["nodes"]
    return Plan(
        shape,
        whole.nodes,
        whole.roots,
        kept,
        Memory(
            trial.process + memory.kept(shape, whole),
            memory.kept(shape, whole),
            memory.building(trial.bytes, shape, whole, grown.given),
            kept.tables["nodes"],
            pages,
        ),
        Load(load.seconds[-1], shape.entries / load.seconds[-1], last, grown.folds, grown.seconds),
        Build(sum(took.values()), took),
        _fetch(shape, trial, whole),
        machine,
    )


def disk_of(shape: Shape, rows: RowBytes, whole: TreeSize, grown: Grown, pairs: float) -> Disk:
    """While the new tree is written the old ones are there, and the delta; then they are room that is used again."""
    tables = {name: round(size) for name, size in disk.tables(shape, rows, whole, pairs).items()}
    old = grown.delta * rows.delta_slot + sum(sum(rows.tree(tree).values()) for tree in grown.trees)
    in_use = sum(tables.values())
    return Disk(tables, in_use, in_use + round(old))


def _fetch(shape: Shape, trial: Trial, tree: TreeSize) -> Fetch:
    told = fetching.counts(tree)
    warm = fetching.microseconds(trial.fetch, shape.dimension, tree, told)
    touched = fetching.pages(shape, told)
    return Fetch(
        roots=round(told.roots),
        codes=round(told.scanned + told.met),
        nodes=round(told.compared),
        opened=round(told.opened),
        slots=round(told.slots),
        bytes_read=round(told.read(shape.dimension)),
        warm_us=warm,
        pages=round(touched),
        cold_us=warm + touched * trial.fetch.page,
    )
