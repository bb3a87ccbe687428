"""Inserts, purely: what was given becomes chunks under the message limit, and acks are matched to them."""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence, Sized
from typing import TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from atlasdb_contract import codec, errors
from atlasdb_contract import types as t
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.ids import EntryId
from atlasdb_contract.v1 import knowledge_pb2 as kpb

TripleLike: TypeAlias = t.Triple | Sequence[str]
"""A Triple, or head, relation and tail in a tuple or list."""
VectorsLike: TypeAlias = t.Vectors | npt.NDArray[np.floating]
"""Vectors, or float (N, D) to be quantised."""

ColumnBatch: TypeAlias = tuple[TripleColumns | Sequence[t.Triple], VectorsLike, VectorsLike]
"""Triples with their keys and values; those with a source or metadata can't be columns."""

S = TypeVar("S")

CHUNK_VECTOR_BYTES = 4 << 20
"""Bytes of key and value vectors in one InsertRequest."""
COLUMN_BYTES = 4 << 20
"""Bytes of texts in one InsertRequest of columns."""
WINDOW_CHUNKS = 16
"""Most chunks sent and not acked: enough for the encoder to have work while acks travel."""
WINDOW_BYTES = 32 << 20
"""Most bytes sent and not acked."""


def as_triples(items: Iterable[TripleLike]) -> Iterator[t.Triple]:
    """Triples of whatever was given. InvalidArgument names the position of a bad one, from 0."""
    for position, item in enumerate(items):
        if isinstance(item, t.Triple):
            yield item
            continue
        if not isinstance(item, (tuple, list)) or len(item) != 3:
            raise errors.InvalidArgument(f"triple {position} is not a Triple or (head, relation, tail): {item!r:.80}")
        for name, part in zip(("head", "relation", "tail"), item, strict=True):
            if not isinstance(part, str):
                raise errors.InvalidArgument(f"triple {position}: the {name} is {part!r:.80}, not text")
        try:
            yield t.Triple(*item)
        except errors.InvalidArgument as error:
            raise errors.InvalidArgument(f"triple {position}: {error}") from None


def insert_requests(
    collection: str, triples: Iterable[TripleLike], keys: VectorsLike | None, values: VectorsLike | None
) -> Iterator[kpb.InsertRequest]:
    """Chunks below the message limit, with rising sequences from 1; vectors are cut along with their triples."""
    if (keys is None) != (values is None):
        raise errors.InvalidArgument("keys and values come together: one of each per triple, or neither")
    for name, vectors in (("keys", keys), ("values", values)):
        if vectors is not None and isinstance(triples, Sized) and len(vectors) != len(triples):
            raise errors.InvalidArgument(f"there are {len(triples)} triples and {len(vectors)} {name}; each needs one")
    sequence = start = 0
    for chunk in codec.chunked(as_triples(triples)):
        for part in parts(chunk, _triples_a_chunk(keys)):
            sequence += 1
            request = kpb.InsertRequest(collection=collection, sequence=sequence)
            request.triples.extend(_triple_message(triple, start + i) for i, triple in enumerate(part))
            stop = start + len(part)
            if keys is not None and values is not None:
                request.keys.CopyFrom(codec.vectors_to_proto(_slice(keys, start, stop, "keys")))
                request.values.CopyFrom(codec.vectors_to_proto(_slice(values, start, stop, "values")))
            start = stop
            yield request
    if keys is not None and len(keys) != start:
        raise errors.InvalidArgument(f"there were {start} triples and {len(keys)} keys; each needs one")


