"""`make demo`: a store in a temporary folder, the sample graph, questions with evidence, a new fact, an answer."""

import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).resolve().parent
BIN = Path(sys.executable).parent
QUESTIONS = (
    "What is the capital of Norway?",
    "where was Marie Curie born?",
    "what did Alan Turing do for a living?",
    "what was the nationality of Hans Christian Andersen?",
    "who was married to Frida Kahlo?",
    "What did John Keats die of?",
)
STRANGER = "Ilsabe Quandtner"
STRANGER_FACTS = (
    (STRANGER, "profession", "botanist"),
    (STRANGER, "place of birth", "Lisbon"),
    (STRANGER, "nationality", "Portugal"),
)
STRANGER_QUESTIONS = (f"where was {STRANGER} born?", f"what was the profession of {STRANGER}?")


def run(folder: Path, *command: str) -> None:
    """Show a command and run it against the demo's store."""
    print(f"\n$ {shlex.join(command)}", flush=True)
    program, *arguments = command
    subprocess.run([BIN / program, *arguments, "--server", f"unix:{folder / 'atlas.sock'}"], check=True)


def serve(folder: Path) -> subprocess.Popen[bytes]:
    """Start a store on an empty folder and wait until it answers."""
    socket = folder / "atlas.sock"
    command = ["atlasdb", "serve", "--data", str(folder / "data"), "--listen", "127.0.0.1:0", "--socket", str(socket)]
    print(f"$ {shlex.join(command)} &", flush=True)
    process = subprocess.Popen([BIN / command[0], *command[1:]])
    for _ in range(300):
        if socket.exists() or process.poll() is not None:
            break
        time.sleep(0.1)
    if not socket.exists():
        raise SystemExit("the store did not start")
    return process


def tell(folder: Path, facts: Sequence[tuple[str, str, str]]) -> None:
    """Load facts that no model has ever seen."""
    path = folder / "new.tsv"
    path.write_text("".join("\t".join(fact) + "\n" for fact in facts), encoding="utf-8")
    print(f"\n# {STRANGER} does not exist. Until now.")
    for fact in facts:
        print("#   " + " | ".join(fact))
    run(folder, "atlasdb", "load", str(path), "--collection", "sample")


def main() -> None:
    """The whole demo; leaves nothing behind."""
    with tempfile.TemporaryDirectory(prefix="atlasdb-demo-") as name:
        folder = Path(name)
        process = serve(folder)
        try:
            run(folder, "atlasdb", "load", str(HERE / "sample.tsv"), "--collection", "sample")
            run(folder, "atlasdb", "build", "--collection", "sample")
            run(folder, "atlas-llm", "ask", *QUESTIONS, "--collection", "sample", "--evidence", "2")
            tell(folder, STRANGER_FACTS)
            run(folder, "atlas-llm", "ask", *STRANGER_QUESTIONS, "--collection", "sample", "--evidence", "2")
        finally:
            process.terminate()
            process.wait(timeout=30)


if __name__ == "__main__":
    main()
