"""The table of suites, in the order in which they run."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import churn, corruption, diskfull, fuzz, kills, model, powercut
from .tally import Tally


@dataclass(frozen=True, slots=True)
class Suite:
    """`episode(seed, folder, tally)` does what the seed says in an empty folder. `target`: the rounds of a report;
    `share` of the time, where a time is given; `promise`: what no round may break."""

    episode: Callable[[int, Path, Tally], None]
    unit: str
    target: int
    share: float
    promise: str


SUITES = {
    "kills": Suite(
        kills.episode, "kills", 2000, 3, "what was acknowledged is there, nothing else is, every invariant holds"
    ),
    "powercut": Suite(
        powercut.episode,
        "disk images",
        5000,
        2,
        "each opens, is whole and holds what was acknowledged, perhaps with steps under way",
    ),
    "model": Suite(
        model.episode, "operations", 50_000, 2, "a store and a dictionary agree, fetches with a float64 reference too"
    ),
    "corruption": Suite(
        corruption.episode, "damaged files", 1000, 1, "nothing wrong is served, nothing dies, every damage is named"
    ),
    "diskfull": Suite(
        diskfull.episode,
        "points",
        200,
        1,
        "nothing is lost, reads and, within the reserve, deletes go on, inserts resume with room",
    ),
    "fuzz": Suite(
        fuzz.episode, "inputs", 1_000_000, 2, "each input is used or refused by name, soon; memory stays flat"
    ),
    "churn": Suite(
        churn.episode,
        "replacements",
        20,
        1,
        "recall as of a fresh build, memory flat, the file at most twice what its entries take",
    ),
}
