"""The check of what leads to entries: the index and the trees of a collection. Damage is told in sentences."""

from collections.abc import Callable

import numpy as np

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.format import Level
from atlasdb.store import nodes, trees
from atlasdb.store.index import Space
from atlasdb.store.registry import TreeRecord
from atlasdb.store.view import View
from atlasdb.tree.check import problems
from atlasdb_contract.errors import DataLoss


def index_damage(view: View, key: bytes, record: memoryview) -> list[str]:
    """Of a record of the index: it is sorted, of ids that were given."""
    space, kind, number = fmt.INDEX_KEY.unpack(key)
    try:
        fmt.check("index", key, record)
    except DataLoss as error:
        return [str(error)]
    if kind == fmt.IndexKind.SWEEP:
        return []
    hashes, ids = fmt.open_pairs(record)
    what = f"{view.record.name}: a record of the index of {Space(space).name}"
    found = []
    if (hashes[1:] < hashes[:-1]).any() or (kind == fmt.IndexKind.LEAF and len(hashes) and hashes[0] < number):
        found.append(f"{what} is out of order")
    limit = view.record.next_entry if space == Space.TRIPLES else view.record.next_value
    if (ids == 0).any() or (ids >= limit).any():
        found.append(f"{what} leads to what was never given")
    return found


def tree_damage(view: View, tree: TreeRecord, doubt: Callable[[DataLoss], None]) -> tuple[list[str], int]:
    """Of a tree: every node is reached, and nodes divide the slots; with the bytes of nodes that were read. `doubt` is
    told of those that are damaged."""
    dimension, parts, bad, read = view.record.dimension, [], False, 0
    for key, record in nodes.of_level(view.txn, view.tables, tree.generation, Level.INTER):
        read += len(record)
        try:
            parts.append(matrices.open_nodes(dimension, key, record)[0])
        except DataLoss as error:
            doubt(error)
            bad = True
    try:
        for part in range((tree.last - tree.first >> matrices.PLACES_SHIFT) + 1):
            nodes.places(view.txn, view.tables, tree.generation, part)
        nodes.summary(view.txn, view.tables, tree.generation)
        image, *_ = trees.read(view.txn, view.tables, tree, dimension)
    except DataLoss as error:
        return [str(error)], read
    if bad:
        return [], read
    firsts, counts, links = (np.concatenate([part[name] for part in parts]) for name in ("first", "count", "links"))
    starts = np.append(firsts.astype(np.int64), int(firsts[-1]) + int(counts[-1]))
    told = problems(image.root_starts, links, starts, tree.slots)
    if (np.diff(starts) != counts).any():
        told.append("a node's slots do not end where the next one's begin")
    return [f"{view.record.name}: generation {tree.generation}: {what}" for what in told], read
