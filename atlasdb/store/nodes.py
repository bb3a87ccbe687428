"""The stored nodes of a generation's tree."""

from atlasdb import format as fmt
from atlasdb.format import Level
from atlasdb.store.environment import Tables, Txn
from atlasdb.tree.image import Nodes, TreeImage
from atlasdb_contract.ids import Generation


def write(txn: Txn, tables: Tables, generation: Generation, level: Level, nodes: Nodes, start: int, stop: int) -> None:
    """The nodes start .. stop of one level."""
    here = slice(start, min(stop, len(nodes)))
    keys = [fmt.NODE_KEY.pack(generation, level, number) for number in range(here.start, here.stop)]
    columns = fmt.NodeColumns(nodes.vectors.take(here), nodes.counts[here], nodes.parents[here], nodes.links[here])
    with txn.cursor(tables.nodes) as cursor:
        cursor.putmulti(fmt.node_records(keys, columns))


def read(txn: Txn, tables: Tables, generation: Generation, dimension: int) -> TreeImage:
    """The tree of a generation. Generation 0 has none: it is flat."""
    if generation == 0:
        return TreeImage.flat(dimension)
    roots, inter, guides = (_level(txn, tables, generation, level, dimension) for level in Level)
    return TreeImage.of(generation, roots, inter, guides)


def _level(txn: Txn, tables: Tables, generation: Generation, level: Level, dimension: int) -> Nodes:
    found: list[tuple[memoryview, memoryview]] = []
    with txn.cursor(tables.nodes) as cursor:
        more = cursor.set_range(fmt.NODE_KEY.pack(generation, level, 0))
        while more and fmt.NODE_KEY.unpack(cursor.key())[:2] == (generation, level):
            found.append(cursor.item())
            more = cursor.next()
    return Nodes(*fmt.open_nodes(dimension, found)) if found else Nodes.none(dimension)
