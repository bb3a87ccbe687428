"""A Draft: an insert worked out as far as it can be before the writer's turn. No I/O.

triples ─▶ facts (each distinct triple once) ─▶ entries (a fact's forward one, perhaps an inverse one)
                                                  key, value: a row of what was given, or a text to encode
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
import numpy.typing as npt

from atlasdb.engine.packing import packed
from atlasdb.format import Flag, entry_text
from atlasdb.ingest.phrases import Phrasing
from atlasdb.siphash import Salt, of_spans
from atlasdb.store.identity import Facts, subject_hashes, text_identities
from atlasdb.store.registry import CollectionRecord
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import NO_ENCODER, Ids, Refusal, Triple, Vectors

Positions = npt.NDArray[np.int64]


class TripleLike(Protocol):
    """A Triple, or a message of the wire with its fields; one with an empty part can be made only of the latter."""

    @property
    def head(self) -> str:
        """As given."""

    @property
    def relation(self) -> str:
        """As given."""

    @property
    def tail(self) -> str:
        """As given."""

    @property
    def source(self) -> str:
        """As given."""

    @property
    def metadata(self) -> Mapping[str, str]:
        """As given."""


Triples = Sequence[TripleLike] | TripleColumns


@dataclass(frozen=True, slots=True)
class Texts:
    """What is to be encoded for each of E entries; "": its vector was given. `values` u64 (E, 2): the identities of the
    value texts."""

    keys: Sequence[str]
    values: Sequence[str]
    identities: Ids


@dataclass(frozen=True, slots=True)
class Draft:
    """F facts and their E entries, to be written if the fact is new.

    `fact_at[i]` is the fact of triple i, int64 (N,); -1: refused. `fact` int64 (E,), `flags` u8 (E,), `subjects` u64
    (E,); `rows` int64 (E,): where the entry's vectors are among those given, -1: they are in `texts`.
    """

    facts: Facts
    fact_at: Positions
    refused: tuple[Refusal, ...]
    fact: Positions
    flags: npt.NDArray[np.uint8]
    subjects: Ids
    rows: Positions
    texts: Texts | None


def check_vectors(record: CollectionRecord, count: int, keys: Vectors | None, values: Vectors | None) -> None:
    """InvalidArgument where given vectors do not fit the collection or the triples."""
    if (keys is None) != (values is None):
        raise InvalidArgument("send key and value vectors together, or neither")
    for what, vectors in (("key", keys), ("value", values)):
        if vectors is None:
            continue
        if vectors.dimension != record.dimension:
            raise InvalidArgument(
                f"the {what} vectors have dimension {vectors.dimension}; "
                f"the collection {record.name!r} has dimension {record.dimension}"
            )
        if len(vectors) != count:
            raise InvalidArgument(f"{count} triples came with {len(vectors)} {what} vectors; send one for each")


def draft(record: CollectionRecord, triples: Triples, given: bool) -> Draft:
    """Facts and entries of triples. `given`: their vectors came along."""
    if isinstance(triples, TripleColumns):
        if given and record.config.inverse == "none":
            return _of_columns(record, triples)
        triples = [Triple(*parts) if all(parts) else _Hollow(*parts) for parts in triples.triples()]
    return _Drafting(record, given).run(triples)


@dataclass(frozen=True, slots=True)
class _Hollow:
    """Parts of which one is empty: refused later, with its position."""

    head: str
    relation: str
    tail: str
    source: str = ""
    metadata: Mapping[str, str] = field(default_factory=dict)


def facts_of(columns: TripleColumns, salt: Salt) -> tuple[Facts, npt.NDArray[np.bool_]]:
    """N triples as facts, not all of them distinct, and which have a blank part."""
    texts, ends, stops, blank = packed(np.frombuffer(columns.text or b"\0", np.uint8), columns.lengths)
    return Facts.of(texts, np.concatenate([[0], ends[:-1]]), stops, ends, salt), blank


def _of_columns(record: CollectionRecord, columns: TripleColumns) -> Draft:
    """Forward entries alone, whose vectors were given: nothing is done triple by triple."""
    facts, blank = facts_of(columns, record.salt)
    first, fact_at = _distinct(facts, blank)
    text, heads = np.frombuffer(columns.text or b"\0", np.uint8), columns.bounds[:-1][first]
    subjects = of_spans(text, heads, heads + columns.lengths[first, 0], record.salt)[:, 0].copy()
    refused = tuple(Refusal(i, "head, relation and tail must not be empty") for i in np.flatnonzero(blank).tolist())
    count = len(first)
    return Draft(
        facts.take(first), fact_at, refused, np.arange(count), np.zeros(count, np.uint8), subjects, first, None
    )


def _distinct(facts: Facts, blank: npt.NDArray[np.bool_]) -> tuple[Positions, Positions]:
    """The positions of distinct facts, rising, and which of those each fact is; -1 for a blank one."""
    order = np.argsort(facts.hashes, kind="stable")
    hashes = facts.hashes[order]
    leader = np.arange(len(facts))
    for at in np.flatnonzero(hashes[1:] == hashes[:-1]).tolist():
        one, other = int(leader[order[at]]), int(order[at + 1])
        if _text(facts, one) == _text(facts, other):
            leader[other] = one
    own = (leader == np.arange(len(facts))) & ~blank
    number = np.cumsum(own) - 1
    return np.flatnonzero(own), np.where(blank, -1, number[leader])


def _text(facts: Facts, position: int) -> bytes:
    return facts.texts[facts.starts[position] : facts.stops[position]].tobytes()


class _Drafting:
    """A draft of triples one by one."""

    def __init__(self, record: CollectionRecord, given: bool) -> None:
        self._record = record
        self._given = given
        self._silent = record.config.encoder == NO_ENCODER and not given
        self._phrasing = Phrasing(record.config.phrases, record.config.inverse)
        self._stored: list[tuple[bytes, int]] = []
        self._fact: list[int] = []
        self._flags: list[int] = []
        self._subjects: list[str] = []
        self._rows: list[int] = []
        self._keys: list[str] = []
        self._values: list[str] = []

    def run(self, triples: Sequence[TripleLike]) -> Draft:
        known: dict[tuple[str, str, str], int] = {}
        fact_at, refused = np.full(len(triples), -1, np.int64), []
        for position, triple in enumerate(triples):
            identity = (triple.head, triple.relation, triple.tail)
            fact = known.get(identity)
            if fact is None:
                try:
                    fact = self._add(identity, triple, position)
                    known[identity] = fact
                except (InvalidArgument, UnicodeEncodeError) as error:
                    refused.append(Refusal(position, str(error)))
                    continue
            fact_at[position] = fact
        salt = self._record.salt
        texts = None
        if any(self._keys):
            texts = Texts(self._keys, self._values, text_identities(self._values, salt))
        return Draft(
            Facts.packed(self._stored, salt),
            fact_at,
            tuple(refused),
            np.array(self._fact, np.int64),
            np.array(self._flags, np.uint8),
            subject_hashes(self._subjects, salt),
            np.array(self._rows, np.int64),
            texts,
        )

    def _add(self, identity: tuple[str, str, str], triple: TripleLike, position: int) -> int:
        """A new fact and its entries; its number."""
        if self._silent:
            raise InvalidArgument(f"the collection {self._record.name!r} has no encoder: send key and value vectors")
        head, relation, tail = identity
        if not (head.strip() and relation.strip() and tail.strip()):
            Triple(head, relation, tail)
        stored = entry_text(head, relation, tail, triple.source, dict(triple.metadata))
        pointing_back = self._phrasing.has_inverse(relation)
        made: list[tuple[int, str, int, str, str]] = []
        flags = int(Flag.HAS_INVERSE) if pointing_back else 0
        if self._given:
            made.append((flags, head, position, "", ""))
        else:
            texts = self._phrasing.key_text(head, relation), self._phrasing.value_text(tail)
            made.append((flags, head, -1, *texts))
        if pointing_back:
            back = self._phrasing.inverse_key_text(tail, relation), self._phrasing.value_text(head)
            made.append((int(Flag.INVERSE), tail, -1, *back))
        fact = len(self._stored)
        self._stored.append(stored)
        for kind, subject, row, key, value in made:
            self._fact.append(fact)
            self._flags.append(kind)
            self._subjects.append(subject)
            self._rows.append(row)
            self._keys.append(key)
            self._values.append(value)
        return fact