def column_requests(collection: str, batches: Iterable[ColumnBatch]) -> Iterator[kpb.InsertRequest]:
    """Chunks of batches of columns with their vectors, each (N, D), with rising sequences from 1."""
    sequence = 0
    for columns, keys, values in batches:
        for name, vectors in (("keys", keys), ("values", values)):
            if len(vectors) != len(columns):
                raise errors.InvalidArgument(
                    f"there are {len(columns)} triples and {len(vectors)} {name}; each needs one"
                )
        if not isinstance(columns, TripleColumns):
            for request in insert_requests(collection, columns, keys, values):
                sequence += 1
                request.sequence = sequence
                yield request
            continue
        size = min(codec.CHUNK_COLUMNS, max(1, CHUNK_VECTOR_BYTES * 2 // _vector_bytes(keys)))
        for start, part in column_parts(columns, size):
            stop = start + len(part)
            sequence += 1
            request = kpb.InsertRequest(collection=collection, sequence=sequence)
            request.columns.CopyFrom(codec.columns_to_proto(part))
            request.keys.CopyFrom(codec.vectors_to_proto(_slice(keys, start, stop, "keys")))
            request.values.CopyFrom(codec.vectors_to_proto(_slice(values, start, stop, "values")))
            yield request


def column_parts(columns: TripleColumns, size: int) -> Iterator[tuple[int, TripleColumns]]:
    """Columns in parts of at most `size` triples and about COLUMN_BYTES, each with the place of its first triple."""
    bounds, start = columns.bounds, 0
    while start < len(columns):
        fitting = int(np.searchsorted(bounds, bounds[start] + COLUMN_BYTES, side="right")) - 1
        stop = min(len(columns), start + size, max(start + 1, fitting))
        yield start, TripleColumns(columns.text[bounds[start] : bounds[stop]], columns.lengths[start:stop])
        start = stop


def as_columns(triples: TripleColumns | Iterable[TripleLike]) -> TripleColumns:
    """Head, relation and tail of each. InvalidArgument names the position of a bad one, from 0."""
    if isinstance(triples, TripleColumns):
        return triples
    known = list(as_triples(triples))
    try:
        return TripleColumns.of(triple.identity for triple in known)
    except UnicodeEncodeError:
        for position, triple in enumerate(known):
            _triple_message(triple, position)
        raise


def _vector_bytes(vectors: VectorsLike) -> int:
    """Of a key and its value on the wire."""
    return 2 * (4 + (vectors.dimension if isinstance(vectors, t.Vectors) else int(vectors.shape[-1])))


class InsertWindow:
    """The chunks sent and not acked yet, oldest first."""

    def __init__(self) -> None:
        self._sent: deque[tuple[int, int, int]] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def full(self) -> bool:
        """True: wait for an ack before sending more."""
        return len(self._sent) >= WINDOW_CHUNKS or self._bytes >= WINDOW_BYTES

    def sent(self, request: kpb.InsertRequest) -> None:
        """Note a chunk as on its way."""
        size = request.ByteSize()
        triples = len(request.triples) or len(request.columns.lengths) // 12
        self._sent.append((request.sequence, triples, size))
        self._bytes += size

    def acked(self, message: kpb.InsertAck | None) -> t.InsertAck:
        """Read the oldest chunk's ack. Unavailable when the stream ended instead, Internal for another's ack."""
        if message is None:
            raise errors.Unavailable(
                f"the server ended the insert before {len(self._sent)} acks; send those chunks again"
            )
        sequence, triples, size = self._sent.popleft()
        self._bytes -= size
        if message.sequence != sequence or len(message.ids) != triples:
            raise errors.Internal(
                f"chunk {sequence} of {triples} triples was acked as {message.sequence} of {len(message.ids)}"
            )
        return t.InsertAck(
            sequence,
            tuple(EntryId(i) for i in message.ids),
            message.created,
            message.existing,
            tuple(t.Refusal(e.position, e.reason) for e in message.refused),
            message.memory_bytes,
        )


def _triple_message(triple: t.Triple, position: int) -> kpb.Triple:
    try:
        return codec.triple_to_proto(triple)
    except (TypeError, UnicodeEncodeError) as error:
        raise errors.InvalidArgument(f"triple {position} can't be sent as text: {error}") from error


def _triples_a_chunk(keys: VectorsLike | None) -> int:
    if keys is None:
        return codec.CHUNK_TRIPLES
    dimension = keys.dimension if isinstance(keys, t.Vectors) else keys.shape[-1]
    return max(1, CHUNK_VECTOR_BYTES // (2 * (dimension + 4)))


def _slice(vectors: VectorsLike, start: int, stop: int, what: str) -> t.Vectors:
    """Rows start..stop, quantised where they are floats; errors name rows of the whole."""
    if stop > len(vectors):
        raise errors.InvalidArgument(f"there are {len(vectors)} {what} for more triples; each needs one")
    if isinstance(vectors, t.Vectors):
        return vectors.take(slice(start, stop))
    try:
        return codec.quantise(vectors[start:stop])
    except errors.InvalidArgument as error:
        raise errors.InvalidArgument(f"{what} {start} to {stop - 1}: {error}") from None


def parts(items: Sequence[S], size: int) -> Iterator[Sequence[S]]:
    """`items` in pieces of at most `size`."""
    for start in range(0, len(items), size):
        yield items[start : start + size]
