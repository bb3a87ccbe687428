"""Between the nouns and the wire. Pure: no socket, no file.

Quantisation (design (3)): a vector x becomes int8 round(x / s) with s = max|x| / 127, so that the
error of a dot product with a unit vector stays below s * sqrt(D) / 2.
"""

from collections.abc import Iterable, Sequence

import numpy as np
import numpy.typing as npt

from atlasdb_contract import types as t
from atlasdb_contract.codec_explanation import explanation_from_proto, explanation_to_proto
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.ids import EntryId, Generation
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1 import retrieval_pb2 as rpb

MESSAGE_LIMIT = 16 << 20
"""Largest message either side accepts, in bytes."""
CHUNK_BYTES = 1 << 20
"""Where writers of streams cut, in bytes: far below the limit, so that one odd triple still fits."""
CHUNK_TRIPLES = 1024
"""Most triples in one InsertRequest."""
CHUNK_COLUMNS = 8192
"""Most triples in one InsertRequest that has them as columns."""
TEXT_LENGTH = np.float32(16)
"""A text's row is made this long, so that the float32 probabilities it is ranked by differ where cosines do."""
CACHED_BYTES = 1 << 18
"""Floats that are quantised together: few enough to stay near the processor."""
GRPC_OPTIONS: tuple[tuple[str, int], ...] = (
    ("grpc.max_receive_message_length", MESSAGE_LIMIT),
    ("grpc.max_send_message_length", MESSAGE_LIMIT),
)
"""Channel options that both sides set."""


