"""A store with part of the sample graph, and the reader that comes along."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from serving import Served

from atlasdb_client.client import Client, connect
from atlasdb_client.readers import TripleFile
from atlasdb_contract.types import Triple
from llm_runtime.reader import Reader, quiet

SAMPLE = Path(__file__).parents[2] / "examples" / "sample.tsv"


@pytest.fixture(scope="session")
def sample() -> list[Triple]:
    """All facts of the sample graph's countries and of its first people."""
    with TripleFile(SAMPLE) as file:
        facts = [fact for fact in file if isinstance(fact, Triple)]
    countries = {fact.head for fact in facts if fact.relation == "capital"}
    return facts[:400] + [fact for fact in facts if fact.head in countries][:400]


@pytest.fixture(scope="session")
def client(encoding_served: Served) -> Iterator[Client]:
    """A client of the shared server with the encoder."""
    with connect(encoding_served.targets["unix"]) as client:
        yield client


@pytest.fixture(scope="session")
def graph(client: Client, sample: list[Triple]) -> str:
    """The collection that holds `sample`, with a tree."""
    client.create_collection("runtime-sample")
    assert sum(ack.created for ack in client.insert("runtime-sample", sample)) == len(set(sample_keys(sample)))
    for _ in client.build("runtime-sample"):
        pass
    return "runtime-sample"


def sample_keys(facts: list[Triple]) -> list[tuple[str, str, str]]:
    """What makes facts distinct."""
    return [fact.identity for fact in facts]


@pytest.fixture(scope="session")
def reader() -> Reader:
    """The shipped model."""
    quiet()
    return Reader.load()
