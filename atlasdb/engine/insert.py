"""Inserts: draft, encode what is not known yet, write; idempotent wherever two of them meet.

    caller's thread     draft the entries; look up which facts and values are there ──▶ encoder
    engine's thread     vectors ──▶ writer's queue
    writer's thread     look again, append what is new, ack

The second look decides. Where a fact was there at the first look and is gone at the second, the insert starts over.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

import numpy as np
import numpy.typing as npt

from atlasdb.engine.draft import Draft, EntryDraft, Source, TripleLike, check_vectors, draft
from atlasdb.engine.engine import Engine
from atlasdb.store.changes import Changes, Lookup, NewEntries
from atlasdb.store.identity import text_identity, vector_identities
from atlasdb.store.registry import CollectionRecord
from atlasdb.store.writer import WriteTxn
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import InvalidArgument, NotFound, Unavailable
from atlasdb_contract.ids import CollectionId, EntryId
from atlasdb_contract.types import Floats, Ids, InsertAck, Vectors

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _Request:
    """One call of insert."""

    name: str
    collection: CollectionId
    sequence: int
    draft: Draft
    keys: Vectors | None
    values: Vectors | None
    ack: "Future[InsertAck]"


@dataclass(frozen=True, slots=True)
class _Ready:
    """Entries with all that writing takes: keys int8 (E, D).

    `values` holds the vectors of those identities that may be new, at `value_rows`.
    """

    entries: list[EntryDraft]
    keys: Vectors
    identities: list[bytes]
    values: Vectors
    value_rows: dict[bytes, int]


def insert(
    engine: Engine,
    name: str,
    triples: Sequence[TripleLike],
    keys: Vectors | None,
    values: Vectors | None,
    sequence: int,
) -> "Future[InsertAck]":
    """See Database.insert."""
    ack: Future[InsertAck] = Future()
    ack.set_running_or_notify_cancel()
    try:
        with engine.store.view(name) as view:
            record = view.record
        check_vectors(record, len(triples), keys, values)
        request = _Request(name, record.id, sequence, draft(record, triples, keys is not None), keys, values, ack)
        if request.draft.facts:
            _begin(engine, request)
        else:
            ack.set_result(_ack(request, [], 0, 0))
    except Exception as error:  # noqa: BLE001 - every error of an insert comes out of its future
        ack.set_exception(error)
    return ack


def _begin(engine: Engine, request: _Request) -> None:
    """First look: have encoded what is needed, then go on."""
    entries, texts = request.draft.entries, []
    with engine.store.view(request.name) as view:
        record = view.record
        if any(isinstance(entry.key, str) for entry in entries):
            entries = _missing(view.lookup, request.draft)
            texts = _texts(view.lookup, entries)
    if not texts:
        _write(engine, request, record, entries, {}, _no_vectors(record))
        return
    vectors = engine.encode(record.config, request.name, texts)
    vectors.add_done_callback(
        lambda done: _continue(engine, request, partial(_encoded, engine, request, record, entries, texts, done))
    )


def _continue(engine: Engine, request: _Request, step: Callable[[], None]) -> None:
    """Go on in the engine's own thread; every error of an insert comes out of its future."""

    def run() -> None:
        try:
            step()
        except Exception as error:  # noqa: BLE001
            request.ack.set_exception(error)

    try:
        engine.after_encoding.submit(run)
    except RuntimeError:
        request.ack.set_exception(Unavailable("the store is closing"))


def _missing(lookup: Lookup, made: Draft) -> list[EntryDraft]:
    """The entries of facts that are not there."""
    found = lookup.triples(made.facts)
    return [entry for entry in made.entries if not found[entry.fact]]


def _texts(lookup: Lookup, entries: list[EntryDraft]) -> list[str]:
    """The distinct texts to encode: all keys', and those values' that are not there."""
    keys = {entry.key for entry in entries if isinstance(entry.key, str)}
    values = {entry.value: text_identity(entry.value) for entry in entries if isinstance(entry.value, str)}
    found = lookup.values(list(values.values()))
    return list(dict.fromkeys([*keys, *(text for text, there in zip(values, found, strict=True) if not there)]))


def _encoded(
    engine: Engine,
    request: _Request,
    record: CollectionRecord,
    entries: list[EntryDraft],
    texts: list[str],
    done: "Future[Floats]",
) -> None:
    rows = {text: row for row, text in enumerate(texts)}
    _write(engine, request, record, entries, rows, quantise(done.result()))


def _write(
    engine: Engine,
    request: _Request,
    record: CollectionRecord,
    entries: list[EntryDraft],
    text_rows: dict[str, int],
    encoded: Vectors,
) -> None:
    """Queue the entries."""
    keys = _gather([entry.key for entry in entries], request.keys, text_rows, encoded)
    sources = [entry.value for entry in entries]
    identities = _identities(sources, request.values)
    rows: dict[bytes, Source] = {
        identity: source
        for identity, source in zip(identities, sources, strict=True)
        if isinstance(source, int) or source in text_rows
    }
    values = _gather(list(rows.values()), request.values, text_rows, encoded)
    value_rows = {identity: row for row, identity in enumerate(rows)}
    ready = _Ready(entries, keys, identities, values, value_rows)
    written = engine.store.submit(partial(_job, request, ready), len(entries) * (2 * record.dimension + 256))
    written.add_done_callback(partial(_written, engine, request))


