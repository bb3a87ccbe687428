from collections.abc import Callable

import numpy as np
import pytest
from worlds import D, HashEncoder, Stores, facts, unit, vectors

from atlasdb.engine.database import Database
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import InvalidArgument, NotFound
from atlasdb_contract.types import CollectionConfig, Triple, Vectors

Load = Callable[..., tuple[int, ...]]


def row(triple: Triple) -> Vectors:
    """A row that looks straight at a triple's key."""
    return quantise(20 * unit(f"the {triple.relation} of {triple.head}")[None])


@pytest.mark.parametrize("exact", [False, True])
@pytest.mark.parametrize("built", [False, True])
def test_the_entry_looked_at_comes_first_with_its_value(
    database: Database, load: Load, exact: bool, built: bool
) -> None:
    triples = facts(400)
    load(triples)
    if built:
        database.build("facts", seed=1)
    for number in (0, 57, 399):
        block = database.fetch("facts", row(triples[number]), 5, exact=exact, sequence=number)
        assert block.ids[0] == number + 1
        assert block.sequence == number
        assert block.generation == built
        assert len(block.ids) == len(block.keys) == len(block.values) == len(block.scores) == 5
        assert (np.diff(block.scores) <= 0).all()
        np.testing.assert_allclose(block.values.floats()[0], unit(triples[number].tail), atol=0.02)
        assert block.cost.microseconds > 0


@pytest.mark.parametrize("built", [False, True])
def test_a_fetch_after_an_ack_sees_it(database: Database, load: Load, built: bool) -> None:
    load(facts(300))
    if built:
        database.build("facts")
    new = Triple("somebody new", "relation", "tail")
    assert database.fetch("facts", row(new), 1).ids[0] != 301
    load([new])
    assert database.fetch("facts", row(new), 1).ids[0] == 301
    database.delete("facts", [301]).result()
    assert database.fetch("facts", row(new), 1).ids[0] != 301


def test_a_block_of_a_small_collection_is_all_of_it(database: Database, load: Load) -> None:
    assert len(database.fetch("facts", row(facts(1)[0]), 5).ids) == 0
    load(facts(3))
    assert sorted(database.fetch("facts", row(facts(1)[0]), 4096).ids.tolist()) == [1, 2, 3]
    database.build("facts")
    assert sorted(database.fetch("facts", row(facts(1)[0]), 4096).ids.tolist()) == [1, 2, 3]


def test_a_block_owns_its_memory(database: Database, load: Load) -> None:
    load(facts(50))
    block = database.fetch("facts", row(facts(1)[0]), 10)
    before = [array.copy() for array in (block.ids, block.keys.data, block.values.data, block.scores)]
    load(facts(500, start=50))
    for array, copy in zip((block.ids, block.keys.data, block.values.data, block.scores), before, strict=True):
        np.testing.assert_array_equal(array, copy)


@pytest.mark.parametrize(
    ("rows", "k", "message"),
    [
        (Vectors(np.zeros((1, D + 3), np.int8), np.ones(1, np.float32)), 5, f"dimension {D + 3}; .* dimension {D}"),
        (Vectors(np.zeros((1, D), np.int8), np.ones(1, np.float32)), 0, "k is 0; it goes from 1 to 4096"),
        (Vectors(np.zeros((1, D), np.int8), np.ones(1, np.float32)), 4097, "k is 4097"),
        (Vectors(np.zeros((0, D), np.int8), np.ones(0, np.float32)), 5, "the number of rows is 0"),
        (Vectors(np.zeros((4097, D), np.int8), np.ones(4097, np.float32)), 5, "the number of rows is 4097"),
    ],
)
def test_what_can_not_be_fetched_is_named(database: Database, rows: Vectors, k: int, message: str) -> None:
    with pytest.raises(InvalidArgument, match=message):
        database.fetch("facts", rows, k)


def test_an_unknown_collection_is_not_found(database: Database) -> None:
    with pytest.raises(NotFound, match="'other'; there are: facts"):
        database.fetch("other", row(facts(1)[0]), 3)


@pytest.mark.parametrize("exact", [False, True])
def test_search_ranks_by_cosine(stores: Stores, encoder: HashEncoder, exact: bool) -> None:
    database = stores.open()
    database.create_collection("texts", CollectionConfig(encoder="hash"))
    database.insert("texts", facts(60)).result()
    hits = database.search("texts", "the relation 1 of head 4", 3, exact)
    assert hits[0].entry.triple == facts(60)[13]
    assert hits[0].entry.key_text == "the relation 1 of head 4"
    assert hits[0].cosine == pytest.approx(1, abs=0.01)
    cosines = {entry.id: 0.0 for entry in []} | {hit.entry.id: hit.cosine for hit in hits}
    every = sorted(float(unit("the relation 1 of head 4") @ unit(f"the {t.relation} of {t.head}")) for t in facts(60))
    np.testing.assert_allclose(sorted(cosines.values()), every[-3:], atol=0.02)


def test_equal_texts_are_encoded_once(stores: Stores, encoder: HashEncoder) -> None:
    database = stores.open()
    database.create_collection("texts", CollectionConfig(encoder="hash"))
    got = database.encode("texts", ["a", "b", "a"])
    np.testing.assert_array_equal(got.data[0], got.data[2])
    assert encoder.asked == ["a", "b"]
    keys, _ = vectors(facts(1))
    assert got.dimension == keys.dimension
    with pytest.raises(InvalidArgument, match="text 1 is empty"):
        database.encode("texts", ["a", " "])
