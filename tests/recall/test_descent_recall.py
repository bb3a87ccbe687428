"""Recall of the exact best entries, with the default beams, on entries made like a graph's: heads times relations.

The sizes are small and the vectors synthetic, with a spectrum that falls as an encoder's does. The floors stand two
points below what was measured when they were set; figures on real vectors: bench/descent.py.
"""

from functools import cache

import numpy as np

from atlasdb.tree import build
from atlasdb.tree.descend import descend
from atlasdb.tree.image import Forest, Tree, slots_in_memory
from atlasdb.tree.rank import Found, scan
from atlasdb.tree.slots import Slots
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Vectors

D = 96
FETCHES = 100
SPECTRUM = (1 + np.arange(D) / 8) ** -0.5


class Graph:
    """`heads` heads with four entries each; the last tenth of the heads came after the build."""

    def __init__(self, heads: int) -> None:
        self.rng = np.random.default_rng(heads)
        relations = 0.5 * self.rng.normal(size=(12, D))
        self.owner = np.arange(heads).repeat(4)
        centres = self.rng.normal(size=(heads // 3, D))[self.rng.integers(0, heads // 3, heads)]
        centres = 0.6 * centres + self.rng.normal(size=(heads, D))
        keys = centres[self.owner] + relations[self.rng.integers(0, 12, len(self.owner))]
        keys = (keys + 0.2 * self.rng.normal(size=keys.shape)) * SPECTRUM
        self.keys = quantise(keys / np.linalg.norm(keys, axis=1, keepdims=True))
        built = self.owner < heads * 9 // 10
        self.late, self.early = np.flatnonzero(~built), np.flatnonzero(built)
        given = self.slots(self.early)
        tree = Tree.of(build.plan(given, threads=1), given)
        self.kept, late = slots_in_memory(self.slots(self.late))
        self.forest = Forest.of(D, [tree], late, np.zeros(0, np.uint64))

    def rows(self, gold: int) -> Vectors:
        """Four near copies, with a cosine of about .6 to the gold."""
        key = self.keys.take([gold]).floats()[0]
        noise = (self.rng.normal(size=D) + 0.2 * self.rng.normal(size=(4, D))) * SPECTRUM
        return quantise(12 * (key + 1.3 * noise / np.linalg.norm(noise, axis=1, keepdims=True)))

    def slots(self, positions: np.ndarray) -> Slots:
        ids = (positions + 1).astype(np.uint64)
        return Slots.single(ids, ids, self.owner[positions].astype(np.uint64), self.keys.take(positions))

    def both(self, gold: int) -> tuple[Found, Found]:
        """(by descent, exact)."""
        rows = self.rows(gold)
        return descend(self.forest, rows, 32), scan(self.forest, rows, 32)


@cache
def graph(heads: int) -> Graph:
    return Graph(heads)


def test_the_exact_best_are_found() -> None:
    world = graph(6000)
    pairs = [world.both(int(gold)) for gold in world.rng.choice(world.early, FETCHES)]
    assert np.mean([np.isin(exact.ids[:16], found.ids).mean() for found, exact in pairs]) >= 0.965
    assert np.mean([exact.ids[0] == found.ids[0] for found, exact in pairs]) >= 0.95


def test_facts_that_came_after_the_build_are_found_as_well() -> None:
    world = graph(6000)
    golds = world.rng.choice(world.late, FETCHES)
    pairs = [world.both(int(gold)) for gold in golds]
    right = [(gold + 1 in found.ids, gold + 1 in exact.ids) for gold, (found, exact) in zip(golds, pairs, strict=True)]
    found, exact = np.mean(right, axis=0)
    assert exact > 0.9
    assert found >= exact - 0.02


def test_cost_grows_far_slower_than_the_entries() -> None:
    costs = []
    for heads in (1500, 15_000):
        world = graph(heads)
        cost = [world.both(int(gold))[0].cost for gold in world.rng.choice(world.early, 20)]
        costs.append(np.mean([c.root_scored + c.inter_scored + c.entries_scored for c in cost]) - len(world.late))
    assert costs[1] < 5 * costs[0]
