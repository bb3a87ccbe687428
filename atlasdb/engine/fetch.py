"""Fetch and search: the entries that rows, or a text, are nearest to; design (4)."""

import time

import numpy as np

from atlasdb.engine.engine import Engine
from atlasdb.engine.insert import encode
from atlasdb.engine.read import EntryFields, entries_of
from atlasdb.store.view import View
from atlasdb.tree.descend import descend
from atlasdb.tree.rank import Found, scan
from atlasdb_contract.codec import text_row
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import Beams, Block, FetchCost, Hit, Vectors

BLOCK_LIMIT = 4096
"""Most entries in a block, and most rows in a request."""


def fetch(engine: Engine, name: str, rows: Vectors, k: int, beams: Beams, exact: bool, sequence: int) -> Block:
    """See Database.fetch."""
    started = time.perf_counter()
    check_limits(rows, k)
    with engine.store.view(name) as view:
        found = _find(view, rows, k, beams, exact)
        values = view.values(found.value_ids)
        generation = view.record.generation
    c = found.cost
    spent = round(1e6 * (time.perf_counter() - started))
    cost = FetchCost(c.root_scored, c.inter_scored, c.postings_read, c.entries_scored, c.bytes_read, spent)
    return Block(found.ids, found.keys, values, found.scores, generation, cost, sequence)


def check_limits(rows: Vectors, k: int) -> None:
    """InvalidArgument for more than a fetch may ask for, or nothing."""
    _check_limit("k", k)
    _check_limit("the number of rows", len(rows))


def _check_limit(what: str, number: int) -> None:
    if not 1 <= number <= BLOCK_LIMIT:
        raise InvalidArgument(f"{what} is {number}; it goes from 1 to {BLOCK_LIMIT}")


def _find(view: View, rows: Vectors, k: int, beams: Beams, exact: bool) -> Found:
    check_dimension(view, rows)
    if exact:
        return scan(view.forest(), rows, k)
    return descend(view.forest(), rows, k, beams)


def check_dimension(view: View, rows: Vectors) -> None:
    """InvalidArgument for rows that a collection's keys can't be compared with."""
    record = view.record
    if rows.dimension != record.dimension:
        raise InvalidArgument(
            f"the rows have dimension {rows.dimension}; the collection {record.name!r} has dimension {record.dimension}"
        )


def search(engine: Engine, name: str, text: str, k: int, exact: bool) -> list[Hit]:
    """See Database.search."""
    _check_limit("k", k)
    vector = encode(engine, name, [text])
    with engine.store.view(name) as view:
        found = _find(view, text_row(vector), k, Beams(), exact)
        entries = {
            entry.id: entry for entry in entries_of(view, list(view.entries(found.ids)), EntryFields(texts=True))
        }
    keys, wanted = found.keys.floats(), vector.floats()[0]
    lengths = np.linalg.norm(keys, axis=1) * np.linalg.norm(wanted)
    cosines = keys @ wanted / np.maximum(lengths, np.finfo(np.float32).tiny)
    order = np.argsort(-cosines, kind="stable")
    return [Hit(entries[number], float(cosines[i])) for i in order if (number := found.ids[i].item()) in entries]
