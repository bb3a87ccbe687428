"""The pure core of the client: builds requests, reads replies, names errors. No socket, no thread.

A `Call` says all there is to say of one RPC; the sync client (and its aio twin) only carry it out.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any, Generic, NamedTuple, TypeVar

from atlasdb_client.inserting import TripleLike, VectorsLike, as_columns, as_triples, column_parts, parts
from atlasdb_client.stats import (
    CollectionStats,
    Latency,
    Recall,
    RepairProgress,
    StoreStats,
)
from atlasdb_contract import codec, errors
from atlasdb_contract import types as t
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.ids import Generation
from atlasdb_contract.upkeep import CompactProgress, Held, Snapshot, SnapshotProgress
from atlasdb_contract.v1 import admin_pb2 as apb
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1 import retrieval_pb2 as rpb

R = TypeVar("R")

CHANNEL_OPTIONS: tuple[tuple[str, int], ...] = (
    *codec.GRPC_OPTIONS,
    ("grpc.enable_http_proxy", 0),
    ("grpc.use_local_subchannel_pool", 1),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 1000),
)
"""No web proxy before a database; a connection for each client; a restarted server is found within a second."""

GET_IDS = 1024
"""Ids in one GetRequest: the reply, vectors included, stays under the message limit."""
DELETE_IDS = 4096
"""Ids in one DeleteRequest: one writer job of bounded size."""


@dataclass(frozen=True, slots=True)
class Call(Generic[R]):
    """One RPC: its service and method, the request, and how a reply message is read."""

    service: str
    method: str
    request: Any
    read: Callable[[Any], R]
    patient: bool = False
    """True: the work may take longer than a client's timeout."""


class Deleted(NamedTuple):
    """What a delete did: entries deleted; ids and triples that were not there."""

    deleted: int
    missing: int


# Errors -----------------------------------------------------------------------------------------

_TRANSPORT = ("failed to connect", "socket closed", "connection", "goaway", "broken pipe", "transport", "ping timeout")
"""How gRPC itself, not the server, words an UNAVAILABLE."""


_RESOLVER = ("dns resolution", "errors resolving", "lookup")
"""The same, for a host that has no address."""


def error_for(status: str, details: str | None, target: str) -> errors.AtlasError:
    """The error of a gRPC status name ("NOT_FOUND") and its details: the one place where they are mapped."""
    said = " ".join((details or "").split())
    if status == "UNAVAILABLE":
        if any(word in said.lower() for word in _RESOLVER):
            return errors.Unavailable(f"the host of {target} is not known; check the address")
        if not said or any(word in said.lower() for word in _TRANSPORT):
            return errors.Unavailable(
                f"no atlasdb server answers at {target}; start one with 'atlasdb serve --data DIR', "
                "or give the address of another"
            )
    if status == "DEADLINE_EXCEEDED":
        return errors.Unavailable(f"{target} did not answer in time; if it is only busy, give a longer timeout")
    if status == "UNIMPLEMENTED":
        return errors.FailedPrecondition(f"what answers at {target} does not know this call; is it another version?")
    if status == "RESOURCE_EXHAUSTED" and "message larger than max" in said:
        limit = codec.MESSAGE_LIMIT >> 20
        return errors.InvalidArgument(f"the request or its answer is above the limit of {limit} MiB; ask for less")
    if status in ("UNAUTHENTICATED", "PERMISSION_DENIED"):
        return errors.FailedPrecondition(f"the server at {target} does not let this client do that: {said or status}")
    kind = errors.by_status.get(status, errors.Internal)
    return kind(said or f"the server at {target} answered {status}")


# Collections ------------------------------------------------------------------------------------


def create_collection(name: str, config: t.CollectionConfig, if_missing: bool, quota: t.Quota) -> Call[t.Collection]:
    """Make a collection."""
    request = kpb.CreateCollectionRequest(
        name=name, config=codec.config_to_proto(config), if_missing=if_missing, quota=codec.quota_to_proto(quota)
    )
    return Call("Knowledge", "CreateCollection", request, codec.collection_from_proto)


