"""The plots of docs/plots/ from what `bench/peers.py --json` printed; the same bytes for the same figures.

    python bench/plots.py [FILE.json ...] [--k N] [--out DIR]

Without files, of all that `make bench` left in bench/results/.

cost.svg: time and comparisons over the number of entries, each method at its fastest setting of equal mass; recall.svg:
mass, recall and gold over time at the largest size that most methods reached; memory.svg: resident memory over the
number of entries.
"""

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from store import RESULTS

OUT = Path(__file__).resolve().parents[1] / "docs" / "plots"
OURS = "atlasdb"
METHODS = (
    OURS, "HiKVP, published", "exact scan", "faiss IVFFlat", "faiss IVF-SQ8", "faiss HNSW", "usearch", "LanceDB"
)  # fmt: skip
MARKS = "os^v<>pD"
COLOURS = ("#e5484d", "#2f81f7", "#8b949e", "#a371f7", "#bf4b8a", "#bf8700", "#2da44e", "#1b9aaa")
INK = "#7d8590"
"""Readable on white and on black, as are the colours; the ground is the page's own."""
Row = dict[str, Any]


def styled() -> None:
    """Small, plain and deterministic."""
    mpl.rcParams.update(
        {
            "svg.hashsalt": "atlasdb",
            "svg.fonttype": "none",
            "font.size": 9,
            "axes.spines.top": False,
            "axes.spines.right": False,
            "axes.grid": True,
            "grid.alpha": 0.3,
            "legend.frameon": False,
            "figure.facecolor": "none",
            "axes.facecolor": "none",
            "savefig.facecolor": "none",
            **dict.fromkeys(("text.color", "axes.labelcolor", "axes.edgecolor", "xtick.color", "ytick.color"), INK),
        }
    )


def lines(axes: Axes, rows: list[Row], x: str, y: str) -> None:
    """A line for each method, ours drawn heavier; a method keeps its mark and colour in every plot."""
    for number, method in enumerate(METHODS):
        points = sorted((row[x], row[y]) for row in rows if row["method"] == method and row[y] is not None)
        if points:
            axes.plot(
                *zip(*points, strict=True),
                label=method,
                marker=MARKS[number],
                markersize=4,
                color=COLOURS[number],
                linewidth=2.2 if method == OURS else 1,
                zorder=3 if method == OURS else 2,
            )


def cost(tables: dict[str, list[Row]], k: int) -> Figure:
    """Over M at equal mass; methods that do not reach it are left out."""
    rows = [row for row in tables["mass"] if row["k"] == k and "yes" in (row[key] for key in row if key[:5] == "mass ")]
    figure, both = new(2)
    for axes, name, label in zip(both, ("p50_ms", "compared"), ("ms a fetch, p50", "vectors compared"), strict=True):
        lines(axes, rows, "entries", name)
        logarithmic(axes, "x", "entries")
        logarithmic(axes, "y", label)
    figure.legend(*both[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def recall(rows: list[Row], k: int) -> Figure:
    """Over time, at the largest size with the most methods."""
    here = [row for row in rows if row["k"] == k]
    sizes = {row["entries"] for row in here}
    best = max(sizes, key=lambda size: (len({row["method"] for row in here if row["entries"] == size}), size))
    here = [row for row in here if row["entries"] == best]
    figure, three = new(3)
    for axes, name in zip(three, ("mass", "recall", "gold"), strict=True):
        lines(axes, here, "p50_ms", name)
        logarithmic(axes, "x", "ms a fetch, p50")
        axes.set(ylabel=name, ylim=(max(0.0, axes.get_ylim()[0]), 1.01))
    three[0].set_title(f"{best:,} entries, k = {k}", loc="left", fontsize=9)
    figure.legend(*three[0].get_legend_handles_labels(), loc="outside right upper")
    return figure


def memory(rows: list[Row], k: int) -> Figure:
    """Over M."""
    unique = {(row["method"], row["entries"]): row for row in rows if row["k"] == k and row["mb"] > 0}
    figure, (axes,) = new(1)
    lines(axes, list(unique.values()), "entries", "mb")
    logarithmic(axes, "x", "entries")
    logarithmic(axes, "y", "resident MB")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right upper")
    return figure


def logarithmic(axes: Axes, which: Literal["x", "y"], label: str) -> None:
    """An axis with plain numbers at 1, 2 and 5, at 1 alone where it spans more than two powers of ten."""
    axes.set(**{f"{which}scale": "log", f"{which}label": label})
    axis = axes.xaxis if which == "x" else axes.yaxis
    low, high = axis.get_view_interval()
    axis.set_major_locator(LogLocator(subs=(1.0,) if high > 100 * low else (1.0, 2.0, 5.0)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}" if value >= 1 else f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def new(panels: int) -> tuple[Figure, list[Axes]]:
    """A figure with panels side by side."""
    figure = Figure(figsize=(3 * panels + 1.4, 2.8), layout="constrained")
    return figure, list(figure.subplots(1, panels, squeeze=False)[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", type=Path, nargs="*")
    parser.add_argument("--k", type=int, default=64)
    parser.add_argument("--out", type=Path, default=OUT)
    args = parser.parse_args()
    files = args.files or sorted(RESULTS.glob("peers*.json"))
    if not files:
        sys.exit(f"skipped: no results of the peers in {RESULTS}; `make bench` leaves them")
    styled()
    found = [json.loads(path.read_text(encoding="utf-8")) for path in files]
    rows = [row for one in found for row in one["rows"] if "skipped" not in row]
    tables = {what: [row for one in found for row in one["equal"][what]] for what in ("recall", "mass")}
    args.out.mkdir(parents=True, exist_ok=True)
    figures: dict[str, Callable[[], Figure]] = {
        "cost": lambda: cost(tables, args.k),
        "recall": lambda: recall(rows, args.k),
        "memory": lambda: memory(rows, args.k),
    }
    for name, made in figures.items():
        path = args.out / f"{name}.svg"
        made().savefig(path, format="svg", metadata={"Date": None})
        print(path)


if __name__ == "__main__":
    main()
