"""What `atlasdb plan` says is what stores of that size have."""

import json
import time
from pathlib import Path

import numpy as np
import pytest

from atlasdb.engine.database import Database
from atlasdb.planning import loading
from atlasdb.planning.clock import Clock
from atlasdb.planning.command import main
from atlasdb.planning.disk import TreeSize, measured, tree_of
from atlasdb.planning.drawn import Drawn
from atlasdb.planning.estimate import disk_of
from atlasdb.planning.fetching import counts
from atlasdb.planning.growing import grown
from atlasdb.planning.loading import AHEAD, BATCH, Growth, LoadSpeed, loaded
from atlasdb.planning.shape import Shape
from atlasdb.planning.trials import pieces
from atlasdb.store.environment import Environment
from atlasdb.store.index import Index, Space
from atlasdb.tree.descend import NODES
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.ids import CollectionId
from atlasdb_contract.types import NO_ENCODER, CollectionConfig

NAME = "drawn"
SPEED = LoadSpeed(4e-6, 1e-5, 3e-8, 3e-8)


def stored(drawn: Drawn, folder: Path) -> Database:
    """A drawn world, loaded and built; open."""
    database = Database.open(folder, 1 << 30)
    database.create_collection(NAME, CollectionConfig(NO_ENCODER, drawn.shape.dimension))
    for ack in [database.insert(NAME, *batch) for batch in drawn.batches(BATCH)]:
        ack.result()
    database.build(NAME)
    return database


@pytest.mark.parametrize(
    "shape",
    [
        Shape(20_000),
        Shape(60_000, 96, text_bytes=30, entries_a_head=5, distinct_keys=0.8, distinct_values=0.3),
        Shape(20_000, 48, text_bytes=200, entries_a_head=2000, distinct_keys=0.5, distinct_values=0.01),
    ],
    ids=lambda shape: f"{shape.entries} entries, {shape.entries_a_head:g} a head",
)
def test_the_disk_that_is_planned_is_what_a_store_has(shape: Shape, tmp_path: Path) -> None:
    drawn = Drawn.of(shape, seed=3)
    whole = tree_of(shape, pieces(Drawn.of(shape)))
    load = loaded(shape, SPEED)
    rows = measured(shape, whole, tmp_path / "rows")
    planned = disk_of(shape, rows, whole, grown(shape, whole, load, took), load.pairs)
    with stored(drawn, tmp_path / "store") as database:
        stats = database.stats()
    found = stats.collections[0]
    tables = {name: size for name, size in found.table_bytes.items() if size}
    assert planned.tables.keys() == tables.keys()
    for name, size in tables.items():
        assert planned.tables[name] == pytest.approx(size, rel=0.1), name
    assert planned.in_use == pytest.approx(sum(tables.values()), rel=0.05)
    assert planned.peak == pytest.approx(stats.file_bytes, rel=0.1)
    assert whole.nodes == pytest.approx(found.inter_nodes, rel=0.02)
    assert whole.roots == pytest.approx(found.root_nodes, rel=0.05)


def took(given: int, tree: TreeSize) -> float:
    """A build of a million slots takes 20 s."""
    return 2e-5 * (given + tree.slots)


def test_a_world_is_drawn_as_its_shape_says() -> None:
    shape = Shape(5_000, 32, entries_a_head=10, distinct_keys=0.5, distinct_values=0.1, text_bytes=60)
    drawn = Drawn.of(shape)
    texts = [batch[0] for batch in drawn.batches(1000)]
    assert [len(np.unique(part)) for part in (drawn.heads, drawn.slots, drawn.value)] == [500, 2500, 500]
    assert sum(len(text.text) for text in texts) / len(drawn) == pytest.approx(60, rel=0.01)
    assert len({triple for text in texts for triple in text.triples()}) == len(drawn)


def test_the_index_grows_as_it_is_planned(tmp_path: Path) -> None:
    planned, draw = Growth(), np.random.default_rng(0)
    environment = Environment(tmp_path, 1 << 30)
    with environment.writing() as txn:
        environment.open_tables(txn, CollectionId(1))
    for _ in range(24):
        with environment.writing() as txn:
            tables = environment.tables(CollectionId(1))
            index = Index(txn, tables, Space.TRIPLES, lambda ids: np.ones(len(ids), np.bool_))
            index.append(np.sort(draw.integers(0, 1 << 63, 40_000, np.uint64)), np.arange(40_000, dtype=np.uint64))
            index.step()
            stored = sum(len(hashes) for hashes, _ in index.pairs())
        planned.add(40_000)
        assert planned.stored == pytest.approx(stored, rel=0.1)
    environment.close()


