"""Counts and sizes of a store."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from atlasdb import format as fmt
from atlasdb.engine.engine import Engine
from atlasdb.engine.meters import Measured, Sample, of_collection
from atlasdb.store.opened import TABLES
from atlasdb.store.recent import Counted
from atlasdb.store.view import View
from atlasdb.tree.summary import added
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.ids import Generation


@dataclass(frozen=True, slots=True)
class Latency:
    """Of what happened in the last minutes: `count` in so many seconds."""

    count: int = 0
    seconds: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0

    @staticmethod
    def of(counted: Counted) -> "Latency":
        """Its percentiles."""
        return Latency(counted.total, counted.seconds, counted.quantile(0.5), counted.quantile(0.99))


@dataclass(frozen=True, slots=True)
class Recall:
    """Means over the last fetches that were sampled: the share of the exact block's mass, and of its entries."""

    samples: int = 0
    mass: float = 0.0
    recall: float = 0.0

    @staticmethod
    def of(samples: Sequence[Sample]) -> "Recall":
        """All zero where there are none."""
        count = len(samples)
        if not count:
            return Recall()
        return Recall(count, sum(one.mass for one in samples) / count, sum(one.recall for one in samples) / count)


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
    heads: int = 0
    """Distinct heads (and tails of inverse entries) in the slots."""
    heads_estimated: bool = False
    slots: int = 0
    """Of the trees."""
    posting_sizes: tuple[int, ...] = ()
    """How many INTER nodes have 1 slot, 2, 3 to 4, 5 to 8, and so on."""
    fetches: Latency = Latency()
    """Of the descents."""
    recall: Recall = Recall()
    inserted_per_second: float = 0.0
    """Entries, in the last minute."""
    max_entries: int = 0
    max_bytes: int = 0
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
    pages: int
    free_pages: int
    """Pages that hold nothing."""
    commits: int
    commit_times: Latency
    """Of this process, both."""
    fetches: Latency
    inserted_per_second: float
    oldest_reader_seconds: float
    oldest_reader_commits: int
    """How many commits old the oldest view is."""
    processes: int


def stats(engine: Engine, name: str | None, others: Sequence[Measured]) -> StoreStats:
    """See Database.stats."""
    measured = [engine.measured(), *others]
    behind = engine.store.environment.commits_behind()
    environment = engine.store.environment
    unreadable = engine.store.unreadable()
    names = [name] if name else sorted({record.name for record in engine.store.records()} | set(unreadable))
    collections = []
    inserted = engine.meters.inserts()
    for each in names:
        try:
            with engine.store.view(each) as view:
                collections.append(_collection(view, environment.page_bytes(), measured, inserted))
        except DataLoss as error:
            collections.append(_unreadable(each, str(error)))
    file_bytes = environment.file_bytes()
    pages, free = environment.pages()
    all_fetches = Counted.joined(each for part in measured for each in part.fetches.values())
    return StoreStats(
        tuple(collections),
        file_bytes,
        environment.map_bytes,
        environment.map_bytes - file_bytes,
        fmt.VERSION,
        engine.texts_encoded,
        pages,
        free,
        engine.store.writer.commits,
        Latency.of(engine.store.writer.latencies.counted()),
        Latency.of(all_fetches),
        sum(each.per_second for each in inserted.values()),
        max(part.oldest_view for part in measured),
        behind,
        len(measured),
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


def _collection(
    view: View, page_bytes: int, measured: Sequence[Measured], inserted: Mapping[str, Counted]
) -> CollectionStats:
    record, woods = view.record, view.woods()
    summaries = [summary for summary in view.summaries() if summary]
    heads, estimated = view.heads()
    fetches, samples = of_collection(measured, record.name, record.id)
    return CollectionStats(
        name=record.name,
        encoder=record.config.encoder,
        dimension=record.dimension,
        entries=record.entries,
        triples=record.entries - record.inverse_entries,
        inverse_entries=record.inverse_entries,
        distinct_values=record.next_value - 1,
        generation=record.generation,
        trees=len(record.trees),
        root_nodes=sum(tree.roots for tree in record.trees),
        inter_nodes=sum(tree.nodes for tree in record.trees),
        delta_entries=record.delta_entries,
        tombstones=record.tombstones,
        largest_posting=max((summary.largest for summary in summaries), default=0),
        table_bytes={table: view.pages(table) * page_bytes for table in TABLES},
        setsum=record.setsum.hex(),
        damage=woods.damage,
        entries_out=woods.out,
        heads=heads,
        heads_estimated=estimated,
        slots=sum(tree.slots for tree in record.trees),
        posting_sizes=added([summary.sizes for summary in summaries]),
        fetches=Latency.of(fetches),
        recall=Recall.of(samples),
        inserted_per_second=inserted[record.name].per_second if record.name in inserted else 0.0,
        max_entries=record.quota.entries,
        max_bytes=record.quota.bytes,
    )
