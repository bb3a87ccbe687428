"""The check of a whole store, collection by collection."""

from collections.abc import Iterator

from atlasdb.engine.engine import Engine
from atlasdb.store.check import check
from atlasdb_contract.types import Progress


def verify(engine: Engine, name: str | None) -> Iterator[tuple[str, Progress]]:
    """See Database.verify."""
    for each in [name] if name else [record.name for record in engine.store.records()]:
        with engine.store.view(each) as view:
            for progress in check(view):
                yield each, progress
