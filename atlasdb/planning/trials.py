"""A small collection of the shape that is planned, loaded, built and fetched from on this machine."""

import time
import tracemalloc
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from atlasdb.engine.database import Database
from atlasdb.planning import machine
from atlasdb.planning.building import STAGES, BuildTrial, stage_of
from atlasdb.planning.clock import Clock
from atlasdb.planning.disk import RowBytes, TreeSize, measured, tree_of
from atlasdb.planning.drawn import Drawn
from atlasdb.planning.fetching import Counts, FetchTrial, K, Picks, of_roots, vector_bytes
from atlasdb.planning.loading import AHEAD, BATCH, LoadSpeed
from atlasdb.planning.memory import BuildBytes
from atlasdb.planning.shape import Shape
from atlasdb.store.environment import FILE
from atlasdb.tree import build, whiten
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, InsertAck, Progress

ENTRIES = 100_000
"""Of the trial, at most,"""
HEADS = 8_500
"""and heads, unless that is less than"""
LEAST_ENTRIES = 6_000
NUMBERS = ENTRIES * 384
"""Of the keys of its entries, at most; the fewer, the shorter the trial."""
COMPILING = 4096
"""Entries that everything is done to beforehand, so that all loops are compiled."""
BARE_DIMENSION = 4
BARE_ENTRIES = (20_000, 60_000)
"""Sizes of the builds whose memory is traced."""
FETCHES, TURNS = 64, 5
MAP_BYTES = 1 << 32
NAME = "trial"

Say = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Trial:
    """All that this machine told."""

    rows: RowBytes
    pieces: float
    """INTER nodes for each head: big heads have several."""
    load: LoadSpeed
    build: BuildTrial
    bytes: BuildBytes
    fetch: FetchTrial
    process: int
    """Bytes of memory of a process that has served a small collection."""


def pieces(drawn: Drawn) -> float:
    """INTER nodes for each head of a drawn world."""
    given = drawn.singles()
    _, starts = build.by_head(given, *build.distinct(given))
    return (len(starts) - 1) / drawn.shape.heads


