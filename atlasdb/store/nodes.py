"""The table of nodes: a tree's ROOTs and INTER nodes, in records of 1 << NODES_SHIFT that descents read where they
lie."""

from collections.abc import Iterator

import numpy as np

from atlasdb import format as fmt
from atlasdb.format import Level, NodeColumns
from atlasdb.store.environment import Tables, Txn
from atlasdb.tree.codes import encoded
from atlasdb.tree.image import TreePlan
from atlasdb_contract.ids import Generation

RECORD_NODES = 1 << fmt.NODES_SHIFT

Record = tuple[bytes, memoryview]


def of_level(txn: Txn, tables: Tables, generation: Generation, level: Level) -> Iterator[Record]:
    """(key, record) of one level, where they lie; unchecked."""
    prefix = fmt.NODE_KEY.pack(generation, level, 0)[:5]
    with txn.cursor(tables.nodes) as cursor:
        more = cursor.set_range(prefix)
        while more and (key := bytes(cursor.key())).startswith(prefix):
            yield key, cursor.value()
            more = cursor.next()


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
    txn.put(key, fmt.seal_nodes(key, part), db=tables.nodes)
