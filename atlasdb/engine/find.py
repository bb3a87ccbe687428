"""Triples looked up: which entries are theirs."""

import numpy as np

from atlasdb.engine.draft import facts_of
from atlasdb.engine.engine import Engine
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.types import Ids


def find(engine: Engine, name: str, triples: TripleColumns) -> Ids:
    """See Database.find."""
    with engine.store.view(name) as view:
        if not len(triples):
            return np.zeros(0, np.uint64)
        facts, _ = facts_of(triples, view.record.salt)
        return view.lookup.triples(facts)