def trial_entries(shape: Shape) -> int:
    """As many as ten seconds are enough for."""
    fitting = min(ENTRIES, round(HEADS * shape.entries_a_head), NUMBERS // shape.dimension)
    return max(LEAST_ENTRIES, fitting)


def run(shape: Shape, folder: Path, say: Say) -> Trial:
    """Some ten seconds, once all loops are compiled. `folder` is empty; what is made there is left."""
    say("the compiled loops")
    small = Drawn.of(shape.cut(COMPILING))
    _life(small, folder / "compiling", Picks((1,), (0.0,), (0.0,)), 1.0)
    process = machine.process_bytes()
    say("memory and products")
    picks, products = machine.picks(shape.dimension), machine.products(shape.dimension)
    index = machine.index_speed(folder / "index")
    say("a small collection")
    drawn = Drawn.of(shape.cut(trial_entries(shape)))
    entry, built, fetched = _life(drawn, folder / "trial", picks, products)
    say("the memory of a build")
    traced = _traced(shape, folder)
    say("the format")
    many = built.tree.nodes / drawn.shape.heads
    rows = measured(shape, tree_of(shape, many), folder / "rows")
    return Trial(rows, many, LoadSpeed(entry, *index), built, traced, fetched, process)


def _life(drawn: Drawn, folder: Path, picks: Picks, products: float) -> tuple[float, BuildTrial, FetchTrial]:
    """Load, build, fetch."""
    metric = _metric_seconds(drawn)
    with Database.open(folder, MAP_BYTES) as database:
        entry = _loaded(drawn, database) / len(drawn)
        database.drop_collection(NAME)
        entry = min(entry, _loaded(drawn, database) / len(drawn))
        clock, marks = Clock(), [("read", 0.0)]
        database.build(NAME, progress=lambda step: marks.append((stage_of(step.stage), clock.seconds())))
        seconds = dict.fromkeys(STAGES, 0.0)
        for (_, before), (stage, now) in pairwise(marks):
            seconds[stage] += now - before
        collection = database.stats(NAME).collections[0]
        tree = TreeSize(len(drawn), drawn.shape.slots, collection.inter_nodes)
        built = BuildTrial(len(drawn), tree, drawn.shape.dimension, seconds, metric, products)
        fetched = _fetched(drawn, database, tree, picks)
    page = machine.page_microseconds(folder / FILE)
    return entry, built, FetchTrial(*fetched, vector_bytes(tree, drawn.shape.dimension), page, picks)


def _metric_seconds(drawn: Drawn) -> float:
    given = drawn.singles()
    members, bounds = build.distinct(given)
    group, starts = build.by_head(given, members, bounds)
    order = members[bounds[group]]
    clock = Clock()
    whiten.measure(given.keys, order, starts, 0)
    return clock.seconds()


def _loaded(drawn: Drawn, database: Database) -> float:
    """Seconds of the load."""
    database.create_collection(NAME, CollectionConfig(NO_ENCODER, drawn.shape.dimension))
    batches = list(drawn.batches(BATCH))
    waiting: deque[Future[InsertAck]] = deque()
    begun = time.perf_counter()
    for batch in batches:
        waiting.append(database.insert(NAME, *batch))
        if len(waiting) >= AHEAD:
            waiting.popleft().result()
    for ack in waiting:
        ack.result()
    return time.perf_counter() - begun


def _fetched(drawn: Drawn, database: Database, tree: TreeSize, picks: Picks) -> tuple[float, float]:
    """Microseconds of a fetch by itself, and of each cache line: a straight line through all fetches."""
    lines, spent = [], []
    for rows in drawn.rows(FETCHES):
        explanation = database.explain(NAME, rows, K).explanation
        assert explanation is not None
        of_tree = explanation.trees[0]
        walks = of_tree.walks
        told = Counts(
            len(walks) * tree.roots,
            sum(walk.looked for walk in walks),
            sum(walk.met for walk in walks),
            sum(walk.compared for walk in walks),
            sum(walk.opened for walk in walks),
            of_tree.slots,
        )
        took = 1e6 * machine.quickest(lambda: database.fetch(NAME, rows, K), TURNS)  # noqa: B023 - called at once
        lines.append(told.lines(drawn.shape.dimension))
        spent.append(took - of_roots(picks, told))
    x, y = np.array(lines), np.array(spent)
    line = max(0.0, float(np.polyfit(x, y, 1)[0])) if np.ptp(x) > 0 else 0.0
    itself = float(np.mean(y) - line * np.mean(x))
    return (itself, line) if itself > 0 and line > 0 else (0.0, float(np.mean(y) / np.mean(x)))


def _traced(shape: Shape, folder: Path) -> BuildBytes:
    """What a build allocates beside vectors, an entry more: from two builds of vectors of hardly a dimension."""
    peaks = []
    for entries in BARE_ENTRIES:
        bare = replace(shape, entries=entries, dimension=BARE_DIMENSION)
        peaks.append(_peaks(Drawn.of(bare), folder / f"bare-{entries}"))
    less, more = peaks
    step = BARE_ENTRIES[1] - BARE_ENTRIES[0]
    return BuildBytes(BARE_DIMENSION, {stage: max(0.0, (more[stage] - less[stage]) / step) for stage in STAGES})


def _peaks(drawn: Drawn, folder: Path) -> dict[str, int]:
    """Most bytes allocated at a moment of each stage of a build."""
    found = dict.fromkeys(STAGES, 0)

    def mark(step: Progress) -> None:
        stage = stage_of(step.stage)
        found[stage] = max(found[stage], tracemalloc.get_traced_memory()[1])
        tracemalloc.reset_peak()

    with Database.open(folder, MAP_BYTES) as database:
        _loaded(drawn, database)
        tracemalloc.start()
        try:
            database.build(NAME, progress=mark)
        finally:
            tracemalloc.stop()
    return found
