"""A Draft: an insert worked out as far as it can be before the writer's turn. No I/O.

triples ─▶ facts (each distinct triple once) ─▶ entries (a fact's forward one, perhaps an inverse one)
                                                  key, value: a Source, where the vector comes from
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Protocol

from atlasdb.format import Flag, entry_text
from atlasdb.ingest.phrases import Phrasing
from atlasdb.store.identity import TripleKey, subject_hash, triple_key
from atlasdb.store.registry import CollectionRecord
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import NO_ENCODER, Refusal, Triple, Vectors


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


Source = int | str
"""Row of the given vectors, or a text to encode."""


class EntryDraft(NamedTuple):
    """One entry to be written if its fact is new."""

    fact: int
    flags: int
    subject: int
    key: Source
    value: Source


@dataclass(slots=True)
class Draft:
    """`facts[fact_at[i]]` is triple i; -1 for a refused one."""

    facts: list[TripleKey] = field(default_factory=list)
    stored: list[bytes] = field(default_factory=list)
    """Each fact's texts as they are stored."""
    fact_at: list[int] = field(default_factory=list)
    refused: list[Refusal] = field(default_factory=list)
    entries: list[EntryDraft] = field(default_factory=list)


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


def draft(record: CollectionRecord, triples: Sequence[TripleLike], given: bool) -> Draft:
    """Facts and entries of triples. `given`: their vectors came along."""
    made = Draft()
    phrasing = Phrasing(record.config.phrases, record.config.inverse)
    silent = record.config.encoder == NO_ENCODER and not given
    known: dict[tuple[str, str, str], int] = {}
    for position, triple in enumerate(triples):
        identity = (triple.head, triple.relation, triple.tail)
        fact = known.get(identity)
        if fact is None:
            try:
                if silent:
                    raise InvalidArgument(f"the collection {record.name!r} has no encoder: send key and value vectors")
                fact = _add(made, phrasing, identity, triple, position if given else None)
                known[identity] = fact
            except (InvalidArgument, UnicodeEncodeError) as error:
                made.refused.append(Refusal(position, str(error)))
                fact = -1
        made.fact_at.append(fact)
    return made


def _add(made: Draft, phrasing: Phrasing, identity: tuple[str, str, str], triple: TripleLike, row: int | None) -> int:
    """A new fact and its entries; `row`: where its given vectors are. Its number."""
    head, relation, tail = identity
    if not (head.strip() and relation.strip() and tail.strip()):
        Triple(head, relation, tail)
    fact = len(made.facts)
    key = triple_key(head, relation, tail)
    pointing_back = phrasing.has_inverse(relation)
    flags = int(Flag.HAS_INVERSE) if pointing_back else 0
    if row is None:
        forward = EntryDraft(
            fact, flags, subject_hash(head), phrasing.key_text(head, relation), phrasing.value_text(tail)
        )
    else:
        forward = EntryDraft(fact, flags, subject_hash(head), row, row)
    entries = [forward]
    if pointing_back:
        texts = phrasing.inverse_key_text(tail, relation), phrasing.value_text(head)
        entries.append(EntryDraft(fact, Flag.INVERSE, subject_hash(tail), *texts))
    made.stored.append(entry_text(head, relation, tail, triple.source, dict(triple.metadata)))
    made.facts.append(key)
    made.entries += entries
    return fact
