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

from atlasdb.engine.draft import Draft, Triples, check_vectors, draft
from atlasdb.engine.engine import Engine
from atlasdb.format import Flag
from atlasdb.matrices import EntryRows
from atlasdb.setsum import items_of
from atlasdb.store.changes import Changes, Lookup, NewEntries
from atlasdb.store.identity import Facts, vector_identities
from atlasdb.store.writer import WriteTxn
from atlasdb.tree.slots import ragged
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
    """E of a draft's entries with all that writing takes.

    `entries` int64 (E,) their positions in the draft. `key_rows` and `value_rows` int64 (E,) lead into `keys` and
    `values`; a value that was there at the first look has the row -1. `identities` u64 (E, 2) of the values; the first
    `given` rows of `values` came along, and are what is stored under their identities.
    """

    entries: Positions
    keys: Vectors
    key_rows: Positions
    values: Vectors
    value_rows: Positions
    identities: Ids
    given: int


def insert(
    engine: Engine,
    name: str,
    triples: Triples,
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
        if len(request.draft.facts):
            _begin(engine, request)
        else:
            ack.set_result(_ack(request, np.zeros(0, np.uint64), 0, 0))
    except Exception as error:  # noqa: BLE001 - every error of an insert comes out of its future
        ack.set_exception(error)
    return ack


def _begin(engine: Engine, request: _Request) -> None:
    """First look: have encoded what is needed, then go on."""
    made = request.draft
    entries = np.arange(len(made.fact))
    if made.texts is None:
        _write(engine, request, _ready(request, entries, {}, None))
        return
    with engine.store.view(request.name) as view:
        record = view.record
        entries = np.flatnonzero(view.lookup.triples(made.facts)[made.fact] == 0)
        texts = _texts(view.lookup, made, entries)
    if not texts:
        _write(engine, request, _ready(request, entries, {}, None))
        return
    vectors = engine.encode(record.config, request.name, texts)
    vectors.add_done_callback(
        lambda done: _continue(engine, request, partial(_encoded, engine, request, entries, texts, done))
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


def _texts(lookup: Lookup, made: Draft, entries: Positions) -> list[str]:
    """The distinct texts to encode for these entries: all keys', and those values' that are not there."""
    assert made.texts is not None
    entries = entries[made.rows[entries] < 0]
    found = lookup.values(made.texts.identities[entries])
    keys = (made.texts.keys[i] for i in entries.tolist())
    values = (made.texts.values[i] for i in entries[found == 0].tolist())
    return list(dict.fromkeys([*keys, *values]))


def _encoded(engine: Engine, request: _Request, entries: Positions, texts: list[str], done: "Future[Floats]") -> None:
    rows = {text: row for row, text in enumerate(texts)}
    _write(engine, request, _ready(request, entries, rows, quantise(done.result())))


def _ready(request: _Request, entries: Positions, text_rows: dict[str, int], encoded: Vectors | None) -> _Ready:
    """Where the vectors of entries are: among those given, and behind them those encoded."""
    made = request.draft
    key_rows = made.rows[entries]
    value_rows = key_rows.copy()
    identities = np.zeros((len(entries), 2), np.uint64)
    if request.values is not None:
        given = key_rows >= 0
        identities[given] = vector_identities(request.values, made.facts.salt)[key_rows[given]]
    if made.texts is not None:
        before = len(request.keys) if request.keys is not None else 0
        for i in np.flatnonzero(key_rows < 0).tolist():
            entry = int(entries[i])
            key_rows[i] = before + text_rows[made.texts.keys[entry]]
            row = text_rows.get(made.texts.values[entry])
            value_rows[i] = -1 if row is None else before + row
        of_texts = made.rows[entries] < 0
        identities[of_texts] = made.texts.identities[entries[of_texts]]
    keys, values = _behind(request.keys, encoded), _behind(request.values, encoded)
    came = len(request.values) if request.values is not None else 0
    return _Ready(entries, keys, key_rows, values, value_rows, identities, came)


def _behind(given: Vectors | None, encoded: Vectors | None) -> Vectors:
    """Both, the given ones first."""
    if given is None or encoded is None:
        both = given or encoded
        return both if both is not None else Vectors(np.zeros((0, 0), np.int8), np.zeros(0, np.float32))
    return Vectors(np.concatenate([given.data, encoded.data]), np.concatenate([given.scales, encoded.scales]))


def _write(engine: Engine, request: _Request, ready: _Ready) -> None:
    """Queue the entries."""
    weight = len(ready.entries) * (2 * ready.keys.dimension + 256)
    written = engine.store.submit(partial(_job, request, ready), weight)
    written.add_done_callback(partial(_written, engine, request))


class _ValueGone(Exception):
    """A value that was there at the first look was dropped; nothing was changed yet."""


def _job(request: _Request, ready: _Ready, write: WriteTxn) -> InsertAck | None:
    """Second look, in the writer's turn; None: a fact or a value has gone whose vectors we do not have."""
    changes = write.changes(request.name)
    if changes.record.id != request.collection:
        raise NotFound(f"the collection {request.name!r} was dropped, and made anew, before this insert")
    made = request.draft
    ids = changes.triples(made.facts)
    fresh = ids == 0
    new = np.flatnonzero(fresh[made.fact[ready.entries]])
    covered = np.zeros(len(fresh), np.bool_)
    covered[made.fact[ready.entries[new]]] = True
    if not np.array_equal(covered, fresh):
        return None
    if len(new):
        write.grows = True
        try:
            _append(changes, ready, made, new, fresh, ids)
        except _ValueGone:
            return None
    return _ack(request, ids, len(new), int(fresh.sum()))


def _ack(request: _Request, ids: Ids, created: int, fresh: int) -> InsertAck:
    """`ids` of the facts, `created` entries, `fresh` facts that were not there."""
    made = request.draft
    taken = made.fact_at >= 0
    of_triples = np.zeros(len(made.fact_at), np.uint64)
    of_triples[taken] = ids[made.fact_at[taken]]
    return InsertAck(
        request.sequence, tuple(map(EntryId, of_triples.tolist())), created, int(taken.sum()) - fresh, made.refused
    )


def _append(
    changes: Changes, ready: _Ready, made: Draft, new: Positions, fresh: npt.NDArray[np.bool_], ids: Ids
) -> None:
    """Append the entries at `new` of those ready, and put the ids of their facts, the `fresh` ones, into `ids`."""
    entries = ready.entries[new]
    fact, flags = made.fact[entries], made.flags[entries]
    texts, ends = _stored(made.facts, fact)
    value_ids = _value_ids(changes, ready, new)
    keys = _taken(ready.keys, ready.key_rows[new])
    of_keys = keys, np.arange(len(new))
    items = items_of(texts, ends, (flags & Flag.INVERSE) != 0, of_keys, _stored_values(changes, ready, new, value_ids))
    rows = EntryRows(flags, value_ids, items, texts, ends)
    given = changes.add_entries(NewEntries(rows, made.subjects[entries], keys, made.facts.take(np.flatnonzero(fresh))))
    ids[fact[::-1]] = given[::-1]


def _stored_values(changes: Changes, ready: _Ready, new: Positions, value_ids: Ids) -> tuple[Vectors, Positions]:
    """The values that the entries at `new` have, as they are stored: vectors, and the row in them of each entry."""
    rows = ready.value_rows[new]
    if len(rows) and rows.min() >= 0 and rows.max() < ready.given:
        return ready.values, rows
    distinct, rows = np.unique(value_ids, return_inverse=True)
    return changes.vectors(distinct), rows.astype(np.int64)


def _stored(facts: Facts, fact: Positions) -> tuple[npt.NDArray[np.uint8], Positions]:
    """The texts of entries that are of these facts, end to end, and where each ends."""
    bounds = np.append(facts.starts, facts.ends[-1:])
    if np.array_equal(facts.ends, bounds[1:]):
        at, starts = ragged(bounds, fact)
        whole = len(fact) == len(facts) and np.array_equal(fact, np.arange(len(facts)))
        first = int(bounds[0])
        return (facts.texts[first : first + int(starts[-1])] if whole else facts.texts[at]), starts[1:]
    parts = [facts.texts[facts.starts[i] : facts.ends[i]] for i in fact.tolist()]
    return np.concatenate(parts), np.cumsum([len(part) for part in parts])


def _taken(vectors: Vectors, rows: Positions) -> Vectors:
    """The vectors at `rows`, copied unless that is all of them."""
    whole = len(rows) == len(vectors) and np.array_equal(rows, np.arange(len(rows)))
    return vectors if whole else vectors.take(rows)


def _value_ids(changes: Changes, ready: _Ready, new: Positions) -> Ids:
    """The value id of each entry at `new`; new values are appended."""
    identities = ready.identities[new]
    order = np.lexsort((identities[:, 1], identities[:, 0]))
    ordered = identities[order]
    first = np.ones(len(order), np.bool_)
    first[1:] = (ordered[1:] != ordered[:-1]).any(axis=1)
    number = np.empty(len(order), np.int64)
    number[order] = np.cumsum(first) - 1
    leading = order[first]
    by_place = np.argsort(leading, kind="stable")
    leading = leading[by_place]
    rank = np.empty(len(by_place), np.int64)
    rank[by_place] = np.arange(len(by_place))
    distinct = np.ascontiguousarray(identities[leading])
    known = changes.values(distinct)
    missing = np.flatnonzero(known == 0)
    if len(missing):
        rows = ready.value_rows[new[leading[missing]]]
        if rows.min() < 0:
            raise _ValueGone
        known[missing] = changes.add_values(distinct[missing], _taken(ready.values, rows))
    found: Ids = known[rank[number]]
    return found


def _written(engine: Engine, request: _Request, done: "Future[InsertAck | None]") -> None:
    if error := done.exception():
        request.ack.set_exception(error)
    elif ack := done.result():
        request.ack.set_result(ack)
    else:
        _continue(engine, request, partial(_begin, engine, request))


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
