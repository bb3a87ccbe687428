"""Fetch and search: the entries that rows, or a text, are nearest to; design (4)."""

import time

import numpy as np

from atlasdb.engine.engine import Engine
from atlasdb.engine.insert import encode
from atlasdb.engine.meters import Asked
from atlasdb.engine.quarantine import answered, values_of
from atlasdb.engine.read import EntryFields, entries_of
from atlasdb.store.trees import Woods
from atlasdb.store.view import View
from atlasdb.tree.descend import descend
from atlasdb.tree.rank import Found, scan
from atlasdb_contract.codec import text_row
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.ids import EntryId, Generation
from atlasdb_contract.types import Beams, Block, Entry, FetchCost, Hit, Vectors

BLOCK_LIMIT = 4096
"""Most entries in a block, and most rows in a request."""


def fetch(engine: Engine, name: str, rows: Vectors, k: int, beams: Beams, exact: bool, sequence: int) -> Block:
    """See Database.fetch."""
    started = time.perf_counter()
    check_limits(rows, k)

    def answer(view: View) -> tuple[Found, Vectors, Generation, int]:
        woods = view.woods()
        found = _find(view, woods, rows, k, beams, exact)
        return found, values_of(view, found.value_ids), view.record.generation, woods.out

    found, values, generation, out = answered(engine, name, answer)
    c = found.cost
    now = time.perf_counter()
    spent = round(1e6 * (now - started))
    if not exact:
        engine.meters.fetched(name, spent, now)
        if now >= engine.meters.due:
            engine.meters.sample(Asked(name, rows, k, beams))
    cost = FetchCost(c.root_scored, c.inter_scored, c.postings_read, c.entries_scored, c.bytes_read, spent, out)
    return Block(found.ids, found.keys, values, found.scores, generation, cost, sequence)


def check_limits(rows: Vectors, k: int) -> None:
    """InvalidArgument for more than a fetch may ask for, or nothing."""
    _check_limit("k", k)
    _check_limit("the number of rows", len(rows))


def _check_limit(what: str, number: int) -> None:
    if not 1 <= number <= BLOCK_LIMIT:
        raise InvalidArgument(f"{what} is {number}; it goes from 1 to {BLOCK_LIMIT}")


def _find(view: View, woods: Woods, rows: Vectors, k: int, beams: Beams, exact: bool) -> Found:
    check_dimension(view, rows)
    if exact:
        return scan(woods.forest, rows, k, view.doubted(woods))
    return descend(woods.forest, rows, k, beams)


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

    def answer(view: View) -> tuple[Found, dict[EntryId, Entry]]:
        found = _find(view, view.woods(), text_row(vector), k, Beams(), exact)
        read = entries_of(view, list(view.entries(found.ids)), EntryFields(texts=True))
        return found, {entry.id: entry for entry in read}

    found, entries = answered(engine, name, answer)
    keys, wanted = found.keys.floats(), vector.floats()[0]
    lengths = np.linalg.norm(keys, axis=1) * np.linalg.norm(wanted)
    cosines = keys @ wanted / np.maximum(lengths, np.finfo(np.float32).tiny)
    order = np.argsort(-cosines, kind="stable")
    return [Hit(entries[number], float(cosines[i])) for i in order if (number := found.ids[i].item()) in entries]
