"""The stored nodes of a generation's tree."""

import numpy as np

from atlasdb import format as fmt
from atlasdb.format import Level
from atlasdb.store.environment import Tables, Txn
from atlasdb.tree.image import Nodes, TreeImage
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Vectors

NODES_AT_ONCE = 64
"""Nodes in a record: few enough to be rewritten for one of them, many enough that a tree is read in a moment."""


def write(txn: Txn, tables: Tables, generation: Generation, level: Level, nodes: Nodes, start: int, stop: int) -> None:
    """The nodes start .. stop of one level; start is a multiple of NODES_AT_ONCE."""
    for first in range(start, min(stop, len(nodes)), NODES_AT_ONCE):
        key = fmt.NODE_KEY.pack(generation, level, first)
        here = slice(first, first + NODES_AT_ONCE)
        columns = fmt.NodeColumns(nodes.vectors.take(here), nodes.counts[here], nodes.parents[here], nodes.links[here])
        txn.put(key, fmt.seal_nodes(key, columns), db=tables.nodes)


def read(txn: Txn, tables: Tables, generation: Generation, dimension: int) -> TreeImage:
    """The tree of a generation. Generation 0 has none: it is flat."""
    if generation == 0:
        return TreeImage.flat(dimension)
    roots, inter, guides = (_level(txn, tables, generation, level, dimension) for level in Level)
    return TreeImage.of(generation, roots, inter, guides)


def _level(txn: Txn, tables: Tables, generation: Generation, level: Level, dimension: int) -> Nodes:
    found: list[fmt.NodeColumns] = []
    count = 0
    with txn.cursor(tables.nodes) as cursor:
        more = cursor.set_range(fmt.NODE_KEY.pack(generation, level, 0))
        while more and fmt.NODE_KEY.unpack(cursor.key()) == (generation, level, count):
            found.append(fmt.open_nodes(dimension, *cursor.item()))
            count += len(found[-1].entries)
            more = cursor.next()
        if more and fmt.NODE_KEY.unpack(cursor.key())[:2] == (generation, level):
            raise DataLoss(f"nodes from {count} on are missing at level {level.name} of generation {generation}")
    if not found:
        return Nodes.none(dimension)
    vectors = [part.vectors for part in found]
    keys = Vectors(np.concatenate([v.data for v in vectors]), np.concatenate([v.scales for v in vectors]))
    entries, parents, links = (np.concatenate([part[column] for part in found]) for column in (1, 2, 3))
    return Nodes(keys, entries, parents, links)