def quantise(vectors: npt.NDArray[np.floating]) -> t.Vectors:
    """Float (N, D) to int8 with a scale each. A NaN or an infinity is an InvalidArgument naming its row."""
    vectors = np.asarray(vectors)
    if vectors.ndim != 2:
        raise InvalidArgument(f"vectors have the shape (N, D), not {vectors.shape}")
    data, scales = np.empty(vectors.shape, np.int8), np.empty(len(vectors), np.float32)
    step = max(1, CACHED_BYTES // (4 * max(1, vectors.shape[1])))
    for start in range(0, len(vectors), step):
        with np.errstate(over="ignore"):
            some = vectors[start : start + step].astype(np.float32)
        largest = np.maximum(some.max(axis=1, initial=0.0), -some.min(axis=1, initial=0.0))
        if not np.isfinite(largest).all():
            bad = start + int(np.argmin(np.isfinite(largest)))
            raise InvalidArgument(f"vector {bad} holds a NaN or an infinity")
        small = largest / np.float32(127)
        scales[start : start + step] = safe = np.where(small > np.finfo(np.float32).tiny, small, np.float32(1))
        some /= safe[:, None]
        data[start : start + step] = np.rint(some, out=some)
    return t.Vectors(data, scales)


def vectors_to_proto(vectors: t.Vectors) -> kpb.Vectors:
    """Copies once."""
    return kpb.Vectors(
        dimension=vectors.dimension,
        data=vectors.data.tobytes(),
        scales=vectors.scales.astype("<f4", copy=False).tobytes(),
    )


def vectors_from_proto(message: kpb.Vectors, what: str = "vectors") -> t.Vectors:
    """A view of the message's bytes. InvalidArgument where lengths do not fit each other."""
    count, rest = divmod(len(message.scales), 4)
    if rest or len(message.data) != count * message.dimension:
        raise InvalidArgument(
            f"{what}: {len(message.data)} bytes of data and {len(message.scales)} of scales "
            f"are not N x {message.dimension} int8 with N float32 scales"
        )
    scales = np.frombuffer(message.scales, "<f4")
    if not np.isfinite(scales).all():
        raise InvalidArgument(f"{what}: scale {int(np.argmin(np.isfinite(scales)))} is not finite")
    return t.Vectors(np.frombuffer(message.data, np.int8).reshape(count, message.dimension), scales)


def triple_to_proto(triple: t.Triple) -> kpb.Triple:
    """One triple."""
    return kpb.Triple(
        head=triple.head, relation=triple.relation, tail=triple.tail, source=triple.source, metadata=triple.metadata
    )


def triple_from_proto(message: kpb.Triple) -> t.Triple:
    """InvalidArgument for an empty head, relation or tail."""
    return t.Triple(message.head, message.relation, message.tail, message.source, dict(message.metadata))


def columns_to_proto(columns: TripleColumns) -> kpb.TripleColumns:
    """Triples as columns."""
    return kpb.TripleColumns(text=columns.text, lengths=columns.lengths.astype("<u4", copy=False).tobytes())


def columns_from_proto(message: kpb.TripleColumns) -> TripleColumns:
    """InvalidArgument where lengths and text do not fit each other, or a part is no UTF-8."""
    count, rest = divmod(len(message.lengths), 12)
    if rest:
        raise InvalidArgument(f"columns: {len(message.lengths)} bytes of lengths are not N x 3 u32")
    lengths = np.frombuffer(message.lengths, "<u4").reshape(count, 3)
    ends = lengths.sum(axis=1, dtype=np.int64).cumsum()
    if (int(ends[-1]) if count else 0) != len(message.text):
        told = int(ends[-1]) if count else 0
        raise InvalidArgument(f"columns: the lengths add up to {told}, the text has {len(message.text)} bytes")
    _check_text(message.text, lengths.astype(np.int64).ravel().cumsum())
    return TripleColumns(message.text, lengths)


def _check_text(text: bytes, ends: npt.NDArray[np.int64]) -> None:
    """Each part, which ends at ends[i], is UTF-8: the whole is, and no part begins within a character."""
    try:
        text.decode()
    except UnicodeDecodeError as error:
        part = int(np.searchsorted(ends, error.start, side="right"))
        raise InvalidArgument(f"columns: triple {part // 3} is no UTF-8 text") from None
    starts = ends[ends < len(text)]
    inside = (np.frombuffer(text, np.uint8)[starts] & 0xC0) == 0x80
    if inside.any():
        bad = int(np.searchsorted(ends, starts[np.argmax(inside)]))
        raise InvalidArgument(f"columns: triple {bad // 3} ends within a character") from None


def ids_to_bytes(ids: t.Ids) -> bytes:
    """u64 (N,)."""
    return ids.astype("<u8", copy=False).tobytes()


def ids_from_bytes(ids: bytes) -> t.Ids:
    """A view."""
    return np.frombuffer(ids, "<u8")


def config_to_proto(config: t.CollectionConfig) -> kpb.CollectionConfig:
    """A collection's config."""
    message = kpb.CollectionConfig(encoder=config.encoder, dimension=config.dimension, phrases=config.phrases)
    if config.inverse == "all":
        message.inverse = kpb.INVERSE_ALL
    elif config.inverse != "none":
        message.inverse = kpb.INVERSE_LISTED
        message.inverse_relations.extend(sorted(config.inverse))
    return message


def config_from_proto(message: kpb.CollectionConfig) -> t.CollectionConfig:
    """A collection's config; an empty encoder is the default one."""
    inverse = {kpb.INVERSE_NONE: "none", kpb.INVERSE_ALL: "all"}.get(message.inverse)
    default = t.CollectionConfig()
    return t.CollectionConfig(
        message.encoder or default.encoder,
        message.dimension,
        dict(message.phrases),
        inverse or frozenset(message.inverse_relations),  # type: ignore[arg-type]
    )


def collection_to_proto(collection: t.Collection) -> kpb.Collection:
    """A collection as listed."""
    return kpb.Collection(
        name=collection.name,
        config=config_to_proto(collection.config),
        entries=collection.entries,
        generation=collection.generation,
        created=collection.created,
        quota=quota_to_proto(collection.quota),
    )


def collection_from_proto(message: kpb.Collection) -> t.Collection:
    """A collection as listed."""
    return t.Collection(
        message.name,
        config_from_proto(message.config),
        message.entries,
        Generation(message.generation),
        message.created,
        quota_from_proto(message.quota),
    )


def quota_to_proto(quota: t.Quota) -> kpb.Quota:
    """A collection's quota."""
    return kpb.Quota(entries=quota.entries, bytes=quota.bytes)


def quota_from_proto(message: kpb.Quota) -> t.Quota:
    """A collection's quota. InvalidArgument for one out of range."""
    return t.Quota(int(message.entries), int(message.bytes))


def entry_to_proto(entry: t.Entry) -> kpb.Entry:
    """An entry without its vectors, which travel beside it."""
    return kpb.Entry(
        id=entry.id,
        triple=triple_to_proto(entry.triple),
        inverse=entry.inverse,
        key_text=entry.key_text,
        value_text=entry.value_text,
    )


def entries_to_vectors(entries: Sequence[t.Entry], which: str) -> t.Vectors | None:
    """The `key` or `value` vectors of entries, stacked; None when they were not asked for."""
    parts = [part for entry in entries if (part := getattr(entry, which)) is not None]
    if not parts:
        return None
    return t.Vectors(np.concatenate([p.data for p in parts]), np.concatenate([p.scales for p in parts]))


def entries_from_proto(reply: kpb.GetReply | kpb.ScanChunk) -> list[t.Entry]:
    """Entries with those vectors that came along."""
    keys = vectors_from_proto(reply.keys, "keys") if reply.HasField("keys") else None
    values = vectors_from_proto(reply.values, "values") if reply.HasField("values") else None

    def row(vectors: t.Vectors | None, i: int) -> t.Vectors | None:
        return None if vectors is None else t.Vectors(vectors.data[i : i + 1], vectors.scales[i : i + 1])

    return [
        t.Entry(
            EntryId(e.id),
            triple_from_proto(e.triple),
            e.inverse,
            e.key_text,
            e.value_text,
            row(keys, i),
            row(values, i),
        )
        for i, e in enumerate(reply.entries)
    ]


def block_to_proto(block: t.Block) -> rpb.Block:
    """The one copy out of the store's memory."""
    c = block.cost
    return rpb.Block(
        sequence=block.sequence,
        generation=block.generation,
        ids=ids_to_bytes(block.ids),
        keys=vectors_to_proto(block.keys),
        values=vectors_to_proto(block.values),
        scores=block.scores.astype("<f4", copy=False).tobytes(),
        cost=rpb.FetchCost(
            root_scored=c.root_scored,
            inter_scored=c.inter_scored,
            postings_read=c.postings_read,
            entries_scored=c.entries_scored,
            bytes_read=c.bytes_read,
            microseconds=c.microseconds,
            entries_out=c.entries_out,
        ),
        explanation=None if block.explanation is None else explanation_to_proto(block.explanation),
    )


def block_from_proto(message: rpb.Block) -> t.Block:
    """Views of the message's bytes. InvalidArgument where lengths do not fit each other."""
    c = message.cost
    count = len(message.ids) // 8
    if len(message.ids) != 8 * count or len(message.scores) != 4 * count:
        raise InvalidArgument(
            f"a block: {len(message.ids)} bytes of ids and {len(message.scores)} of scores "
            "are not N u64 with N float32 scores"
        )
    return t.Block(
        ids_from_bytes(message.ids),
        vectors_from_proto(message.keys, "keys"),
        vectors_from_proto(message.values, "values"),
        np.frombuffer(message.scores, "<f4"),
        Generation(message.generation),
        t.FetchCost(
            c.root_scored,
            c.inter_scored,
            c.postings_read,
            c.entries_scored,
            c.bytes_read,
            c.microseconds,
            c.entries_out,
        ),
        message.sequence,
        explanation_from_proto(message.explanation) if message.HasField("explanation") else None,
    )


def about_from_proto(request: rpb.FetchRequest) -> t.About:
    """Which entries a fetch wants to be told of. InvalidArgument for an empty head, relation or tail."""
    return t.About(tuple(request.about), tuple(map(triple_from_proto, request.about_triples)))


def text_row(vector: t.Vectors) -> t.Vectors:
    """A text's unit vector (1, D) as the row that the entries nearest to the text are looked for with."""
    return t.Vectors(vector.data, vector.scales * TEXT_LENGTH)


def chunked(triples: Iterable[t.Triple]) -> Iterable[list[t.Triple]]:
    """Cut a stream of triples below CHUNK_TRIPLES and about CHUNK_BYTES; a lone larger one is a chunk of its own."""
    chunk: list[t.Triple] = []
    size = 0
    for triple in triples:
        weight = 4 * (len(triple.head) + len(triple.relation) + len(triple.tail) + len(triple.source)) + 64
        weight += sum(4 * (len(k) + len(v)) + 16 for k, v in triple.metadata.items())
        if chunk and (len(chunk) == CHUNK_TRIPLES or size + weight > CHUNK_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(triple)
        size += weight
    if chunk:
        yield chunk
