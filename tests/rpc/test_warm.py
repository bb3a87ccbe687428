"""The loops of a fetch are compiled before the first fetch asks for them."""

import logging
import time
from pathlib import Path

import pytest
from numba.core.registry import CPUDispatcher
from serving import Wire, random_vectors

from atlasdb.service import warm
from atlasdb.tree import codes, kernels, scoring, walking
from atlasdb_contract import codec
from atlasdb_contract.v1 import retrieval_pb2 as rpb


def compiled() -> dict[str, int]:
    """How many versions of each loop this process has."""
    found = [loop for module in (codes, kernels, scoring, walking) for loop in vars(module).values()]
    return {loop.__name__: len(loop.signatures) for loop in found if isinstance(loop, CPUDispatcher)}


def test_a_fetch_finds_its_loops_compiled(tmp_path: Path, wire: Wire) -> None:
    warm.live(tmp_path / "store")
    before = compiled()
    assert sum(before.values()) > 5
    wire.create("other")
    wire.fill(300, "other")
    rows = codec.vectors_to_proto(random_vectors(4))
    list(wire.retrieval.Fetch(iter([rpb.FetchRequest(collection="other", rows=rows, k=64)]), timeout=60))
    assert compiled() == before


def test_the_log_says_when_fetches_are_compiled(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "atlasdb.service")
    warm.warm()
    deadline = time.monotonic() + 120
    while "fetches are compiled" not in caplog.text:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert "getting the compiled loops of fetches ready" in caplog.text
