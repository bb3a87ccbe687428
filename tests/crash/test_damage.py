"""Bit flips and overwritten pages anywhere in the data file: no wrong answer, no dead process, each damage named, and
what parity can restore restored."""

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damaging import ENTRIES, NAMES, look, make

PAGE = 4096
SLICE = 20


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """A store, and what a process says of it."""
    folder = tmp_path_factory.mktemp("sound") / "data"
    make(folder)
    copied = folder.parent / "looked at"
    shutil.copytree(folder, copied)
    said = json.loads(json.dumps(look(copied)))
    assert said["damage"] == said["restored"] == said["lost"] == said["left"] == []
    return folder, said


class Process:
    """Looks at one store after the other, until it dies."""

    def __init__(self) -> None:
        script = Path(__file__).with_name("damaging.py")
        self._process = subprocess.Popen(
            [sys.executable, str(script)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def look(self, folder: Path) -> dict[str, Any]:
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(f"{folder}\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        assert line, f"the process died with {self._process.wait()}"
        said: dict[str, Any] = json.loads(line)
        return said

    def close(self) -> None:
        self._process.communicate()


def spoil(file: Path, draw: np.random.Generator) -> str:
    """Damage a file at one place; says how. Never what the file doesn't use, which nothing could tell."""
    content = bytearray(file.read_bytes())
    pages = len(content) // PAGE
    kind = ("bit", "bit", "run", "page")[int(draw.integers(4))]
    page = int(draw.integers(pages))
    at = page * PAGE + int(draw.integers(PAGE))
    if kind == "bit":
        content[at] ^= 1 << int(draw.integers(8))
    elif kind == "run":
        size = int(draw.integers(2, 200))
        content[at : at + size] = draw.bytes(len(content[at : at + size]))
    else:
        content[page * PAGE : (page + 1) * PAGE] = draw.bytes(PAGE) if draw.integers(2) else bytes(PAGE)
    file.write_bytes(content)
    return f"{kind} in page {page} at {at % PAGE}"


def judge(said: dict[str, Any], truth: dict[str, Any], how: str) -> str:
    """What became of it: refused, untouched, restored or lost. Fails where anything is wrong."""
    if "refused" in said:
        assert "damaged" in said["refused"] or "format" in said["refused"], (how, said["refused"])
        return "refused"
    named = said["damage"] + [told for one in said["stats"].values() for told in one[2]]
    differs = []
    for name in NAMES:
        right = truth["entries"][name]
        for found in (said["entries"][name], said["after"][name]):
            for number in map(str, range(1, ENTRIES + 1)):
                got = found.get(number)
                if got != right.get(number):
                    assert got is None, (how, name, number, "a wrong entry was read")
                    differs.append(number)
        for kind in ("fetched", "exact"):
            for block, wanted in zip(said[kind][name], truth[kind][name], strict=True):
                if isinstance(block, str):
                    differs.append(block)
                    continue
                for number, key, value in block["entries"]:
                    assert [key, value] == right[str(number)][1:], (how, name, number, "a wrong vector was fetched")
                if kind == "exact" and block["entries"] != wanted["entries"]:
                    assert block["out"], (how, name, "entries are missing in a block, and it does not say so")
                    differs.append("block")
    if differs:
        assert named, (how, differs[:3], "damage was met, and verify does not name it")
    if not named:
        assert not said["restored"], how
        return "untouched"
    if said["lost"] or said["left"]:
        assert said["lost"], (how, said["left"], "damage is left that repair does not name")
        return "lost"
    assert said["after"] == truth["entries"], how
    assert said["setsums"] == truth["setsums"], how
    return "restored"


def run(sound: tuple[Path, dict[str, Any]], tmp_path: Path, seeds: range) -> dict[str, int]:
    """Damages with these seeds, one after the other."""
    folder, truth = sound
    outcomes: dict[str, int] = {}
    process = Process()
    try:
        for seed in seeds:
            hurt = tmp_path / f"seed {seed}"
            shutil.copytree(folder, hurt)
            how = f"seed {seed}: {spoil(hurt / 'atlas.mdb', np.random.default_rng(seed))}"
            try:
                said = process.look(hurt)
            except AssertionError as error:
                raise AssertionError(how) from error
            outcome = judge(said, truth, how)
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
            shutil.rmtree(hurt)
    finally:
        process.close()
    print(f"seeds {seeds}: {outcomes}")
    return outcomes


def test_damage_anywhere_gives_no_wrong_answer_and_no_dead_process(
    sound: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    outcomes = run(sound, tmp_path, range(SLICE))
    assert outcomes["restored"] > SLICE // 3
