"""The registry: a record for each collection, by name, in the main table, and a copy."""

from collections.abc import Iterator
from contextlib import suppress
from dataclasses import asdict, astuple, dataclass, field, fields
from functools import lru_cache
from typing import Any

from atlasdb import format as fmt
from atlasdb.setsum import EMPTY
from atlasdb.siphash import Salt
from atlasdb.store import twice
from atlasdb.store.opened import COLLECTIONS_LIMIT, Txn
from atlasdb_contract.errors import DataLoss, NotFound
from atlasdb_contract.ids import CollectionId, EntryId, Generation, ValueId
from atlasdb_contract.types import Collection, CollectionConfig, Quota


@dataclass(frozen=True, slots=True)
class TreeRecord:
    """One tree: the generation that its records are under, how many ROOTs, INTER nodes, slots and entries they hold,
    and the lowest and the highest of the entries' ids."""

    generation: Generation
    roots: int
    nodes: int
    slots: int
    entries: int
    first: int
    last: int


@dataclass(frozen=True, slots=True, order=True)
class Out:
    """A damaged piece of a collection that fetches go on without: the record's table and key, and the row in it; -1:
    the record as a whole."""

    table: str
    key: bytes
    row: int = -1


@dataclass(frozen=True, slots=True)
class CollectionRecord:
    """What the store knows of a collection besides its tables."""

    id: CollectionId
    name: str
    config: CollectionConfig
    """Its dimension is never 0 here."""
    created: float
    salt: Salt
    """Of the hashes of its texts and vectors."""
    generation: Generation = Generation(0)
    """Of the tree made last."""
    trees: tuple[TreeRecord, ...] = ()
    folded: EntryId = EntryId(0)
    """The delta begins after this entry."""
    next_entry: EntryId = EntryId(1)
    next_value: ValueId = ValueId(1)
    entries: int = 0
    inverse_entries: int = 0
    delta_entries: int = 0
    """Of the delta; deleted ones count."""
    tombstones: int = 0
    """Deleted entries that are still in a slot."""
    deletions: int = 0
    """Changes of the table of tombstones so far: names its contents in caches."""
    revision: int = 0
    """Changes of the tables of postings and nodes so far: names their contents in caches."""
    drops: int = 0
    """Times that rows of entries and values were taken away so far: names where they lie in caches."""
    dropped: int = 0
    """Deleted entries that a compaction has looked at: their rows are gone, or not worth it."""
    setsum: bytes = EMPTY
    """Of the entries that are there."""
    out: tuple[Out, ...] = ()
    """Damage that is known of, in order."""
    quota: Quota = field(default_factory=Quota)

    @property
    def dimension(self) -> int:
        """D."""
        return self.config.dimension

    @property
    def public(self) -> Collection:
        """As listed."""
        return Collection(self.name, self.config, self.entries, self.generation, self.created, self.quota)


def _key(name: str) -> bytes:
    return fmt.COLLECTION_PREFIX + name.encode()


def find(txn: Txn, name: str) -> CollectionRecord | None:
    """The collection of this name. DataLoss where its record is damaged, and its copy too."""
    found = twice.sound(txn, _key(name))
    return None if found is None else _opened(*found)


def get(txn: Txn, name: str) -> CollectionRecord:
    """The collection of this name; NotFound names those there are."""
    if found := find(txn, name):
        return found
    known = [record.name for record in records(txn)]
    listed = ", ".join(known[:20]) + (", …" if len(known) > 20 else "")
    raise NotFound(f"there is no collection {name!r}; " + (f"there are: {listed}" if known else "create one first"))


def records(txn: Txn) -> Iterator[CollectionRecord]:
    """All that can be read, by name."""
    for key in twice.keys(txn, fmt.COLLECTION_PREFIX):
        with suppress(DataLoss):
            if found := twice.sound(txn, key):
                yield _opened(*found)


def unreadable(txn: Txn) -> dict[str, str]:
    """What is wrong with those that can't be read, by name."""
    wrong = {}
    for key in twice.keys(txn, fmt.COLLECTION_PREFIX):
        try:
            twice.sound(txn, key)
        except DataLoss as error:
            wrong[key[len(fmt.COLLECTION_PREFIX) :].decode(errors="replace")] = str(error)
    return wrong


def put(txn: Txn, record: CollectionRecord) -> None:
    """Write or overwrite."""
    content = {each.name: getattr(record, each.name) for each in fields(record)}
    content |= {"config": _config(record.config), "trees": [astuple(tree) for tree in record.trees]}
    content |= {"out": [astuple(one) for one in record.out], "quota": astuple(record.quota)}
    twice.put(txn, _key(record.name), content)


def delete(txn: Txn, name: str) -> None:
    """Take a collection out of the registry; its tables stay."""
    twice.delete(txn, _key(name))


def next_id(txn: Txn) -> CollectionId:
    """A collection id that was never given before."""
    found = twice.sound(txn, fmt.SEQUENCE_KEY)
    number = 1 if found is None else int(fmt.open_map("main", *found))
    twice.put(txn, fmt.SEQUENCE_KEY, number + 1)
    return CollectionId(number)


def _config(config: CollectionConfig) -> dict[str, Any]:
    inverse = config.inverse if isinstance(config.inverse, str) else sorted(config.inverse)
    return asdict(config) | {"phrases": dict(config.phrases), "inverse": inverse}


@lru_cache(maxsize=2 * COLLECTIONS_LIMIT)
def _opened(key: bytes, record: bytes) -> CollectionRecord:
    """Every view begins with one, and most find the bytes that the last one found."""
    content = fmt.open_map("main", key, memoryview(record))
    config = content.pop("config")
    content["salt"] = tuple(content["salt"])
    content["trees"] = tuple(TreeRecord(*tree) for tree in content["trees"])
    content["out"] = tuple(Out(*one) for one in content["out"])
    content["quota"] = Quota(*content.get("quota", ()))
    if isinstance(config["inverse"], list):
        config["inverse"] = frozenset(config["inverse"])
    return CollectionRecord(config=CollectionConfig(**config), **content)
