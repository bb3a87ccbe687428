"""The table of nodes: a tree's ROOTs, residuals and INTER nodes, in records that descents read where they lie, and in
which of its slots each entry is."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.format import Level
from atlasdb.store.opened import Tables, Txn
from atlasdb.store.records import Record, records_from
from atlasdb.tree.image import TreePlan
from atlasdb.tree.summary import Summary
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Vectors

RECORD_NODES = 1 << matrices.NODES_SHIFT


def of_level(txn: Txn, tables: Tables, generation: Generation, level: Level) -> Iterator[Record]:
    """The records of one level."""
    key = fmt.NODE_KEY.pack(generation, level, 0)
    return records_from(txn, tables.nodes, key, prefix=key[:5])


def write_directions(txn: Txn, tables: Tables, generation: Generation, planned: TreePlan) -> None:
    """A plan's ROOTs, each with its first INTER node, and its residuals."""
    residuals = planned.residuals, np.zeros(len(planned.residuals), np.int64)
    for level, (vectors, firsts) in (
        (Level.ROOT, (planned.roots, planned.root_starts[:-1])),
        (Level.RESIDUAL, residuals),
    ):
        for first in range(0, len(vectors), RECORD_NODES):
            part = slice(first, first + RECORD_NODES)
            key = fmt.NODE_KEY.pack(generation, level, first)
            txn.put(key, matrices.seal_vectors(key, vectors.take(part), firsts[part]), db=tables.nodes)


def directions(
    txn: Txn, tables: Tables, generation: Generation, level: Level, dimension: int
) -> tuple[Vectors, npt.NDArray[np.int64]]:
    """The ROOTs and their first INTER nodes, or the residuals, copied. DataLoss where there are none, or damaged
    ones."""
    parts = [matrices.open_vectors(dimension, *item) for item in of_level(txn, tables, generation, level)]
    if not parts:
        raise DataLoss(f"generation {generation} has no {level.name}s; `atlasdb verify` lists all damage")
    data, scales = (np.concatenate(some) for some in zip(*((v.data, v.scales) for v, _ in parts), strict=True))
    return Vectors(data, scales), np.concatenate([firsts for _, firsts in parts])


def write(
    txn: Txn,
    tables: Tables,
    generation: Generation,
    first: int,
    rows: npt.NDArray[np.void],
    vectors: npt.NDArray[np.int8],
) -> None:
    """One record: INTER nodes, at most RECORD_NODES, from `first` on, a multiple of that."""
    key = fmt.NODE_KEY.pack(generation, Level.INTER, first)
    txn.put(key, matrices.seal_nodes(key, rows, vectors), db=tables.nodes)


def write_summary(txn: Txn, tables: Tables, generation: Generation, summary: Summary) -> None:
    """What stats tell of a tree."""
    key = fmt.NODE_KEY.pack(generation, Level.SUMMARY, 0)
    content = summary.heads, summary.sizes, summary.largest, summary.least.astype("<u8").tobytes()
    txn.put(key, fmt.seal_map(key, content), db=tables.nodes)


def summary(txn: Txn, tables: Tables, generation: Generation) -> Summary | None:
    """What was written; None for a tree that was made before summaries were. DataLoss where it is damaged."""
    key = fmt.NODE_KEY.pack(generation, Level.SUMMARY, 0)
    record = txn.get(key, db=tables.nodes)
    if record is None:
        return None
    heads, sizes, largest, least = fmt.open_map("nodes", key, record)
    return Summary(heads, tuple(sizes), largest, np.frombuffer(least, "<u8"))


NOWHERE = np.uint32((1 << 32) - 1)
"""In a record of places: this entry is in no slot of the tree."""
PLACES = 1 << matrices.PLACES_SHIFT


def write_places(txn: Txn, tables: Tables, generation: Generation, part: int, slots: npt.NDArray[np.uint32]) -> None:
    """Where the entries from part * PLACES beyond the tree's first id on are."""
    key = fmt.NODE_KEY.pack(generation, Level.PLACES, part)
    txn.put(key, matrices.seal_places(key, slots), db=tables.nodes)


def places(txn: Txn, tables: Tables, generation: Generation, part: int) -> npt.NDArray[np.uint32]:
    """What was written there; nothing where nothing was. A view."""
    key = fmt.NODE_KEY.pack(generation, Level.PLACES, part)
    record = txn.get(key, db=tables.nodes)
    return np.zeros(0, np.uint32) if record is None else matrices.open_places(key, record)
