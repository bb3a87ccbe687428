"""A full disk stops writers alone: on a real, small one."""

import os
import subprocess
import sys
from pathlib import Path

import filled
import pytest

from atlasdb.store import reserve
from atlasdb.store.reserve import Reserve


def test_a_full_disk_refuses_inserts_while_reads_and_deletes_go_on(tmp_path: Path) -> None:
    """And a commit that meets it loses nothing, a restart reads on, and inserts resume with room."""
    folder = tmp_path / "disk"
    folder.mkdir()
    path = os.pathsep.join([os.fspath(Path(__file__).parents[2]), *sys.path])
    command = [sys.executable, filled.__file__, os.fspath(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | {"PYTHONPATH": path})
    if done.returncode == filled.NOT_ALLOWED:
        pytest.skip(f"no small disk can be mounted here: {done.stdout.strip()}")
    assert done.returncode == 0, done.stderr


def test_the_reserve_is_made_given_up_and_made_again(tmp_path: Path) -> None:
    kept = Reserve(tmp_path)
    assert not kept.kept
    assert not kept.give_up()
    for _ in range(2):
        assert kept.keep()
        assert kept.kept
        assert kept.keep()
        assert kept.give_up()
        assert not (tmp_path / reserve.FILE).exists()


def test_a_folder_that_takes_no_reserve_is_used_without(tmp_path: Path) -> None:
    assert not Reserve(tmp_path / "missing").keep()
