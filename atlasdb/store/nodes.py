"""The table of nodes: a tree's ROOTs and INTER nodes, in records that descents read where they lie, and in which of its
slots each entry is."""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.format import Level
from atlasdb.matrices import NodeColumns
from atlasdb.store.environment import Record, Tables, Txn, records_from
from atlasdb.tree.codes import encoded
from atlasdb.tree.image import TreePlan
from atlasdb_contract.ids import Generation

RECORD_NODES = 1 << matrices.NODES_SHIFT


def of_level(txn: Txn, tables: Tables, generation: Generation, level: Level) -> Iterator[Record]:
    """The records of one level."""
    key = fmt.NODE_KEY.pack(generation, level, 0)
    return records_from(txn, tables.nodes, key, prefix=key[:5])


def columns(planned: TreePlan, level: Level) -> NodeColumns:
    """A planned level as it is stored: a ROOT's links are its gates; it has no code and no slots."""
    if level is Level.ROOT:
        count = len(planned.roots)
        nothing = np.zeros((count, 0), np.uint64), np.zeros(count, np.float32), np.zeros(count + 1, np.uint64)
        return NodeColumns(planned.roots, *nothing, planned.gates)
    return NodeColumns(planned.nodes, *encoded(planned.nodes), planned.starts.astype(np.uint64), planned.links)


def write(txn: Txn, tables: Tables, generation: Generation, level: Level, nodes: NodeColumns, first: int) -> None:
    """One record: the nodes from `first`, a multiple of RECORD_NODES, on."""
    stop = min(first + RECORD_NODES, len(nodes.links))
    here = slice(first, stop)
    key = fmt.NODE_KEY.pack(generation, level, first)
    codes = nodes.codes[here], nodes.code_scales[here]
    part = NodeColumns(nodes.vectors.take(here), *codes, nodes.starts[first : stop + 1], nodes.links[here])
    txn.put(key, matrices.seal_nodes(key, part), db=tables.nodes)


NOWHERE = np.uint32((1 << 32) - 1)
"""In a record of places: this entry is in no slot of the tree."""
PLACES = 1 << matrices.PLACES_SHIFT


def write_places(txn: Txn, tables: Tables, generation: Generation, part: int, slots: npt.NDArray[np.uint32]) -> None:
    """Where the entries from part * PLACES beyond the tree's first id on are."""
    key = fmt.NODE_KEY.pack(generation, fmt.PLACES, part)
    txn.put(key, matrices.seal_places(key, slots), db=tables.nodes)


def places(txn: Txn, tables: Tables, generation: Generation, part: int) -> npt.NDArray[np.uint32]:
    """What was written there; nothing where nothing was. A view."""
    key = fmt.NODE_KEY.pack(generation, fmt.PLACES, part)
    record = txn.get(key, db=tables.nodes)
    return np.zeros(0, np.uint32) if record is None else matrices.open_places(key, record)
