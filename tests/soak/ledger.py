"""What a store must hold after steps that were acknowledged, worked out without it.

A *fact* is a number: its triple, key and value follow from it alone, so that a store can be compared to the last byte.
Two facts share a key and many a value, as in real graphs.
"""

from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np

from atlasdb.engine.database import Database
from atlasdb.engine.read import EntryFields
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, Entry, Triple, Vectors

D = 16
FACTS = 1 << 14
HEAD_FACTS = 8
TAILS = 50
MAP_BYTES = 1 << 28
CONFIG = CollectionConfig(NO_ENCODER, D)
MAIN = "facts"
EXACT = 4096
"""Collections up to this size are compared with what an exact fetch gives, too."""

_draw = np.random.default_rng(20)
KEYS = _draw.integers(-127, 128, (FACTS // 2, D), np.int8)
VALUES = _draw.integers(-127, 128, (TAILS, D), np.int8)
SCALE = np.float32(0.01)

Contents: TypeAlias = dict[str, dict[int, int]]
"""Collection -> id -> fact."""


@dataclass(frozen=True, slots=True)
class Insert:
    """Facts, perhaps some that are there."""

    collection: str
    facts: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Delete:
    """Ids, perhaps some that are not there."""

    collection: str
    ids: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Create:
    """A collection of CONFIG."""

    collection: str


@dataclass(frozen=True, slots=True)
class Drop:
    """A collection with all in it."""

    collection: str


Step: TypeAlias = Insert | Delete | Create | Drop


def triple(fact: int) -> Triple:
    """Of a fact."""
    return Triple(
        f"head {fact // HEAD_FACTS}",
        f"relation {fact % HEAD_FACTS}",
        f"tail {fact % TAILS}",
        f"source {fact}",
        {"fact": str(fact)},
    )


def vectors(facts: Sequence[int]) -> tuple[Vectors, Vectors]:
    """Keys and values of facts."""
    numbers = np.asarray(facts, np.int64)
    scales = np.full(len(numbers), SCALE, np.float32)
    return Vectors(KEYS[numbers // 2], scales), Vectors(VALUES[numbers % TAILS], scales)


@dataclass
class Held:
    """One collection: fact -> id, and the next id."""

    ids: dict[int, int] = field(default_factory=dict)
    next: int = 1


class Ledger:
    """Collections as they must be."""

    def __init__(self) -> None:
        self.collections: dict[str, Held] = {}

    def apply(self, step: Step) -> list[int]:
        """Do it; of an insert the ids that its ack must have, of a delete how many entries go."""
        match step:
            case Create(name):
                self.collections.setdefault(name, Held())
            case Drop(name):
                self.collections.pop(name)
            case Insert(name, facts):
                held = self.collections[name]
                for fact in facts:
                    if fact not in held.ids:
                        held.ids[fact] = held.next
                        held.next += 1
                return [held.ids[fact] for fact in facts]
            case Delete(name, ids):
                held, doomed = self.collections[name], set(ids)
                before = len(held.ids)
                held.ids = {fact: number for fact, number in held.ids.items() if number not in doomed}
                return [before - len(held.ids)]
        return []

    def contents(self) -> Contents:
        """All that must be read."""
        return {name: {number: fact for fact, number in held.ids.items()} for name, held in self.collections.items()}

    def adopt(self, database: Database, pending: Sequence[Step]) -> list[str]:
        """What is wrong with a store that was taken through the ledger's steps and some first ones of `pending`, which
        are applied to the ledger. Nothing: the store is whole and holds exactly that."""
        problems = [damage for _, progress in database.verify() for damage in progress.damage]
        try:
            found = read(database)
        except Wrong as wrong:
            return [*problems, str(wrong)]
        given = next_ids(database)
        first = difference(self.contents(), found) or self._other_ids(given)
        after = deepcopy(self)
        for step in pending if first else []:
            after.apply(step)
            if after.contents() == found and not after._other_ids(given):
                self.collections = after.collections
                first = ""
                break
        return [*problems, first] if first else problems

    def _other_ids(self, given: dict[str, int]) -> str:
        """Which collection will not give the id that it must give next: entries that came and went count too."""
        for name, held in self.collections.items():
            if given[name] != held.next:
                return f"{name}: the next id is {given[name]}; it should be {held.next}"
        return ""


def next_ids(database: Database) -> dict[str, int]:
    """The id that each collection gives next."""
    return {record.name: int(record.next_entry) for record in database._engine.store.records()}


class Wrong(Exception):
    """The store gave what was never put into it; says what."""


def read(database: Database) -> Contents:
    """All that a store holds, by scan, count and exact fetch. Wrong."""
    return {one.name: dict(_entries(database, one.name)) for one in database.list_collections()}


def _entries(database: Database, name: str) -> Iterator[tuple[int, int]]:
    ids = []
    for chunk in database.scan(name, fields=EntryFields(keys=True, values=True)):
        facts = [fact_of(entry) for entry in chunk]
        keys, values = vectors(facts)
        for entry, fact, key, value in zip(chunk, facts, keys.data, values.data, strict=True):
            assert entry.key is not None
            assert entry.value is not None
            if not (np.array_equal(entry.key.data[0], key) and np.array_equal(entry.value.data[0], value)):
                raise Wrong(f"{name}: entry {entry.id} has vectors that are not those of its triple")
            ids.append(int(entry.id))
            yield int(entry.id), fact
    if ids != sorted(set(ids)):
        raise Wrong(f"{name}: a scan gives ids twice or out of order")
    if (counted := database.count(name)) != len(ids):
        raise Wrong(f"{name}: the count is {counted}, a scan gives {len(ids)}")
    if 0 < len(ids) <= EXACT:
        fetched = database.fetch(name, vectors([0])[0], EXACT, exact=True).ids
        if sorted(fetched.tolist()) != ids:
            raise Wrong(f"{name}: an exact fetch gives {len(fetched)} entries, a scan {len(ids)}, and not the same")


def fact_of(entry: Entry) -> int:
    """The number of an entry's triple. Wrong where it is no fact."""
    try:
        fact = int(entry.triple.metadata["fact"])
    except (KeyError, ValueError):
        raise Wrong(f"entry {entry.id} is no fact: {entry.triple}") from None
    if not 0 <= fact < FACTS or entry.triple != triple(fact):
        raise Wrong(f"entry {entry.id} is not the fact {fact}: {entry.triple}")
    return fact


def difference(expected: Contents, found: Contents) -> str:
    """One sentence; empty: none."""
    if expected.keys() != found.keys():
        return f"there are the collections {sorted(found)}; there should be {sorted(expected)}"
    for name, held in expected.items():
        lost = sorted(held.items() - found[name].items())
        extra = sorted(found[name].items() - held.items())
        if lost or extra:
            return f"{name}: lost (id, fact): {len(lost)} {lost[:5]}, not expected: {len(extra)} {extra[:5]}"
    return ""