def test_a_larger_collection_takes_more() -> None:
    sizes = [10**power for power in range(3, 10)]
    loads = [loaded(Shape(size), SPEED) for size in sizes]
    assert all(load.entries[-1] == size for load, size in zip(loads, sizes, strict=True))
    each = [load.seconds[-1] / size for load, size in zip(loads, sizes, strict=True)]
    assert each == sorted(each)
    told = [counts(tree_of(Shape(size), 1.0)) for size in sizes]
    assert [one.opened for one in told] == sorted(one.opened for one in told)
    assert all(one.opened <= NODES and one.compared <= one.met for one in told)


def test_a_load_that_the_server_folds_meanwhile_leaves_trees_and_a_delta() -> None:
    for entries, folds in ((10**7, False), (2 * 10**8, True)):
        shape = Shape(entries)
        left = grown(shape, tree_of(shape, 1.0), loaded(shape, SPEED), took)
        assert (left.folds > 0, left.seconds > 0, len(left.trees) > 0) == (folds,) * 3
        assert left.delta + sum(tree.entries for tree in left.trees) == entries
        assert left.given <= entries


def test_a_clock_takes_off_no_more_than_has_passed() -> None:
    begun, clock, seen = time.perf_counter(), Clock(), [0.0]
    for _ in range(40):
        sum(range(50_000))
        seen.append(clock.seconds())
    assert min(seen) == 0
    assert 0 < seen[-1] <= time.perf_counter() - begun


def test_a_commit_has_whole_batches() -> None:
    assert [loading.commit_entries(dimension) for dimension in (16, 4096)] == [AHEAD * BATCH, BATCH]


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"entries": 0}, "needs no plan"),
        ({"dimension": 5000}, "from 1 to 4096"),
        ({"text_bytes": 1}, "bytes of text"),
        ({"distinct_keys": 1.5}, "share of distinct keys is 1.5"),
        ({"distinct_values": 0}, "share of distinct values is 0"),
        ({"entries_a_head": 0.5}, "a head has 1 or more"),
        ({"entries_a_head": 2}, "less than one key a head"),
        ({"entries": 10**12}, "plan several collections"),
        ({"entries_a_head": float("nan")}, "a head has 1 or more"),
    ],
    ids=str,
)
def test_a_shape_that_cannot_be_is_refused(values: dict[str, float], said: str) -> None:
    with pytest.raises(InvalidArgument, match=said):
        Shape(**({"entries": 1000} | values))


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--entries", "many"], "--entries 'many' is not a number such as 1e9"),
        (["--entries", "1.5"], "--entries '1.5' is not a whole number"),
        (["--entries", "1e400"], "is not a number"),
        (["--entries", "-3"], "--entries '-3' is not a number"),
        (["--entries", "1e3", "--dim", "0"], "the dimension is 0"),
        ([], "--entries"),
    ],
    ids=str,
)
def test_wrong_flags_are_one_line(flags: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags) == 2
    error = capsys.readouterr().err
    assert said in error
    assert (error.count("\n"), error.startswith("atlasdb: error: ")) == (1, True)


def test_a_folder_that_is_missing_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--entries", "1e6", "--data", str(tmp_path / "nowhere")]) == 1
    assert "no folder that can be written" in capsys.readouterr().err


@pytest.mark.parametrize("entries", ["1e9", "1"])
def test_a_plan_is_complete_and_leaves_nothing(
    entries: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # as the command would, for good
    assert main(["--entries", entries, "--dim", "16", "--data", str(tmp_path), "--json"]) == 0
    plan = json.loads(capsys.readouterr().out)
    assert list(tmp_path.iterdir()) == []
    assert plan["shape"]["entries"] == int(float(entries.replace("_", "")))
    assert plan["disk"]["in_use"] == sum(plan["disk"]["tables"].values()) <= plan["disk"]["peak"]
    assert plan["build"]["seconds"] == pytest.approx(sum(plan["build"]["stages"].values()))
    fetch = plan["fetch"]
    assert 0 < fetch["opened"] <= fetch["nodes"] <= fetch["codes"] <= plan["nodes"] or plan["nodes"] < 10
    assert 0 < fetch["warm_us"] < fetch["cold_us"]
    assert 0 < plan["memory"]["kept"] < plan["memory"]["serving"]
    assert plan["memory"]["building"] > 0 or entries == "1"
