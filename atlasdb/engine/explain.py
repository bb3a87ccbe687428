"""A fetch explained: its block, how it came about, and what became of entries that are asked about."""

from collections.abc import Sequence

import numpy as np

from atlasdb.engine.engine import Engine
from atlasdb.engine.fetch import check_dimension, check_limits
from atlasdb.engine.quarantine import answered, values_of
from atlasdb.format import entry_text
from atlasdb.store.identity import Facts
from atlasdb.store.view import View
from atlasdb.tree.explain import Clock, explain
from atlasdb.tree.verdicts import Place, verdict
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.ids import EntryId
from atlasdb_contract.types import About, Beams, Block, Explanation, Fate, FetchCost, Triple, Vectors, Verdict

ABOUT_LIMIT = 64
"""Most entries that one explanation speaks of."""
ROWS_LIMIT = 256
"""Most rows of an explained fetch: what every walk met is held until the verdicts are known."""


def explained(engine: Engine, name: str, rows: Vectors, k: int, beams: Beams, about: About, sequence: int) -> Block:
    """See Database.explain."""
    check_limits(rows, k)
    if len(rows) > ROWS_LIMIT:
        raise InvalidArgument(f"{len(rows)} rows to explain; send at most {ROWS_LIMIT}, such as one token's")
    if (asked := len(about.ids) + len(about.triples)) > ABOUT_LIMIT:
        raise InvalidArgument(f"{asked} entries to explain; ask for at most {ABOUT_LIMIT} at a time")
    return answered(engine, name, lambda view: _explained(view, rows, k, beams, about, sequence))


def _explained(view: View, rows: Vectors, k: int, beams: Beams, about: About, sequence: int) -> Block:
    clock = Clock()
    check_dimension(view, rows)
    with clock.stage("view"):
        woods = view.woods()
    forest, generations = woods.forest, [one.generation for one in woods.trees]
    result = explain(forest, rows, k, beams, generations, clock)
    found = result.found
    with clock.stage("values"):
        values = values_of(view, found.value_ids)
    wanted = [*about.ids, *_ids_of(view, about.triples)]
    places = _places(view, wanted)
    verdicts = tuple(
        verdict(forest, rows, result, places[entry], generations) if entry in places else _gone(view, entry)
        for entry in wanted
    )
    delta = result.candidates.compared - sum(tree.slots for tree in result.trees)
    amount = int(result.candidates.weights[: result.candidates.count].sum(dtype=np.float64))
    explanation = Explanation(result.trees, delta, amount, clock.stages, verdicts)
    c, spent = found.cost, sum(stage.microseconds for stage in clock.stages)
    cost = FetchCost(c.root_scored, c.inter_scored, c.postings_read, c.entries_scored, c.bytes_read, spent, woods.out)
    return Block(found.ids, found.keys, values, found.scores, view.record.generation, cost, sequence, explanation)


def _ids_of(view: View, triples: Sequence[Triple]) -> list[int]:
    """The entries of triples; 0: not there."""
    if not triples:
        return []
    texts = [entry_text(*triple.identity, "", {}) for triple in triples]
    ids: list[int] = view.lookup.triples(Facts.packed(texts, view.record.salt)).tolist()
    return ids


def _places(view: View, wanted: Sequence[int]) -> dict[int, Place]:
    """Where the slots of those are that are there."""
    ids = view.there(np.array([number for number in wanted if 0 < number < 1 << 64], np.uint64))
    places = {number: Place(EntryId(number)) for number in ids.tolist()}
    for tree, slots in enumerate(view.tree_slots(ids)):
        for i in np.flatnonzero(slots >= 0).tolist():
            places[ids[i].item()] = Place(EntryId(ids[i].item()), tree, int(slots[i]))
    return places


def _gone(view: View, entry: int) -> Verdict:
    """Of an entry that is not there."""
    fate = Fate.DELETED if 0 < entry < view.record.next_entry else Fate.ABSENT
    return Verdict(EntryId(entry), fate)
