"""kill -9 while a store is compacted and snapshots are made: what was acked is there, and nothing half-made stays."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
from test_kill import Acked

from atlasdb.engine.database import Database


def kill(folder: Path, seed: int, acked: Acked, last: int, seconds: float) -> None:
    """One process, killed by itself at its call number `last`, or by us after a while."""
    script = Path(__file__).with_name("compacting.py")
    command = [sys.executable, str(script), str(folder), str(seed), str(acked.next), str(last)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        if not last:
            acked.hear(process.stdout.readline())
            time.sleep(seconds)
            process.kill()
        for line in process.stdout:
            if line.endswith("\n"):
                acked.hear(line)
        assert process.wait() == -signal.SIGKILL


def check(folder: Path, acked: Acked) -> None:
    acked.check(folder)
    assert sorted(path.name for path in folder.glob("atlas.mdb*")) == ["atlas.mdb", "atlas.mdb-lock"]
    with Database.open(folder, 1 << 30) as database:
        assert list((folder / "snapshots").glob("*.part")) == []
        for snapshot in database.list_snapshots():
            *_, last = database.verify_snapshot(snapshot.name)
            assert last.damage == ()


def kill_again_and_again(folder: Path, rounds: int, seed: int) -> None:
    rng, acked = np.random.default_rng(seed), Acked()
    for number in range(rounds):
        last = 0 if number % 3 == 2 else int(rng.integers(3, 40))
        kill(folder, seed + number, acked, last, float(rng.uniform(0, 0.8)))
        check(folder, acked)


def test_acked_triples_survive_kill_of_a_compaction(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "data", rounds=6, seed=1)
