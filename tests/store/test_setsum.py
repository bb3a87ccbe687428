"""The setsum of a collection says which entries it holds, and nothing else."""

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from worlds import BARE, Stores, facts, vectors

from atlasdb import setsum
from atlasdb.engine.database import Database
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.types import CollectionConfig, Triple


def sum_of(database: Database, name: str) -> str:
    [one] = database.stats(name).collections
    return one.setsum


def test_it_does_not_depend_on_order_batches_builds_ids_or_the_kind_of_insert(stores: Stores) -> None:
    database, wanted = stores.open(), facts(300)
    order = np.random.default_rng(3).permutation(300)
    for name in ("once", "parts", "columns", "built"):
        database.create_collection(name, BARE)
    database.insert("once", wanted, *vectors(wanted)).result()
    for part in np.array_split(order, 7):
        some = [wanted[i] for i in part]
        database.insert("parts", some, *vectors(some)).result()
    columns = TripleColumns.of(triple.identity for triple in wanted)
    database.insert("columns", columns, *vectors(wanted)).result()
    more = facts(400)
    database.insert("built", more, *vectors(more)).result()
    database.build("built")
    database.delete("built", triples=more[300:]).result()
    database.build("built")
    assert len({sum_of(database, name) for name in ("once", "parts", "columns", "built")}) == 1
    assert sum_of(database, "once") != setsum.EMPTY.hex()


def test_deleting_all_leaves_the_sum_of_nothing_and_a_restart_leaves_it_as_it_was(stores: Stores) -> None:
    database = stores.open()
    database.create_collection("people", CollectionConfig(encoder="hash", inverse="all"))
    ids = database.insert("people", facts(50)).result().ids
    before = sum_of(database, "people")
    database = stores.open()
    assert sum_of(database, "people") == before
    database.delete("people", ids[:20]).result()
    assert sum_of(database, "people") != before
    database.insert("people", facts(50)).result()
    assert sum_of(database, "people") == before
    database.delete("people", triples=facts(50)).result()
    assert (sum_of(database, "people"), database.count("people")) == (setsum.EMPTY.hex(), 0)


def test_all_that_makes_an_entry_what_it_is_counts(stores: Stores) -> None:
    database = stores.open()
    one = Triple("head", "relation", "tail", "source", {"a": "1", "b": "2"})
    keys, values = vectors([one])
    other, _ = vectors([Triple("another head", "relation", "tail")])
    told = {
        "same": (one, keys, values),
        "metadata turned": (replace(one, metadata={"b": "2", "a": "1"}), keys, values),
        "head": (replace(one, head="heads"), keys, values),
        "cut elsewhere": (replace(one, head="headr", relation="elation"), keys, values),
        "source": (replace(one, source=""), keys, values),
        "metadata": (replace(one, metadata={"a": "2", "b": "2"}), keys, values),
        "key": (one, other, values),
        "value": (one, keys, other),
        "scale": (one, replace(keys, scales=keys.scales * 2), values),
        "both turned": (one, values, keys),
    }
    sums = {}
    for number, (what, (triple, key, value)) in enumerate(told.items()):
        database.create_collection(f"c{number}", BARE)
        database.insert(f"c{number}", [triple], key, value).result()
        sums[what] = sum_of(database, f"c{number}")
    assert sums["same"] == sums["metadata turned"]
    assert len(set(sums.values())) == len(sums) - 1


@given(st.lists(st.tuples(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1)), max_size=30))
def test_what_is_added_and_taken_away_in_any_order_leaves_the_rest(items: list[tuple[int, int]]) -> None:
    both = np.array(items, np.uint64).reshape(-1, 2)
    half = len(both) // 2
    whole = setsum.added(setsum.EMPTY, both)
    assert setsum.less(whole, both[half:]) == setsum.added(setsum.EMPTY, both[:half][::-1])
    assert setsum.less(whole, both) == setsum.EMPTY
