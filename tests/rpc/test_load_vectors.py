"""Triples with their own vectors, as columns over the wire and from files through `atlasdb load`."""

from pathlib import Path

import numpy as np
import pytest

SERVING

from atlasdb_client import Triple
from atlasdb_client.cli import main
from atlasdb_client.inserting import column_requests
from atlasdb_contract import codec
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import NO_ENCODER, CollectionConfig, TripleColumns
from atlasdb_contract.v1 import knowledge_pb2 as kpb

D = 24


def drawn(count: int) -> tuple[list[tuple[str, str, str]], np.ndarray, np.ndarray]:
    rng = np.random.default_rng(count)
    triples = [(f"head {i // 4}", f"relation \u00e9 {i % 4}", f"tail {i % 9}") for i in range(count)]
    return triples, rng.standard_normal((count, D)), rng.standard_normal((9, D))[np.arange(count) % 9]
