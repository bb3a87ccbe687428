"""Postings: the entry keys under one INTER node, in segments.

    (generation, node, 0)          what the build wrote
    (generation, node, entry id)   deltas: what commits added since, the first id first

A small delta is rewritten longer until it holds DELTA_ENTRIES; so many small inserts leave few segments. The entry ids
of a node's deltas rise with the segments.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np

from atlasdb import format as fmt
from atlasdb.store.environment import Tables, Txn
from atlasdb.tree.descend import PostingView
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Ids, Vectors

DELTA_ENTRIES = 64
"""A delta below this is extended in place by the next commit."""
LARGE_BYTES = 1 << 16
"""A segment from this size on is lent to a fetch; below, a copy costs less than looking at it by itself."""
TOGETHER_BYTES = 1 << 20
"""So much is copied together."""
SEGMENT_ENTRIES = 1024
"""Most entries in one segment: at D = 384 some 400 KiB."""

Record = tuple[bytes, memoryview]


@dataclass(frozen=True, slots=True)
class Placed:
    """Entries on their way into postings: `nodes` u32 (N,), the rest as in a posting."""

    nodes: fmt.U32s
    ids: Ids
    value_ids: Ids
    keys: Vectors

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, positions: Any) -> "Placed":
        """Some of them."""
        return Placed(self.nodes[positions], self.ids[positions], self.value_ids[positions], self.keys.take(positions))

    @staticmethod
    def joined(parts: list["Placed"]) -> "Placed":
        """All of several, in order; at least one."""
        keys = Vectors(
            np.concatenate([part.keys.data for part in parts]), np.concatenate([part.keys.scales for part in parts])
        )
        nodes, ids, value_ids = (
            np.concatenate([getattr(part, column) for part in parts]) for column in ("nodes", "ids", "value_ids")
        )
        return Placed(nodes, ids, value_ids, keys)


def by_node(placed: Placed) -> Iterator[tuple[int, Placed]]:
    """(node, its entries in order) for each node, rising."""
    if not len(placed):
        return
    ordered = placed.take(np.argsort(placed.nodes, kind="stable"))
    cuts = np.flatnonzero(np.diff(ordered.nodes)) + 1
    bounds = [0, *cuts.tolist(), len(ordered)]
    for start, stop in pairwise(bounds):
        yield int(ordered.nodes[start]), ordered.take(slice(start, stop))


def of_nodes(txn: Txn, tables: Tables, generation: Generation, nodes: Iterable[int]) -> Iterator[Record]:
    """(key, record) of all segments of these nodes, where they lie; unchecked."""
    with txn.cursor(tables.postings) as cursor:
        for node in nodes:
            prefix = fmt.POSTING_KEY.pack(generation, node, 0)[:8]
            more = cursor.set_range(prefix)
            while more and (key := bytes(cursor.key())).startswith(prefix):
                yield key, cursor.value()
                more = cursor.next()


def of_generation(txn: Txn, tables: Tables, generation: Generation) -> Iterator[Record]:
    """(key, record) of every segment, where it lies; unchecked."""
    prefix = fmt.POSTING_KEY.pack(generation, 0, 0)[:4]
    with txn.cursor(tables.postings) as cursor:
        more = cursor.set_range(prefix)
        while more and (key := bytes(cursor.key())).startswith(prefix):
            yield key, cursor.value()
            more = cursor.next()


def views(segments: Iterable[Record]) -> Iterator[PostingView]:
    """Segments opened and checked: large ones where they lie, small ones copied together."""
    small: list[Record] = []
    size = 0
    for segment in segments:
        if len(segment[1]) >= LARGE_BYTES:
            yield PostingView(*fmt.open_postings([segment]))
            continue
        small.append(segment)
        size += len(segment[1])
        if size >= TOGETHER_BYTES:
            yield PostingView(*fmt.open_postings(small))
            small, size = [], 0
    if small:
        yield PostingView(*fmt.open_postings(small))


def write_built(txn: Txn, tables: Tables, generation: Generation, placed: Placed) -> None:
    """The built postings of whole nodes; a very large one is continued in further segments."""
    for node, entries in by_node(placed):
        _write(txn, tables, generation, node, entries, first_segment=0)


def append(txn: Txn, tables: Tables, generation: Generation, placed: Placed) -> None:
    """Add entries to the deltas of their nodes. Their ids are above all that the nodes' deltas hold."""
    for node, entries in by_node(placed):
        last = _last_delta(txn, tables, generation, node)
        if last is not None and len(last) + len(entries) <= DELTA_ENTRIES:
            entries = Placed.joined([last, entries])
        _write(txn, tables, generation, node, entries, first_segment=int(entries.ids[0]))


def _write(txn: Txn, tables: Tables, generation: Generation, node: int, entries: Placed, first_segment: int) -> None:
    for start in range(0, len(entries), SEGMENT_ENTRIES):
        part = entries.take(slice(start, start + SEGMENT_ENTRIES)) if len(entries) > SEGMENT_ENTRIES else entries
        key = fmt.POSTING_KEY.pack(generation, node, int(part.ids[0]) if start else first_segment)
        txn.put(key, fmt.seal_posting(key, part.ids, part.value_ids, part.keys), db=tables.postings)


def _last_delta(txn: Txn, tables: Tables, generation: Generation, node: int) -> Placed | None:
    """The node's last segment, copied, if it is a sound delta below DELTA_ENTRIES."""
    with txn.cursor(tables.postings) as cursor:
        if not (cursor.prev() if cursor.set_range(fmt.POSTING_KEY.pack(generation, node + 1, 0)) else cursor.last()):
            return None
        key, record = bytes(cursor.key()), cursor.value()
        *where, segment = fmt.POSTING_KEY.unpack(key)
        if where != [generation, node] or segment == 0 or fmt.posting_count(record) >= DELTA_ENTRIES:
            return None
        try:
            ids, value_ids, keys = fmt.open_postings([(key, record)])
        except DataLoss:
            return None
        copied = Vectors(keys.data.copy(), keys.scales.copy())
        return Placed(np.full(len(ids), node, np.uint32), ids.copy(), value_ids.copy(), copied)


def clear(txn: Txn, tables: Tables, keep: Generation, limit: int) -> int:
    """Delete up to `limit` postings and nodes of all generations but `keep`; how many."""
    cleared = 0
    for db in (tables.postings, tables.nodes):
        with txn.cursor(db) as cursor:
            more = cursor.first()
            while more and cleared < limit:
                generation = int.from_bytes(cursor.key()[:4], "big")
                if generation == keep:
                    more = cursor.set_range((keep + 1).to_bytes(4, "big"))
                else:
                    cursor.delete()
                    cleared += 1
                    more = len(cursor.key()) > 0
    return cleared
