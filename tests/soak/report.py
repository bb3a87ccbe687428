"""The report of a soak: a Markdown page with a table, or the same as JSON."""

import json
import os
import platform
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from .runner import Result, command
from .suites import SUITES

INTRODUCTION = """# Proof

What `make soak` found: every suite breaks stores in one way, again and again, and counts broken promises. A suite runs
*episodes*; each is made by one seed, so its command runs it again. CONTRIBUTING.md says how to run and replay.
"""


def rows(results: Mapping[str, Result]) -> list[dict[str, Any]]:
    """One for each suite."""
    return [_row(name, result) for name, result in results.items()]


def _row(name: str, result: Result) -> dict[str, Any]:
    tally = result.tally
    return {
        "suite": name,
        "promise": SUITES[name].promise,
        "rounds": tally.rounds,
        "unit": SUITES[name].unit,
        "seeds": [tally.seeds[0], tally.seeds[-1]] if tally.seeds else [],
        "failures": [
            {"seed": one.seed, "what": one.short, "kept": one.kept, "command": command(name, one.seed)}
            for one in tally.failures
        ],
        "seconds": round(result.seconds, 1),
        "command": f"python -m tests.soak {name} --rounds {tally.rounds} --seed {tally.seeds[0] if tally.seeds else 0}",
        "figures": dict(sorted(tally.figures.items())),
        "largest": {key: round(value, 4) for key, value in sorted(tally.largest.items())},
        "skipped": result.skipped,
    }


def write(path: Path, results: Mapping[str, Result]) -> None:
    """A report of what has run so far, by the suffix .json or .md."""
    made = rows(results)
    if path.suffix == ".json":
        text = json.dumps({"machine": machine(), "date": time.strftime("%Y-%m-%d"), "suites": made}, indent=1) + "\n"
    else:
        text = page(made)
    path.write_text(text, "utf-8")


def machine() -> str:
    """What the figures were got on."""
    return f"{os.cpu_count()} cores, {platform.system()} {platform.release()}, Python {platform.python_version()}"


def page(made: Sequence[Mapping[str, Any]]) -> str:
    """Markdown."""
    lines = [INTRODUCTION, "| suite | rounds | seeds | failures | time | command |", "|---|---:|---|---:|---:|---|"]
    for row in made:
        seeds = "–".join(map(str, dict.fromkeys(row["seeds"])))
        rounds = f"skipped: {row['skipped']}" if row["skipped"] else f"{row['rounds']:,} {row['unit']}"
        failures, seconds = len(row["failures"]), row["seconds"]
        spent = f"{seconds / 60:.1f} min" if seconds >= 60 else f"{seconds:.0f} s"
        lines.append(f"| {row['suite']} | {rounds} | {seeds} | {failures} | {spent} | `{row['command']}` |")
    lines += ["", f"Machine: {machine()}; {time.strftime('%Y-%m-%d')}.", ""]
    for row in made:
        lines += [f"**{row['suite']}**: {row['promise']}.", ""]
        counted = [f"{key}: {value:,}" for key, value in row["figures"].items()]
        counted += [f"{key}: {value:,}" for key, value in row["largest"].items()]
        lines += [f"- {one}" for one in counted]
        lines += [f"- FAILED, seed {one['seed']}: {one['what']} (`{one['command']}`)" for one in row["failures"]]
        lines += [""] if lines[-1] else []
    return "\n".join(lines).rstrip() + "\n"
