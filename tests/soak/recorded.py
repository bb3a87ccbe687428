"""What a power cut is simulated from: `python -m tests.soak.recorded FOLDER SEED STEPS` acts on a store in FOLDER, and
writes each message of its actor to FOLDER/marks with one write, which strace sees among the writes to the store."""

import os
import pickle
import sys
from pathlib import Path

import numpy as np

from .acting import Actor
from .ledger import Ledger

MARKS = "marks"
STORE = "data"


def main(folder: Path, seed: int, steps: int) -> None:
    """Act, then end."""
    marks = os.open(folder / MARKS, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    rng = np.random.default_rng(seed)
    actor = Actor(folder / STORE, Ledger(), rng, lambda said: os.write(marks, pickle.dumps(said)))
    actor.run(steps)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
