"""`atlasdb compact`, `snapshot`, and a collection that is exported and loaded again, as people type them."""

import contextlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from serving import Served, serving

from atlasdb_client import CollectionConfig, Triple, connect
from atlasdb_client.cli import main
from atlasdb_contract.types import Vectors


class Done(NamedTuple):
    status: int
    out: str
    err: str


Run = Callable[..., Done]


@pytest.fixture
def run(served: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.setenv("ATLASDB_SERVER", served.targets["unix"])

    def run(*arguments: object) -> Done:
        status = main([str(argument) for argument in arguments])
        return Done(status, *capsys.readouterr())

    return run


def triples(count: int) -> list[Triple]:
    """With sources, metadata, and everything that a line can be confused by."""
    odd = ["", "tab\there", 'quote"', "line\nend", "Ünïcode 雪", " spaces "]
    return [
        Triple(
            f"head {i}{odd[i % 6]}",
            f"relation {i % 7}",
            f"tail {i}",
            f"source {i}" * (i % 2),
            {"n": str(i)} if i % 3 else {},
        )
        for i in range(count)
    ]


def stored(served: Served, made: list[Triple], name: str = "facts") -> str:
    """A collection of these with vectors of any scale; its setsum."""
    rng = np.random.default_rng(0)
    keys, values = (
        Vectors(rng.integers(-100, 101, (len(made), 8), np.int8), rng.random(len(made), np.float32)) for _ in "kv"
    )
    with connect(served.targets["unix"]) as client:
        client.create_collection(name, CollectionConfig("none", 8))
        list(client.insert(name, made, keys, values))
        client.delete(name, [3, 4])
        return client.stats(name).collections[0].setsum


def setsum(served: Served, name: str) -> str:
    with connect(served.targets["unix"]) as client:
        return client.stats(name).collections[0].setsum


def test_a_collection_is_exported_and_loaded_to_the_bit(run: Run, served: Served, tmp_path: Path) -> None:
    before = stored(served, triples(600))
    files = [tmp_path / name for name in ("facts.jsonl.gz", "keys.npy", "values.npy")]
    vectors = ("--keys", files[1], "--values", files[2])
    assert run("export", "--collection", "facts", "-o", files[0], *vectors).status == 0
    assert len(np.load(files[1])) == 598
    assert run("load", files[0], "--collection", "again", "--encoder", "none", *vectors).status == 0
    assert setsum(served, "again") == before


def test_plain_triples_go_through_tsv(run: Run, served: Served, tmp_path: Path) -> None:
    before = stored(served, [Triple(f"a {i}", "r", f"b {i % 9}", f"s {i}" * (i % 2)) for i in range(300)])
    files = [tmp_path / name for name in ("facts.tsv", "keys.npy", "values.npy")]
    vectors = ("--keys", files[1], "--values", files[2])
    assert run("export", "--collection", "facts", "-o", files[0], *vectors).status == 0
    assert run("load", files[0], "--collection", "again", "--encoder", "none", *vectors).status == 0
    assert setsum(served, "again") == before


def test_an_export_that_fails_leaves_no_vectors(run: Run, served: Served, tmp_path: Path) -> None:
    stored(served, triples(20))
    done = run(
        "export",
        "--collection",
        "facts",
        "-o",
        tmp_path / "x.tsv",
        "--keys",
        tmp_path / "k.npy",
        "--values",
        tmp_path / "v.npy",
    )
    assert (done.status, "use --format jsonl" in done.err) == (1, True)
    assert list(tmp_path.glob("*.npy*")) == []
    assert "go together" in run("export", "--collection", "facts", "--keys", tmp_path / "k.npy").err


def test_compact_says_what_it_frees_and_frees_it(run: Run, served: Served) -> None:
    with connect(served.targets["unix"]) as client:
        stored(served, [Triple(f"head {i}", "relation", f"tail {i} {'x' * 400}") for i in range(3000)])
        client.delete("facts", range(1, 2500))
    before = setsum(served, "facts")
    planned = json.loads(run("compact", "--dry-run", "--json").out)
    assert planned["dry_run"]
    assert planned["after_bytes"] < planned["file_bytes"]
    done = json.loads(run("compact", "--json", "--rate", 1000, "--max-seconds", 60).out)
    assert done["after_bytes"] < done["file_bytes"]
    assert 0 < done["held_seconds"] < 5
    assert "became" in run("compact").out
    assert setsum(served, "facts") == before
    assert run("verify").status == 0


def test_snapshots_are_made_listed_verified_deleted(run: Run, served: Served, tmp_path: Path) -> None:
    before = stored(served, triples(100))
    assert run("snapshot", "list").out == "no snapshots\n"
    assert run("snapshot", "create", "one").out.startswith("made the snapshot one: 1 collection, 98 entries")
    [one] = json.loads(run("snapshot", "list", "--json").out)
    assert one["collections"] == [{"name": "facts", "entries": 98, "setsum": before}]
    assert "98" in run("snapshot", "list").out
    assert run("snapshot", "verify", "one").out == "no damage in one\n"
    data = served.settings.data
    assert run("snapshot", "restore", "one", "--data", data, "--to", tmp_path / "new").status == 0
    refused = run("snapshot", "restore", "one", "--data", data, "--force")
    assert (refused.status, "in use by the server" in refused.err) == (1, True)
    assert run("snapshot", "delete", "one").status == 0
    assert "no snapshot" in run("snapshot", "verify", "one").err
    with contextlib.closing(serving(tmp_path / "new", None)) as other:
        (tmp_path / "new" / "data").mkdir()
        (tmp_path / "new" / "atlas.mdb").rename(tmp_path / "new" / "data" / "atlas.mdb")
        assert setsum(next(other), "facts") == before


def test_what_is_no_number_is_wrong_usage(run: Run) -> None:
    for words in (("--rate", "fast"), ("--max-seconds", "0")):
        assert run("compact", *words).status == 2


def test_a_stopped_compaction_says_how_to_go_on(run: Run, served: Served) -> None:
    stored(served, triples(3000))
    done = run("compact", "--rate", 0.07, "--max-seconds", 0.01)
    assert (done.status, "goes on from here" in done.err) == (1, True)
    assert run("compact").status == 0
