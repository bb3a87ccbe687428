from collections.abc import Callable

import numpy as np
import pytest
from worlds import D, facts, unit

from atlasdb.engine.database import Database
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import About, Beams, Block, Explanation, Fate, NodeFate, Triple, Vectors, Verdict

Load = Callable[..., tuple[int, ...]]


def rows(*triples: Triple) -> Vectors:
    """A row that looks straight at each triple's key."""
    return quantise(np.stack([20 * unit(f"the {triple.relation} of {triple.head}") for triple in triples]))


def told(block: Block) -> Explanation:
    assert block.explanation is not None
    return block.explanation


def verdicts(block: Block) -> dict[int, Verdict]:
    return {one.entry: one for one in told(block).verdicts}


@pytest.fixture
def grown(database: Database, load: Load) -> Database:
    """Two thousand entries in a tree, three hundred in the delta, some of both deleted."""
    load(facts(2000))
    database.build("facts", seed=1)
    load(facts(300, start=2000))
    database.delete("facts", [7, 500, 2100]).result()
    return database


@pytest.mark.parametrize("beams", [Beams(), Beams(2, 3)])
def test_an_explained_fetch_gives_the_same_block(grown: Database, beams: Beams) -> None:
    for number in (0, 700, 1999, 2250):
        asked = rows(facts(1, number)[0], facts(1, number // 2)[0])
        plain, block = grown.fetch("facts", asked, 9, beams), grown.explain("facts", asked, 9, beams, sequence=number)
        assert plain.explanation is None
        assert np.array_equal(block.ids, plain.ids)
        assert np.array_equal(block.scores, plain.scores)
        assert np.array_equal(block.values.data, plain.values.data)
        assert (block.generation, block.sequence) == (plain.generation, number)
        assert block.cost.entries_scored == plain.cost.entries_scored
        explanation = told(block)
        [tree] = explanation.trees
        assert tree.generation == 1
        assert 0 < tree.parents <= plain.cost.postings_read
        assert explanation.delta_slots == 300
        assert explanation.candidates == tree.entries + 299
        assert block.cost.microseconds == sum(stage.microseconds for stage in explanation.stages)


def test_every_entry_asked_about_gets_its_verdict(grown: Database) -> None:
    asked = rows(facts(1, 700)[0])
    about = About((701, 2200, 7, 2100, 5000, 12, (1 << 64) - 1), (facts(1, 3)[0], Triple("no", "such", "triple")))
    block = grown.explain("facts", asked, 1, about=about)
    explanation = told(block)
    assert [one.entry for one in explanation.verdicts] == [*about.ids, 4, 0]
    found = verdicts(block)
    assert (found[701].fate, found[701].rank, found[701].generation) == (Fate.CHOSEN, 1, 1)
    assert found[701].score == block.scores[0]
    assert (found[2200].fate, found[2200].generation, found[2200].sightings) == (Fate.BEATEN, 0, ())
    assert {found[7].fate, found[2100].fate} == {Fate.DELETED}
    assert {found[5000].fate, found[(1 << 64) - 1].fate, found[0].fate} == {Fate.ABSENT}
    assert found[4].fate in (Fate.BEATEN, Fate.PASSED)
    assert found[12].generation == 1


def test_a_narrow_walk_says_which_nodes_it_never_opened(grown: Database) -> None:
    """All entries of a head are under one node."""
    block = grown.explain("facts", rows(facts(1, 700)[0]), 5, Beams(1, 1), About(tuple(range(1, 61))))
    found = verdicts(block)
    left = [one for one in found.values() if one.fate is Fate.PASSED]
    assert left
    for one in left:
        [sighting] = one.sightings
        assert sighting.fate is not NodeFate.OPENED
        assert one.rank == 0
    assert len({found[entry].node for entry in (10, 11, 12)}) == 1
    assert len({sighting.fate for entry in (10, 11, 12) for sighting in found[entry].sightings}) == 1


def test_an_explanation_of_nothing_says_so(database: Database) -> None:
    block = database.explain("facts", rows(facts(1)[0]), 5, about=About((1,)))
    assert len(block.ids) == 0
    assert told(block).trees == ()
    assert [one.fate for one in told(block).verdicts] == [Fate.ABSENT]


def test_what_can_not_be_explained_is_named(database: Database) -> None:
    row = rows(facts(1)[0])
    with pytest.raises(InvalidArgument, match="65 entries to explain; ask for at most 64"):
        database.explain("facts", row, 5, about=About(tuple(range(1, 66))))
    with pytest.raises(InvalidArgument, match="257 rows to explain; send at most 256"):
        database.explain("facts", rows(*facts(257)), 5)
    with pytest.raises(InvalidArgument, match="k is 0"):
        database.explain("facts", row, 0)
    with pytest.raises(InvalidArgument, match=f"dimension {D + 1}"):
        database.explain("facts", Vectors(np.zeros((1, D + 1), np.int8), np.ones(1, np.float32)), 5)


def test_entries_are_found_in_every_record_of_a_tree(database: Database, load: Load) -> None:
    """Of 2,500 nodes and 7,500 slots: each head has a node to itself, and each entry's key is its own."""
    triples = facts(7500)
    load(triples)
    database.build("facts")
    asked = rows(triples[100])
    nodes: dict[int, str] = {}
    for start in range(0, 7500, 1500):
        ids = tuple(range(start + 1, start + 61))
        for one in told(database.explain("facts", asked, 5, about=About(ids))).verdicts:
            triple = triples[one.entry - 1]
            key = unit(f"the {triple.relation} of {triple.head}")
            assert one.logits[0] == pytest.approx(float(asked.floats()[0] @ key), abs=0.3)
            assert nodes.setdefault(one.node, triple.head) == triple.head
    assert len(nodes) == 100
    assert max(nodes) > 1024 > min(nodes)
