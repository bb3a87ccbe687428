"""Entries read: by id, and in id order."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from atlasdb.engine.engine import Engine
from atlasdb.format import Flag, StoredEntry
from atlasdb.ingest.phrases import Phrasing
from atlasdb.store.view import View
from atlasdb_contract.codec import CHUNK_BYTES, CHUNK_TRIPLES
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import Entry, Triple, Vectors

READ_AT_ONCE = 4096
"""Entries that one view of a scan looks at, wanted or not."""


@dataclass(frozen=True, slots=True)
class EntryFields:
    """What a caller wants of an entry beyond its id, triple and direction: its texts, its key, its value."""

    texts: bool = False
    keys: bool = False
    values: bool = False


def get(engine: Engine, name: str, ids: Sequence[int], fields: EntryFields) -> list[Entry]:
    """See Database.get."""
    wanted = np.array([number for number in ids if 0 < number < 1 << 64], np.uint64)
    with engine.store.view(name) as view:
        return entries_of(view, list(view.entries(wanted)), fields)


def scan(
    engine: Engine, name: str, after: int, limit: int, fields: EntryFields, head: str, relation: str
) -> Iterator[list[Entry]]:
    """See Database.scan."""
    left = limit or 1 << 64
    more = True
    while more and left:
        with engine.store.view(name) as view:
            chunk, after, more = _chunk(view, after, left, fields, head, relation)
            entries = entries_of(view, chunk, fields)
        left -= len(entries)
        if entries:
            yield entries


def _chunk(
    view: View, after: int, left: int, fields: EntryFields, head: str, relation: str
) -> tuple[list[StoredEntry], int, bool]:
    """Wanted entries up to a chunk's size, the last id looked at, and whether there may be more."""
    chunk: list[StoredEntry] = []
    size = 0
    vector_bytes = (view.record.dimension + 4) * (fields.keys + fields.values)
    after = min(after, view.record.next_entry - 1)
    stop = min(after + READ_AT_ONCE, view.record.next_entry - 1)
    for entry in view.entries(np.arange(after + 1, stop + 1, dtype=np.uint64)):
        triple = entry.triple
        if (head and triple.head != head) or (relation and triple.relation != relation):
            continue
        chunk.append(entry)
        texts = len(triple.head) + len(triple.relation) + len(triple.tail)
        metadata = sum(len(key) + len(value) + 8 for key, value in triple.metadata.items())
        size += 64 + vector_bytes + 4 * (texts * (1 + fields.texts) + len(triple.source) + metadata)
        if len(chunk) == min(left, CHUNK_TRIPLES) or size > CHUNK_BYTES:
            return chunk, entry.id, True
    return chunk, stop, stop < view.record.next_entry - 1


def entries_of(view: View, stored: Sequence[StoredEntry], fields: EntryFields) -> list[Entry]:
    """Stored entries as callers see them."""
    config = view.record.config
    phrasing = Phrasing(config.phrases, config.inverse)
    ids, value_ids = (np.array([getattr(s, of) for s in stored], np.uint64) for of in ("id", "value_id"))
    keys = view.keys(ids) if fields.keys and stored else None
    values = view.values(value_ids) if fields.values and stored else None
    return [_entry(one, phrasing, fields, _at(keys, i), _at(values, i)) for i, one in enumerate(stored)]


def _at(vectors: Vectors | None, position: int) -> Vectors | None:
    return vectors.take(slice(position, position + 1)) if vectors is not None else None


def _entry(
    stored: StoredEntry, phrasing: Phrasing, fields: EntryFields, key: Vectors | None, value: Vectors | None
) -> Entry:
    triple, inverse = stored.triple, bool(stored.flags & Flag.INVERSE)
    key_text, value_text = texts_of(triple, inverse, phrasing) if fields.texts else ("", "")
    return Entry(stored.id, triple, inverse, key_text, value_text, key, value)


def texts_of(triple: Triple, inverse: bool, phrasing: Phrasing) -> tuple[str, str]:
    """An entry's key text and value text; empty for names that came with their vectors and can't be worded."""
    try:
        if inverse:
            return phrasing.inverse_key_text(triple.tail, triple.relation), phrasing.value_text(triple.head)
        return phrasing.key_text(triple.head, triple.relation), phrasing.value_text(triple.tail)
    except InvalidArgument:
        return "", ""
