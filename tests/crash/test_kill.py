"""kill -9 at any moment, again and again on the same store: what was acked is there, and the store is whole."""

import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from writing import triples

from atlasdb.engine.database import Database
from atlasdb_contract.types import Triple


@dataclass
class Acked:
    """What the killed processes said, all together."""

    ids: dict[tuple[str, str, str], int] = field(default_factory=dict)
    doubtful: set[int] = field(default_factory=set)
    """Ids whose delete began; acked ones are in `deleted` too."""
    deleted: set[int] = field(default_factory=set)
    next: int = 0
    lines: int = 0

    def hear(self, line: str) -> None:
        what, *words = line.split()
        numbers = list(map(int, words))
        self.lines += 1
        match what:
            case "insert":
                start, count, *ids = numbers
                self.next = max(self.next, start + count)
                for triple, number in zip(triples(start, count), ids, strict=True):
                    self.ids[triple.identity] = max(number, self.ids.get(triple.identity, 0))
            case "deleting":
                self.doubtful.add(numbers[0])
            case "deleted":
                self.deleted.add(numbers[0])

    def check(self, folder: Path) -> None:
        with Database.open(folder, 1 << 30) as database:
            stored = {entry.id: entry.triple for chunk in database.scan("facts") for entry in chunk}
            assert [s for _, progress in database.verify() for s in progress.damage] == []
        assert not self.deleted & stored.keys()
        for identity, number in self.ids.items():
            assert number in self.doubtful or stored[number] == Triple(*identity)
        assert len({triple.identity for triple in stored.values()}) == len(stored)


def kill_in_the_middle(folder: Path, seed: int, acked: Acked, rng: np.random.Generator) -> None:
    """One process, killed a while after its first ack."""
    script = Path(__file__).with_name("writing.py")
    command = [sys.executable, str(script), str(folder), str(seed), str(acked.next)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        acked.hear(process.stdout.readline())
        time.sleep(float(rng.uniform(0, 0.4)))
        process.kill()
        for line in process.stdout:
            if line.endswith("\n"):
                acked.hear(line)


def kill_again_and_again(folder: Path, rounds: int, seed: int) -> None:
    rng, acked = np.random.default_rng(seed), Acked()
    for number in range(rounds):
        kill_in_the_middle(folder, seed + number, acked, rng)
        acked.check(folder)
    assert acked.lines > 10 * rounds


def test_acked_triples_survive_kill(tmp_path: Path) -> None:
    kill_again_and_again(tmp_path / "data", rounds=10, seed=1)