def collections() -> Call[list[t.Collection]]:
    """List the collections."""
    return Call(
        "Knowledge",
        "ListCollections",
        kpb.ListCollectionsRequest(),
        lambda reply: [codec.collection_from_proto(c) for c in reply.collections],
    )


def set_quota(name: str, entries: int | None, size: int | None) -> Call[t.Collection]:
    """What a collection may hold from now on; None: as it is."""
    t.Quota(entries or 0, size or 0)
    request = kpb.SetQuotaRequest(name=name, entries=entries, bytes=size)
    return Call("Knowledge", "SetQuota", request, codec.collection_from_proto)


def drop_collection(name: str) -> Call[int]:
    """Drop a collection; the reply is the number of entries gone."""
    request = kpb.DropCollectionRequest(name=name)
    return Call("Knowledge", "DropCollection", request, lambda reply: int(reply.entries), patient=True)


# Entries ----------------------------------------------------------------------------------------


def get(collection: str, ids: Iterable[int], texts: bool, keys: bool, values: bool) -> list[Call[list[t.Entry]]]:
    """Entries by id, in as many calls as the message limit needs."""
    wanted = kpb.EntryFields(texts=texts, keys=keys, values=values)
    return [
        Call("Knowledge", "Get", request, codec.entries_from_proto)
        for part in parts(_checked_ids(ids), GET_IDS)
        for request in [kpb.GetRequest(collection=collection, ids=part, fields=wanted)]
    ]


def find(collection: str, triples: TripleColumns | Iterable[TripleLike]) -> list[Call[t.Ids]]:
    """Entries of triples, in as many calls as the message limit needs."""
    return [
        Call("Knowledge", "Find", request, lambda reply: codec.ids_from_bytes(reply.ids))
        for _, part in column_parts(as_columns(triples), codec.CHUNK_COLUMNS)
        for request in [kpb.FindRequest(collection=collection, columns=codec.columns_to_proto(part))]
    ]


def scan(
    collection: str, after: int, limit: int, head: str, relation: str, texts: bool, keys: bool, values: bool
) -> Call[list[t.Entry]]:
    """Entries in id order; each message is a chunk of them."""
    wanted = kpb.EntryFields(texts=texts, keys=keys, values=values)
    request = kpb.ScanRequest(
        collection=collection, after=after, limit=limit, fields=wanted, head=head, relation=relation
    )
    return Call("Knowledge", "Scan", request, codec.entries_from_proto, patient=True)


def delete(collection: str, ids: Iterable[int], triples: Iterable[TripleLike]) -> list[Call[Deleted]]:
    """Delete by id and by content, in calls of bounded size."""
    requests = [kpb.DeleteRequest(collection=collection, ids=part) for part in parts(_checked_ids(ids), DELETE_IDS)]
    for chunk in codec.chunked(as_triples(triples)):
        messages = [codec.triple_to_proto(triple) for triple in chunk]
        requests.append(kpb.DeleteRequest(collection=collection, triples=messages))
    return [
        Call("Knowledge", "Delete", request, lambda reply: Deleted(int(reply.deleted), int(reply.missing)))
        for request in requests
    ]


def count(collection: str) -> Call[int]:
    """The number of entries."""
    return Call("Knowledge", "Count", kpb.CountRequest(collection=collection), lambda reply: int(reply.entries))


def search(collection: str, text: str, k: int, exact: bool) -> Call[list[t.Hit]]:
    """The k entries nearest to a text, best first."""
    request = kpb.SearchRequest(collection=collection, text=searched(text), k=_positive(k, "k"), exact=exact)
    return Call("Knowledge", "Search", request, _hits)


def searched(text: str) -> str:
    """A text that can be searched for: InvalidArgument for an empty one."""
    if not text.strip():
        raise errors.InvalidArgument("the text to search for is empty")
    return text


