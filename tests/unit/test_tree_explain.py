from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_tree_descend import NONE, World, bits, crowded

from atlasdb.tree import descend as descending
from atlasdb.tree import rank, scoring, walking
from atlasdb.tree.descend import descend
from atlasdb.tree.explain import Clock, Explained, entries_of, explain, slots_of_tree
from atlasdb.tree.image import SLOT_COLUMNS, Columns, Forest
from atlasdb.tree.verdicts import Place, verdict
from atlasdb_contract.ids import EntryId, Generation
from atlasdb_contract.types import Beams, Fate, Ids, NodeFate, Vectors, Verdict, WalkEnd


def generations(forest: Forest) -> list[Generation]:
    return [Generation(number + 1) for number in range(len(forest.trees))]


def explained(forest: Forest, rows: Vectors, k: int, beams: Beams | None = None) -> Explained:
    return explain(forest, rows, k, beams or Beams(), generations(forest), Clock())


def places(world: World, forest: Forest) -> list[Place]:
    """Every entry that is there, in the order of ids."""
    found = {}
    for number, tree in enumerate(forest.trees):
        for slot in range(len(tree.slots)):
            for entry in entries_of(forest, slots_of_tree(forest, number, np.array([slot])), 1 << 20).tolist():
                found[entry] = Place(EntryId(entry), number, slot)
    for record in range(forest.bases[-1], len(forest.slots.counts)):
        slots = (np.int64(record) << scoring.POSITION_BITS) + np.arange(forest.slots.counts[record])
        found |= {entry: Place(EntryId(entry)) for entry in entries_of(forest, slots, 1).tolist()}
    return [found[entry] for entry in sorted(found)]


def verdicts(world: World, forest: Forest, rows: Vectors, result: Explained) -> list[Verdict]:
    return [verdict(forest, rows, result, place, generations(forest)) for place in places(world, forest)]


def some_dead(count: int, seed: int) -> Ids:
    gone = np.flatnonzero(np.random.default_rng(seed).random(count) < 0.1)
    return bits((gone + 1).astype(np.uint64)) if len(gone) else NONE


beams = st.builds(Beams, st.sampled_from([0, 1, 3]), st.sampled_from([0, 1, 5, 40, 200]))


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 900), st.integers(1, 300), st.integers(1, 5), st.integers(1, 80), beams, st.integers(0, 99))
def test_the_explained_descent_finds_what_a_fetch_finds(
    count: int, heads: int, rows: int, k: int, beams: Beams, seed: int
) -> None:
    world = World(count, heads, seed)
    forest, asked = world.forest(some_dead(count, seed)), world.rows(rows)
    fetched, told = descend(forest, asked, k, beams), explained(forest, asked, k, beams)
    assert np.array_equal(told.found.ids, fetched.ids)
    assert np.array_equal(told.found.scores, fetched.scores)
    assert told.found.cost == fetched.cost


def test_a_search_that_deleted_entries_made_widen_is_explained_as_it_was() -> None:
    world = World(1, 1, 0, trees=1)
    row = crowded(world, 900)
    forest = world.forest(bits(np.arange(1, 901, dtype=np.uint64)))
    fetched, told = descend(forest, row, 64), explained(forest, row, 64)
    assert np.array_equal(told.found.ids, fetched.ids)
    assert told.found.cost == fetched.cost


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 600), st.integers(1, 200), st.integers(1, 4), beams, st.integers(0, 99))
def test_what_is_counted_adds_up(count: int, heads: int, rows: int, beams: Beams, seed: int) -> None:
    world = World(count, heads, seed)
    forest, asked = world.forest(some_dead(count, seed)), world.rows(rows)
    told = explained(forest, asked, 10, beams)
    cost = told.found.cost
    assert sum(tree.parents for tree in told.trees) <= cost.postings_read
    assert sum(walk.looked + walk.met for tree in told.trees for walk in tree.walks) == cost.inter_scored
    assert sum(tree.roots * len(tree.walks) for tree in told.trees) == cost.root_scored
    for tree in told.trees:
        assert sum(walk.rows for walk in tree.walks) == rows
        for walk in tree.walks:
            assert walk.opened <= walk.compared <= walk.met <= tree.nodes
            assert walk.gates <= min(walk.met, walk.looked)
            assert tree.parents <= tree.nodes
            assert walk.best_root >= walk.last_root
            assert walk.best == walk.nodes[0].logit
            assert all(one.logit >= other.logit for one, other in pairwise(walk.nodes))
            assert (walk.end is WalkEnd.ALL) == (walk.opened == walk.met)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 250), st.integers(1, 120), st.integers(1, 3), st.integers(1, 20), beams, st.integers(0, 99))
def test_a_verdict_tells_of_every_entry_what_became_of_it(
    count: int, heads: int, rows: int, k: int, beams: Beams, seed: int
) -> None:
    world = World(count, heads, seed, texts=80)
    forest, asked = world.forest(some_dead(count, seed)), world.rows(rows)
    told = explained(forest, asked, k, beams)
    candidates = told.candidates
    every = rank.taken(forest, candidates.slots[: candidates.count], told.scores, 4096, told.found.cost)
    ranks = {entry: rank for rank, entry in enumerate(every.ids.tolist(), 1)}
    for one in verdicts(world, forest, asked, told):
        keys = world.keys.floats()[one.entry - 1]
        np.testing.assert_allclose(one.logits, asked.floats() @ keys, rtol=1e-3, atol=1e-3)
        fates = {sighting.fate for sighting in one.sightings}
        if one.entry in ranks:
            assert one.fate is (Fate.CHOSEN if one.entry in told.found.ids else Fate.BEATEN)
            assert one.score == every.scores[ranks[one.entry] - 1]
            assert every.scores[one.rank - 1] == one.score
            assert (one.rank <= k) == (one.fate is Fate.CHOSEN)
            assert bool(one.generation) == bool(fates - {NodeFate.UNMET})
        else:
            assert one.fate is Fate.PASSED
            assert one.rank == 0
            assert fates
            assert 0 <= one.score <= rows


