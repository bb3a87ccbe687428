"""`make demo` itself: every question is answered from the graph, and the stranger's at once."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
ANSWERED = {
    "What is the capital of Norway?": "Oslo",
    "where was Marie Curie born?": "Warsaw",
    "what did Alan Turing do for a living?": "mathematician",
    "what was the nationality of Hans Christian Andersen?": "Denmark",
    "who was married to Frida Kahlo?": "Diego Rivera",
    "What did John Keats die of?": "tuberculosis",
    "where was Ilsabe Quandtner born?": "Lisbon",
    "what was the profession of Ilsabe Quandtner?": "botanist",
}


def test_the_demo_answers_every_question_and_leaves_nothing_behind() -> None:
    done = subprocess.run(
        [sys.executable, ROOT / "examples" / "demo.py"], capture_output=True, text=True, timeout=280, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    for question, answer in ANSWERED.items():
        at = lines.index(question)
        assert lines[at + 1].strip() == answer
        assert answer in lines[at + 2], "the evidence says what the answer says"
    folder = next(line for line in lines if "atlasdb serve --data" in line).split("--data ")[1].split("/data")[0]
    assert not Path(folder).exists()
