"""A short slice of each suite, by the command that runs the long one."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SLICES = {"kills": 12, "powercut": 150, "model": 800, "diskfull": 4, "fuzz": 5000, "churn": 1, "corruption": 25}
"""Rounds of each suite."""


def soak(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tests.soak", *words, "--keep", str(folder / "kept")]
    return subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("suite", SLICES)
def test_a_slice_breaks_no_promise(suite: str, tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    done = soak(tmp_path, suite, "--rounds", str(SLICES[suite]), "--seed", "1", "--report", str(report))
    assert done.returncode == 0, done.stdout + done.stderr
    [told] = json.loads(report.read_text())["suites"]
    if told["skipped"]:
        pytest.skip(told["skipped"])
    assert told["rounds"] >= SLICES[suite]
    assert told["failures"] == []


def test_a_soak_that_is_stopped_reports_what_it_did(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    command = [sys.executable, "-m", "tests.soak", "kills", "--for", "1h", "--report", str(report)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("kills: 1 rounds, seed 0")
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    [told] = json.loads(report.read_text())["suites"]
    assert told["rounds"] >= 1
    assert told["seeds"][0] == 0
