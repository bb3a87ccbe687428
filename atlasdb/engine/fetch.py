"""Fetch and search: the entries that rows, or a text, are nearest to; design (4)."""

import time

import numpy as np

from atlasdb.engine.engine import Engine
from atlasdb.engine.insert import encode
from atlasdb.engine.read import EntryFields, entries_of
from atlasdb.store.view import View
from atlasdb.tree.descend import descend
from atlasdb.tree.rank import Found, scan
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import Beams, Block, FetchCost, Hit, Vectors

BLOCK_LIMIT = 4096
"""Most entries in a block, and most rows in a request."""
_SEARCH_SCALE = np.float32(16)
"""A text's row is made this long, so that the float32 probabilities it is ranked by differ where cosines do."""


def fetch(engine: Engine, name: str, rows: Vectors, k: int, beams: Beams, exact: bool, sequence: int) -> Block:
    """See Database.fetch."""
    started = time.perf_counter()
    _check_limit("k", k)
    _check_limit("the number of rows", len(rows))
    with engine.store.view(name) as view:
        found = _find(view, rows, k, beams, exact)
        values = view.values(found.value_ids)
        generation = view.record.generation
    c = found.cost
    spent = round(1e6 * (time.perf_counter() - started))
    cost = FetchCost(c.root_scored, c.inter_scored, c.postings_read, c.entries_scored, c.bytes_read, spent)
    return Block(found.ids, found.keys, values, found.scores, generation, cost, sequence)


def _check_limit(what: str, number: int) -> None:
    if not 1 <= number <= BLOCK_LIMIT:
        raise InvalidArgument(f"{what} is {number}; it goes from 1 to {BLOCK_LIMIT}")


def _find(view: View, rows: Vectors, k: int, beams: Beams, exact: bool) -> Found:
    record = view.record
    if rows.dimension != record.dimension:
        raise InvalidArgument(
            f"the rows have dimension {rows.dimension}; the collection {record.name!r} has dimension {record.dimension}"
        )
    if exact:
        return scan(view.forest(), rows, k)
    return descend(view.forest(), rows, k, beams)


def search(engine: Engine, name: str, text: str, k: int, exact: bool) -> list[Hit]:
    """See Database.search."""
    _check_limit("k", k)
    vector = encode(engine, name, [text])
    rows = Vectors(vector.data, vector.scales * _SEARCH_SCALE)
    with engine.store.view(name) as view:
        found = _find(view, rows, k, Beams(), exact)
        entries = {
            entry.id: entry for entry in entries_of(view, list(view.entries(found.ids)), EntryFields(texts=True))
        }
    keys, wanted = found.keys.floats(), vector.floats()[0]
    lengths = np.linalg.norm(keys, axis=1) * np.linalg.norm(wanted)
    cosines = keys @ wanted / np.maximum(lengths, np.finfo(np.float32).tiny)
    order = np.argsort(-cosines, kind="stable")
    return [Hit(entries[number], float(cosines[i])) for i in order if (number := found.ids[i].item()) in entries]
