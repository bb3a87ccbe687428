"""Stores of every released format: opened, whole, with the answers of their time, and of use."""

import json
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
from test_environment import format_record, rewrite
from worlds import HashEncoder, Stores, damage, facts

from atlasdb import format as fmt
from atlasdb import migrate

FOLDER = Path(__file__).parents[1] / "golden"
sys.path.insert(0, str(FOLDER))
import make  # noqa: E402

GOLDEN = sorted(FOLDER.glob("v*.tar.gz"))
Migrate = Callable[..., tuple[int, str]]


@pytest.fixture(params=GOLDEN, ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest, stores: Stores) -> Stores:
    """The folder of one, not open."""
    with tarfile.open(request.param) as archive:
        archive.extractall(stores.folder, filter="data")
    return stores


@pytest.fixture
def migrated(capsys: pytest.CaptureFixture[str]) -> Migrate:
    """`atlasdb migrate`: its status and what it says."""

    def run(*arguments: object) -> tuple[int, str]:
        status = migrate.main([str(argument) for argument in arguments])
        said = capsys.readouterr()
        return status, said.out + said.err

    return run


def test_this_versions_format_has_a_golden_store() -> None:
    assert f"v{fmt.VERSION}.tar.gz" in [path.name for path in GOLDEN]
    assert all(path.stat().st_size < 100_000 for path in GOLDEN)


def test_a_golden_store_is_whole_and_says_what_it_said(golden: Stores) -> None:
    database = golden.open()
    assert damage(database) == []
    assert make.answers(database) == json.loads((golden.folder / "answers.json").read_bytes())


def test_a_golden_store_goes_on(golden: Stores, encoder: HashEncoder) -> None:
    database = golden.open()
    for name in ("given", "texts"):
        before = database.count(name)
        again = make.vectors(facts(180)) if name == "given" else ()
        assert database.insert(name, facts(180), *again).result().existing == 177
        database.build(name)
        database.delete(name, [9]).result()
        assert database.count(name) > before
    golden.open()


def test_migrate_has_nothing_to_do_for_this_versions_stores(golden: Stores, migrated: Migrate) -> None:
    before = (golden.folder / "atlas.mdb").read_bytes()
    for flags in (["--dry-run"], []):
        status, said = migrated("--data", golden.folder, *flags)
        assert status == 0
        assert f"has format version {fmt.VERSION}" in said
        assert "nothing" in said
    assert (golden.folder / "atlas.mdb").read_bytes() == before


def test_migrate_names_what_it_can_not_read(golden: Stores, migrated: Migrate, tmp_path: Path) -> None:
    golden.open()
    assert "is in use by the server with pid" in migrated("--data", golden.folder)[1]
    golden.close()
    golden.sound = False
    rewrite(golden.folder, fmt.FORMAT_KEY, format_record(fmt.MAGIC, 1, 0))
    status, said = migrated("--data", golden.folder, "--dry-run")
    assert (status, "format version 1; this atlasdb reads version 2" in said) == (1, True)
    rewrite(golden.folder, fmt.FORMAT_KEY, format_record(fmt.MAGIC, fmt.VERSION, 4))
    assert "features 0x4, unknown" in migrated("--data", golden.folder)[1]
    assert "there is no store in" in migrated("--data", tmp_path / "nowhere")[1]
    assert migrated()[0] == 2