def test_an_entry_left_out_has_the_score_that_it_would_have_had() -> None:
    """A walk that opens one node leaves out what a walk over everything compares."""
    world = World(400, 80, 5, trees=1)
    world.delta = Columns.none(SLOT_COLUMNS)
    forest, rows = world.forest(), world.rows(1)
    told = explained(forest, rows, 5, Beams(root=1, inter=1))
    (only,) = told.trees
    assert only.walks[0].opened == 1
    inside = [one for one in verdicts(world, forest, rows, told) if one.rank]
    total = sum(np.exp(np.float64(one.logits[0])) for one in inside)
    outside = [one for one in verdicts(world, forest, rows, told) if not one.rank]
    assert outside
    for one in outside:
        own = np.exp(np.float64(one.logits[0]))
        assert one.score == pytest.approx(own / (own + total), rel=1e-3)


def test_a_node_is_judged_by_where_the_walk_ended() -> None:
    world = World(6000, 3000, 7, dimension=64, trees=1)
    forest, rows = world.forest(), world.rows(1)
    rows = Vectors(rows.data, rows.scales * np.float32(4))
    told = explained(forest, rows, 5)
    [[walk]] = [tree.walks for tree in told.trees]
    assert walk.end is WalkEnd.DEPTH
    assert walk.opened < walk.compared < walk.met
    fates = set()
    (tree,) = world.trees
    nodes = tree.keep[0][walking.ROWS]
    for place in places(world, forest)[::7]:
        if place.tree is None:
            continue
        one = verdict(forest, rows, told, place, generations(forest))
        assert 0 <= place.slot - nodes["first"][one.node] < nodes["count"][one.node]
        for sighting in one.sightings:
            fates.add(sighting.fate)
            assert (sighting.bar, sighting.slot_bar) == (walk.bar, walk.slot_bar)
            if sighting.fate is NodeFate.COMPARED:
                assert sighting.logit < walk.best
            if sighting.link is not None:
                assert sighting.fate is NodeFate.UNMET
                assert not sighting.link.opened
                assert one.node in nodes["links"][sighting.link.node]
    assert fates == set(NodeFate)


def test_of_many_walks_those_that_came_nearest_are_told_of() -> None:
    world = World(9000, 9000, 8, trees=1)
    forest, rows = world.forest(), world.rows(12)
    told = explained(forest, rows, 5, Beams(1, 4))
    [walked] = told.walked
    assert len(walked) > 8
    met = unmet = 0
    for place in places(world, forest)[::11]:
        if place.tree is None:
            continue
        one = verdict(forest, rows, told, place, generations(forest))
        meetings = sum(one.node in walk.nodes for walk in walked)
        assert sum(sighting.fate is not NodeFate.UNMET for sighting in one.sightings) == min(8, meetings)
        short = [each.expected - each.slot_bar for each in one.sightings if each.fate is NodeFate.UNMET]
        assert short == sorted(short, reverse=True)
        met, unmet = met + bool(meetings), unmet + (not meetings)
    assert met
    assert unmet


def test_a_full_beam_ends_a_walk() -> None:
    world = World(3000, 600, 3, trees=1)
    [[walk]] = [tree.walks for tree in explained(world.forest(), world.rows(1), 10, Beams(root=5, inter=7)).trees]
    assert (walk.end, walk.opened, walk.beam) == (WalkEnd.BEAM, 7, 5)


def test_what_is_nothing_in_a_large_delta_is_said_to_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(descending, "SURE", 20)
    world = World(2000, 2000, 4, trees=1)
    world.trees, world.delta = [], world.in_delta(np.arange(2000))
    forest, rows = world.forest(), world.rows(1)
    rows = Vectors(rows.data, rows.scales * np.float32(4))
    told = explained(forest, rows, 3)
    found = verdicts(world, forest, rows, told)
    assert {one.fate for one in found} == {Fate.CHOSEN, Fate.BEATEN, Fate.FAINT}
    assert all(one.score < 1e-4 for one in found if one.fate is Fate.FAINT)


def test_a_forest_of_nothing_is_explained() -> None:
    told = explained(Forest.of(24, [], Columns.none(SLOT_COLUMNS), NONE), World(5, 2, 0).rows(2), 10)
    assert told.trees == ()
    assert len(told.found.ids) == 0


def test_stages_add_up_in_the_order_of_their_first_use() -> None:
    clock = Clock()
    world = World(200, 40, 1)
    explain(world.forest(), world.rows(1), 5, Beams(), generations(world.forest()), clock)
    assert [stage.name for stage in clock.stages] == ["rows", "ROOT", "INTER", "LEAF", "delta", "scores", "block"]
    assert all(stage.microseconds >= 0 for stage in clock.stages)


def test_numbers_that_lead_nowhere_are_not_followed() -> None:
    world = World(2000, 400, 9, trees=1)
    (tree,) = world.trees
    nodes, _ = tree.keep
    nodes[0]["first"][::5] = 1 << 40
    nodes[0]["links"][::3] = 1 << 30
    starts = np.where(np.arange(len(tree.root_starts)) % 2, tree.root_starts, 1 << 29)
    world.trees = [replace(tree, root_starts=starts)]
    for _ in range(20):
        explained(world.forest(), world.rows(2), 10)
