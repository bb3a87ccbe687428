"""The time that loading given vectors takes, commit by commit, and what the index is by then.

An entry costs what it does in the trial. Beyond that grow, with the collection, the lookups of a commit (each of its
batches looks into every run of the index, and into the leaves that its hashes fall into) and the sweeps that fold runs
into leaves. Both are counted here as `store/index.py` does them.
"""

from dataclasses import dataclass, field
from math import exp

from atlasdb.planning.shape import Shape
from atlasdb.store import index
from atlasdb.store.writer import GROUP_BYTES

BATCH = 8192
"""Triples of an insert."""
AHEAD = 16
"""Batches that wait for the writer at a time."""


def commit_entries(dimension: int) -> int:
    """Entries of one commit, while enough are waiting."""
    return BATCH * max(1, min(AHEAD, GROUP_BYTES // (BATCH * (2 * dimension + 256))))


@dataclass(frozen=True, slots=True)
class LoadSpeed:
    """Seconds on this machine: of an entry by itself, of a look into one record of the index, of a hash that is looked
    for in it, of a pair that a sweep rewrites."""

    entry: float
    look: float
    hash: float
    rewritten: float


@dataclass(slots=True)
class Growth:
    """The index of one space, in numbers: pairs in leaves, in the runs, and in those runs that a sweep is folding."""

    leaves: float = 0.0
    runs: list[float] = field(default_factory=list)
    frozen: list[float] = field(default_factory=list)
    done: float = 0.0
    """Share of the sweep that is done."""

    @property
    def stored(self) -> float:
        """Pairs on disk; those that a sweep has written into leaves are in their runs as well."""
        return self.leaves + sum(self.runs) + (1 + self.done) * sum(self.frozen)

    def search(self, wanted: float, speed: LoadSpeed) -> float:
        """Seconds of looking for so many hashes: for all of them in each run, for each in one leaf."""
        leaves, runs = self.leaves / index.LEAF_PAIRS, len(self.runs) + len(self.frozen)
        touched = leaves * (1 - exp(-wanted / leaves)) if leaves else 0
        return (runs + touched) * speed.look + wanted * (runs + (leaves > 0)) * speed.hash

    def add(self, pairs: float) -> float:
        """A commit; the pairs that it rewrites."""
        added = pairs
        while self.runs and self.runs[-1] <= 2 * pairs and self.runs[-1] + pairs <= index.RUN_PAIRS:
            pairs += self.runs.pop()
        self.runs.append(pairs)
        return pairs - added + self._step()

    def _step(self) -> float:
        if not self.frozen:
            enough = max(index.SWEEP_PAIRS, self.leaves / index.SWEEP_SHARE)
            if len(self.runs) < index.SWEEP_RUNS and sum(self.runs) < enough:
                return 0
            self.frozen, self.runs, self.done = self.runs, [], 0.0
        held = self.leaves / index.LEAF_PAIRS
        part = min(1 - self.done, index.STEP_LEAVES / held if held else 1.0)
        self.done += part
        moved = sum(self.frozen)
        if self.done >= 1 - 1e-9:
            self.leaves, self.frozen, self.done = self.leaves + moved, [], 0.0
            return part * self.leaves
        return part * (self.leaves + moved)


@dataclass(frozen=True, slots=True)
class Load:
    """A whole load: after how many entries how many seconds have passed, and the pairs of the index at its end."""

    entries: tuple[float, ...]
    seconds: tuple[float, ...]
    pairs: float


def loaded(shape: Shape, speed: LoadSpeed) -> Load:
    """The load of all entries of a shape, without a pause and without what else the machine does meanwhile."""
    triples, values = Growth(), Growth()
    commit = commit_entries(shape.dimension)
    done, passed = 0, 0.0
    marks = [(0.0, 0.0)]
    share = shape.values / shape.entries
    while done < shape.entries:
        some = min(commit, shape.entries - done)
        looks = some / BATCH * (triples.search(BATCH, speed) + values.search(BATCH, speed))
        rewritten = triples.add(some) + values.add(share * some)
        passed += some * speed.entry + looks + rewritten * speed.rewritten
        done += some
        marks.append((float(done), passed))
    entries, seconds = zip(*marks, strict=True)
    return Load(entries, seconds, triples.stored + values.stored)
