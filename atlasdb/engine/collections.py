"""Collections: made, listed, counted, dropped."""

import re
import time

from atlasdb.engine.engine import Engine
from atlasdb.ingest.phrases import Phrasing
from atlasdb.store.registry import CollectionRecord
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import NO_ENCODER, Collection, CollectionConfig, Quota

NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,63}")
DIMENSION_LIMIT = 4096


def create(engine: Engine, name: str, config: CollectionConfig, if_missing: bool, quota: Quota) -> Collection:
    """See Database.create_collection."""
    if not NAME.fullmatch(name):
        raise InvalidArgument(f"{name!r} is no collection name: take a-z, 0-9, then up to 63 of a-z, 0-9, '-', '_'")
    resolved = CollectionConfig(config.encoder, _dimension(engine, name, config), dict(config.phrases), config.inverse)
    Phrasing(resolved.phrases, resolved.inverse)
    return engine.store.create(name, resolved, time.time(), if_missing, quota).public


def _dimension(engine: Engine, name: str, config: CollectionConfig) -> int:
    """The dimension that the config means."""
    if config.encoder == NO_ENCODER:
        if not 1 <= config.dimension <= DIMENSION_LIMIT:
            raise InvalidArgument(
                f"a collection without encoder needs a dimension from 1 to {DIMENSION_LIMIT}, not {config.dimension}"
            )
        if config.inverse != "none":
            raise InvalidArgument("inverse entries are encoded from texts; a collection without encoder has none")
        return config.dimension
    own = engine.encoder_for(config, name).dimension
    if config.dimension not in (0, own):
        raise InvalidArgument(f"the encoder {config.encoder!r} has dimension {own}, not {config.dimension}")
    return own


def listed(engine: Engine) -> list[Collection]:
    """All, by name."""
    return [record.public for record in engine.store.records()]


def count(engine: Engine, name: str) -> int:
    """Entries of a collection."""
    with engine.store.view(name) as view:
        return view.record.entries


def drop(engine: Engine, name: str) -> CollectionRecord:
    """Delete a collection; what it was."""
    return engine.store.drop(name)