def encode(collection: str, texts: Sequence[str]) -> list[Call[t.Vectors]]:
    """Texts to unit vectors by the collection's encoder, in calls of bounded size."""
    return [
        Call("Knowledge", "Encode", kpb.EncodeRequest(collection=collection, texts=part), codec.vectors_from_proto)
        for part in parts(texts, codec.CHUNK_TRIPLES)
    ]


def _hits(reply: kpb.SearchReply) -> list[t.Hit]:
    entries = codec.entries_from_proto(kpb.GetReply(entries=[hit.entry for hit in reply.hits]))
    return [t.Hit(entry, hit.cosine) for entry, hit in zip(entries, reply.hits, strict=True)]


# Fetch ------------------------------------------------------------------------------------------


def fetch_request(
    collection: str,
    rows: VectorsLike,
    k: int,
    beams: t.Beams | None,
    exact: bool,
    sequence: int,
    about: t.About | None = None,
) -> rpb.FetchRequest:
    """Rows float or int8 (R, D) to a request for the k best entries; given `about`, for an explanation too."""
    vectors = rows if isinstance(rows, t.Vectors) else codec.quantise(rows)
    request = rpb.FetchRequest(
        sequence=sequence, collection=collection, rows=codec.vectors_to_proto(vectors), k=_positive(k, "k"), exact=exact
    )
    if beams is not None:
        request.beams.root, request.beams.inter = beams.root, beams.inter
    if about is not None:
        request.explain = True
        request.about.extend(_checked_ids(about.ids))
        request.about_triples.extend(map(codec.triple_to_proto, about.triples))
    return request


def about(ids: Iterable[int], triples: Iterable[TripleLike]) -> t.About:
    """What an explanation is to speak of. InvalidArgument names a bad id or triple."""
    return t.About(tuple(_checked_ids(ids)), tuple(as_triples(triples)))


def explanation_of(block: t.Block, target: str) -> t.Explanation:
    """The block's. FailedPrecondition where the server gave none: it is older than this client."""
    if block.explanation is None:
        raise errors.FailedPrecondition(f"the server at {target} can't explain a fetch; is it another version?")
    return block.explanation


def fetch_reply(message: rpb.Block, sequence: int) -> t.Block:
    """The Block that answers `sequence`. Internal when it answers another."""
    if message.sequence != sequence:
        raise errors.Internal(f"fetch {sequence} was answered with the block of fetch {message.sequence}")
    return codec.block_from_proto(message)


# Admin ------------------------------------------------------------------------------------------


def stats(collection: str) -> Call[StoreStats]:
    """Numbers of one collection, or of all for ""."""
    return Call("Admin", "Stats", apb.StatsRequest(collection=collection), _stats)


def build(collection: str, seed: int) -> Call[t.Progress]:
    """Build a collection's tree; the last message has the new generation."""
    request = apb.BuildRequest(collection=collection, seed=seed)
    return Call(
        "Admin",
        "Build",
        request,
        lambda m: t.Progress(m.stage, int(m.done), int(m.total), Generation(m.generation), memory=int(m.memory_bytes)),
        patient=True,
    )


def verify(collection: str, cursor: bytes, bytes_per_second: int) -> Call[t.Progress]:
    """Check every record of a collection, or of all for ""; messages bring damage as it is found."""

    def read(m: apb.VerifyProgress) -> t.Progress:
        stage = m.stage if collection or not m.collection else f"{m.collection}: {m.stage}"
        return t.Progress(stage, int(m.done), int(m.total), damage=tuple(m.damage), cursor=m.cursor)

    request = apb.VerifyRequest(collection=collection, cursor=cursor, bytes_per_second=bytes_per_second)
    return Call("Admin", "Verify", request, read, patient=True)