def _gather(sources: list[Source], given: Vectors | None, text_rows: dict[str, int], encoded: Vectors) -> Vectors:
    """The vectors that sources name: int8 (len(sources), D)."""
    offset = len(given) if given else 0
    rows = [source if isinstance(source, int) else offset + text_rows[source] for source in sources]
    if given is None:
        return encoded.take(rows)
    if not text_rows:
        return given if rows == list(range(offset)) else given.take(rows)
    both = Vectors(np.concatenate([given.data, encoded.data]), np.concatenate([given.scales, encoded.scales]))
    return both.take(rows)


def _identities(sources: list[Source], given: Vectors | None) -> list[bytes]:
    """The identity of each value."""
    of_rows = vector_identities(given) if given else ()
    return [text_identity(source) if isinstance(source, str) else of_rows[source] for source in sources]


def _job(request: _Request, ready: _Ready, write: WriteTxn) -> InsertAck | None:
    """Second look, in the writer's turn; None: a fact has gone whose vectors we do not have."""
    changes = write.changes(request.name)
    if changes.record.id != request.collection:
        raise NotFound(f"the collection {request.name!r} was dropped, and made anew, before this insert")
    made = request.draft
    ids = changes.triples(made.facts)
    new = np.array([not ids[entry.fact] for entry in ready.entries], np.bool_)
    fresh = [fact for fact, number in enumerate(ids) if not number]
    if {entry.fact for entry, wanted in zip(ready.entries, new, strict=True) if wanted} != set(fresh):
        return None
    if fresh:
        numbers = _append(write, changes, ready, made, np.flatnonzero(new), fresh)
        for fact, number in numbers.items():
            ids[fact] = EntryId(number)
    return _ack(request, ids, int(new.sum()), len(fresh))


def _ack(request: _Request, ids: list[EntryId], created: int, fresh: int) -> InsertAck:
    """`ids` of the facts, `created` entries, `fresh` facts that were not there."""
    taken = [fact for fact in request.draft.fact_at if fact >= 0]
    return InsertAck(
        request.sequence,
        tuple(ids[fact] if fact >= 0 else EntryId(0) for fact in request.draft.fact_at),
        created,
        len(taken) - fresh,
        tuple(request.draft.refused),
    )


def _append(
    write: WriteTxn, changes: Changes, ready: _Ready, made: Draft, new: Positions, fresh: list[int]
) -> dict[int, int]:
    """Append the entries at `new`; fact -> id of its forward entry."""
    write.grows = True
    all_new = len(new) == len(ready.entries)
    entries = ready.entries if all_new else [ready.entries[i] for i in new]
    identities = ready.identities if all_new else [ready.identities[i] for i in new]
    keys = ready.keys if all_new else ready.keys.take(new)
    flags = np.array([entry.flags for entry in entries], np.uint8)
    ids = changes.add_entries(
        NewEntries(
            flags,
            _value_ids(changes, identities, ready),
            np.array([entry.subject for entry in entries], np.uint64),
            keys,
            [made.stored[entry.fact] for entry in entries],
        ),
        [made.facts[fact].hash for fact in fresh],
    )
    return dict(reversed([(entry.fact, number) for entry, number in zip(entries, ids.tolist(), strict=True)]))


def _value_ids(changes: Changes, identities: list[bytes], ready: _Ready) -> Ids:
    """The value id of each entry; new values are appended."""
    distinct = list(dict.fromkeys(identities))
    known = dict(zip(distinct, changes.values(distinct), strict=True))
    missing = [identity for identity in distinct if not known[identity]]
    if missing:
        vectors = ready.values.take([ready.value_rows[identity] for identity in missing])
        known |= dict(zip(missing, changes.add_values(missing, vectors).tolist(), strict=True))
    return np.array([known[identity] for identity in identities], np.uint64)


def _written(engine: Engine, request: _Request, done: "Future[InsertAck | None]") -> None:
    if error := done.exception():
        request.ack.set_exception(error)
    elif ack := done.result():
        request.ack.set_result(ack)
    else:
        _continue(engine, request, partial(_begin, engine, request))


def _no_vectors(record: CollectionRecord) -> Vectors:
    return Vectors(np.zeros((0, record.dimension), np.int8), np.zeros(0, np.float32))


def encode(engine: Engine, name: str, texts: Sequence[str]) -> Vectors:
    """See Database.encode."""
    for position, text in enumerate(texts):
        if not text.strip():
            raise InvalidArgument(f"text {position} is empty")
    with engine.store.view(name) as view:
        config = view.record.config
    distinct = list(dict.fromkeys(texts))
    vectors = quantise(engine.encode(config, name, distinct).result())
    rows = {text: row for row, text in enumerate(distinct)}
    return vectors.take([rows[text] for text in texts])
