"""The table of postings: slots (a key and the entries that have it) in records that fetches read where they lie.

    (generation, slot)   a tree's slots, node after node: records of 1 << SLOTS_SHIFT, the last one shorter
    (0, entry id)        the delta: entries that no tree has yet, a slot each, in id order without a gap; a short record
                         is rewritten longer

A record of a tree is written once and deleted once. Delta records whose ids all trees have are dead; `clear` takes
them.
"""

from collections.abc import Iterator

import numpy as np

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.store.opened import Tables, Txn
from atlasdb.store.records import Record, records_from
from atlasdb.tree.slots import Slots
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import Generation
from atlasdb_contract.types import Ids, Vectors

DELTA = Generation(0)
"""Generation of the delta's records."""
DELTA_SLOTS = 256
"""A delta record below this is extended by the next commit."""
RECORD_SLOTS = 1 << matrices.SLOTS_SHIFT


def of_tree(txn: Txn, tables: Tables, generation: Generation) -> Iterator[Record]:
    """A tree's records."""
    return _from(txn, tables, generation, 0)


def of_delta(txn: Txn, tables: Tables, folded: int) -> Iterator[Record]:
    """The records of the delta after the id `folded`."""
    return _from(txn, tables, DELTA, folded + 1)


def _from(txn: Txn, tables: Tables, generation: Generation, first: int) -> Iterator[Record]:
    key = fmt.POSTING_KEY.pack(generation, first)
    return records_from(txn, tables.postings, key, prefix=key[:4])


def opened(dimension: int, records: Iterator[Record]) -> Iterator[Slots]:
    """The slots of each record, checked: views of it."""
    return (matrices.open_slots(dimension, key, record) for key, record in records)


def read_tree(txn: Txn, tables: Tables, generation: Generation, first: int, dimension: int) -> Slots:
    """The record of a tree's slots that begins with `first`: views, checked. DataLoss where it is missing."""
    key = fmt.POSTING_KEY.pack(generation, first)
    record = txn.get(key, db=tables.postings)
    if record is None:
        raise fmt.damaged("postings", key, "is missing")
    return matrices.open_slots(dimension, key, record)


def write_tree(txn: Txn, tables: Tables, generation: Generation, first: int, slots: Slots) -> None:
    """A tree's slots from `first`, a multiple of RECORD_SLOTS, on."""
    for start in range(0, len(slots), RECORD_SLOTS):
        _put(txn, tables, generation, first + start, slots.take(slice(start, start + RECORD_SLOTS)))


def append(txn: Txn, tables: Tables, folded: int, slots: Slots) -> None:
    """Add to the delta: a slot for each entry, with ids that follow the last one given."""
    last = _last_short(txn, tables, folded, slots.keys.dimension)
    if last is not None:
        slots = Slots.joined([last, slots])
    for start in range(0, len(slots), RECORD_SLOTS):
        part = slots.take(slice(start, start + RECORD_SLOTS)) if len(slots) > RECORD_SLOTS else slots
        _put(txn, tables, DELTA, int(part.ids[0]), part)


def cut_delta(txn: Txn, tables: Tables, dimension: int, folded: int) -> None:
    """Let the delta begin after `folded`, an entry that it holds or held: the record that spans the cut is divided."""
    with txn.cursor(tables.postings) as cursor:
        if not (cursor.set_range(fmt.POSTING_KEY.pack(DELTA, folded + 1)) or cursor.last()):
            return
        if bytes(cursor.key()) >= fmt.POSTING_KEY.pack(DELTA, folded + 1) and not cursor.prev():
            return
        key, record = bytes(cursor.key()), cursor.value()
        if matrices.last_slot_id(dimension, key, record) <= folded:
            return
        slots = matrices.open_slots(dimension, key, record)
        rest = slots.take(slice(int(np.searchsorted(slots.ids, np.uint64(folded), side="right")), None))
    _put(txn, tables, DELTA, folded + 1, rest)


def _put(txn: Txn, tables: Tables, generation: Generation, first: int, slots: Slots) -> None:
    key = fmt.POSTING_KEY.pack(generation, first)
    txn.put(key, matrices.seal_slots(key, slots), db=tables.postings)


def _last_short(txn: Txn, tables: Tables, folded: int, dimension: int) -> Slots | None:
    """The delta's last record, copied, if it may be extended."""
    with txn.cursor(tables.postings) as cursor:
        if not (cursor.prev() if cursor.set_range(fmt.POSTING_KEY.pack(DELTA + 1, 0)) else cursor.last()):
            return None
        key, record = bytes(cursor.key()), cursor.value()
        generation, first = fmt.POSTING_KEY.unpack(key)
        enough = matrices.slots_size(dimension, DELTA_SLOTS, DELTA_SLOTS)
        if generation != DELTA or first <= folded or len(record) >= enough:
            return None
        try:
            return matrices.open_slots(dimension, key, record).take(slice(None))
        except DataLoss:
            return None


def keys_of_delta(txn: Txn, tables: Tables, dimension: int, folded: int, ids: Ids) -> Iterator[tuple[Ids, Vectors]]:
    """The keys of those of `ids` (sorted) that are in the delta: some ids, and their keys, at a time."""
    with txn.cursor(tables.postings) as cursor:
        while len(ids):
            if not cursor.set_range(fmt.POSTING_KEY.pack(DELTA, int(ids[0]) + 1)):
                more = cursor.last()
            else:
                more = cursor.prev()
            key = bytes(cursor.key()) if more else b""
            if key < fmt.POSTING_KEY.pack(DELTA, folded + 1) or key >= fmt.POSTING_KEY.pack(DELTA + 1, 0):
                return
            slots = matrices.open_slots(dimension, key, cursor.value())
            here = ids[: np.searchsorted(ids, slots.ids[-1], side="right")]
            if not len(here):
                return
            yield here, slots.keys.take((here - slots.ids[0]).astype(np.int64))
            ids = ids[len(here) :]


def clear(txn: Txn, tables: Tables, keep: frozenset[int], folded: int, limit: int) -> int:
    """Delete up to `limit` records of trees that are not in `keep`, and of the delta up to `folded`; how many."""
    cleared = 0
    for db in (tables.postings, tables.nodes):
        with txn.cursor(db) as cursor:
            more = cursor.first()
            while more and cleared < limit:
                generation, first = fmt.POSTING_KEY.unpack(bytes(cursor.key()[:12]).ljust(12, b"\0"))
                if generation == DELTA and first > folded:
                    more = cursor.set_range(fmt.POSTING_KEY.pack(DELTA + 1, 0))
                elif generation in keep:
                    more = cursor.set_range((generation + 1).to_bytes(4, "big"))
                else:
                    more = cursor.delete()
                    cleared += 1
    return cleared