def repair(collection: str, dry_run: bool) -> Call[RepairProgress]:
    """Put right what is damaged in a collection, or in all for ""."""

    def read(m: apb.RepairProgress) -> RepairProgress:
        return RepairProgress(m.collection, m.stage, int(m.done), int(m.total), tuple(m.restored), tuple(m.lost))

    return Call("Admin", "Repair", apb.RepairRequest(collection=collection, dry_run=dry_run), read, patient=True)


def compact(dry_run: bool, bytes_per_second: int, max_seconds: float) -> Call[CompactProgress]:
    """Make the file smaller; the last message says by how much."""

    def read(m: apb.CompactProgress) -> CompactProgress:
        return CompactProgress(**{f.name: getattr(m, f.name) for f in fields(CompactProgress)})

    request = apb.CompactRequest(dry_run=dry_run, bytes_per_second=bytes_per_second, max_seconds=max_seconds)
    return Call("Admin", "Compact", request, read, patient=True)


def create_snapshot(name: str, bytes_per_second: int) -> Call[SnapshotProgress]:
    """Copy the store; the last message has the snapshot."""
    request = apb.CreateSnapshotRequest(name=name, bytes_per_second=bytes_per_second)
    return Call("Admin", "CreateSnapshot", request, _snapshot_progress, patient=True)


def list_snapshots() -> Call[list[Snapshot]]:
    """All, oldest first."""
    return Call("Admin", "ListSnapshots", apb.ListSnapshotsRequest(), lambda m: [_snapshot(one) for one in m.snapshots])


def verify_snapshot(name: str) -> Call[SnapshotProgress]:
    """Check a snapshot; the last message has the damage."""
    return Call("Admin", "VerifySnapshot", apb.VerifySnapshotRequest(name=name), _snapshot_progress, patient=True)


def delete_snapshot(name: str) -> Call[int]:
    """Remove a snapshot; the bytes that it took."""
    return Call("Admin", "DeleteSnapshot", apb.DeleteSnapshotRequest(name=name), lambda m: int(m.bytes))


def _snapshot_progress(m: apb.SnapshotProgress) -> SnapshotProgress:
    found = _snapshot(m.snapshot) if m.HasField("snapshot") else None
    return SnapshotProgress(m.stage, int(m.done), int(m.total), tuple(m.damage), found)


def _snapshot(m: apb.Snapshot) -> Snapshot:
    held = tuple(Held(one.name, int(one.entries), one.setsum) for one in m.collections)
    return Snapshot(m.name, m.created, int(m.format_version), int(m.file_bytes), m.sha256, held)


def _stats(reply: apb.StatsReply) -> StoreStats:
    return StoreStats(**_fields(StoreStats, reply, collections=tuple(map(_collection_stats, reply.collections))))


def _collection_stats(message: apb.CollectionStats) -> CollectionStats:
    recall = Recall(**_fields(Recall, message.recall))
    tuples = {"damage": tuple(message.damage), "posting_sizes": tuple(message.posting_sizes)}
    return CollectionStats(
        **_fields(CollectionStats, message, table_bytes=dict(message.table_bytes), recall=recall, **tuples)
    )


def _fields(kind: Any, message: Any, **known: Any) -> dict[str, Any]:
    """The fields of a dataclass by a message that has the same."""
    found = {f.name: getattr(message, f.name) for f in fields(kind) if f.name not in known}
    for name, value in found.items():
        if isinstance(value, apb.Latency):
            found[name] = Latency(**_fields(Latency, value))
    return found | known


# Arguments --------------------------------------------------------------------------------------


def _positive(number: int, name: str) -> int:
    if not 0 < number < 1 << 32:
        raise errors.InvalidArgument(f"{name} is {number}; it is a whole number from 1 up")
    return number


def _checked_ids(ids: Iterable[int]) -> list[int]:
    checked = [int(i) for i in ids]
    for i in checked:
        if not 0 < i < 1 << 64:
            raise errors.InvalidArgument(f"{i} is no entry id; ids are whole numbers from 1 up")
    return checked
