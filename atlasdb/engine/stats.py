"""Counts and sizes of a store."""

from collections.abc import Mapping
from dataclasses import dataclass

from atlasdb import format as fmt
from atlasdb.engine.engine import Engine
from atlasdb.store.environment import TABLES
from atlasdb.store.trees import largest_node
from atlasdb.store.view import View
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import Generation


@dataclass(frozen=True, slots=True)
class CollectionStats:
    """One collection: what atlasdb.v1.CollectionStats says."""

    name: str
    encoder: str
    dimension: int
    entries: int
    triples: int
    inverse_entries: int
    distinct_values: int
    generation: Generation
    trees: int
    root_nodes: int
    inter_nodes: int
    delta_entries: int
    tombstones: int
    largest_posting: int
    """Slots under the INTER node that has most."""
    table_bytes: Mapping[str, int]
    setsum: str
    damage: tuple[str, ...]
    """What is known of it."""
    entries_out: int
    """Entries that fetches leave out because of it."""
    max_entries: int
    max_bytes: int
    """Its quota; 0: no limit."""


@dataclass(frozen=True, slots=True)
class StoreStats:
    """The store: what atlasdb.v1.StatsReply says of it, less what only the server knows."""

    collections: tuple[CollectionStats, ...]
    file_bytes: int
    map_bytes: int
    free_bytes: int
    """What the map can still grow by; pages freed inside the file come on top."""
    format_version: int
    texts_encoded: int
    commits: int
    """Of this process."""


def stats(engine: Engine, name: str | None) -> StoreStats:
    """See Database.stats."""
    environment = engine.store.environment
    unreadable = engine.store.unreadable()
    names = [name] if name else sorted({record.name for record in engine.store.records()} | set(unreadable))
    collections = []
    for each in names:
        try:
            with engine.store.view(each) as view:
                collections.append(_collection(view, environment.page_bytes()))
        except DataLoss as error:
            collections.append(_unreadable(each, str(error)))
    file_bytes = environment.file_bytes()
    return StoreStats(
        tuple(collections),
        file_bytes,
        environment.map_bytes,
        environment.map_bytes - file_bytes,
        fmt.VERSION,
        engine.texts_encoded,
        engine.store.writer.commits,
    )


def _unreadable(name: str, damage: str) -> CollectionStats:
    """Of a collection that nothing can be said of but what is wrong with it."""
    return CollectionStats(
        name=name,
        encoder="",
        dimension=0,
        entries=0,
        triples=0,
        inverse_entries=0,
        distinct_values=0,
        generation=Generation(0),
        trees=0,
        root_nodes=0,
        inter_nodes=0,
        delta_entries=0,
        tombstones=0,
        largest_posting=0,
        table_bytes={},
        setsum="",
        damage=(damage,),
        entries_out=0,
        max_entries=0,
        max_bytes=0,
    )


def _collection(view: View, page_bytes: int) -> CollectionStats:
    record, woods = view.record, view.woods()
    return CollectionStats(
        record.name,
        record.config.encoder,
        record.dimension,
        record.entries,
        record.entries - record.inverse_entries,
        record.inverse_entries,
        record.next_value - 1,
        record.generation,
        len(record.trees),
        sum(tree.roots for tree in record.trees),
        sum(tree.nodes for tree in record.trees),
        record.delta_entries,
        record.tombstones,
        max(map(largest_node, woods.forest.trees), default=0),
        {table: view.pages(table) * page_bytes for table in TABLES},
        record.setsum.hex(),
        woods.damage,
        woods.out,
        record.quota.entries,
        record.quota.bytes,
    )
