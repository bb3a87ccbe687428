"""The time that a build takes, stage by stage: what it took in the trial, times how much more there is to do.

read       the given slots                      in proportion to them
nodes      sort, metric, means of heads         n log n in what is given; the metric is measured on a sample
ROOTs      k-means and assignment               products of B nodes with sqrt(B) ROOTs: B^(3/2)
graph      each node walks twice                B log B; near nodes are near in memory, too
residuals  each slot with each residual         in proportion to both, and what they are found on
write      codes, records, synced commits       in proportion to the tree's bytes
"""

from dataclasses import dataclass
from math import log

from atlasdb.planning.disk import RowBytes, TreeSize
from atlasdb.tree import build, kmeans, residuals, whiten

STAGES = ("read", "nodes", "ROOTs", "graph", "residuals", "write")


def stage_of(reported: str) -> str:
    """The stage that a build's progress speaks of."""
    return reported if reported in STAGES else "write"


@dataclass(frozen=True, slots=True)
class BuildTrial:
    """A build of `tree` from so many `given` slots: seconds by stage, those of the metric, multiplications a second."""

    given: int
    tree: TreeSize
    dimension: int
    seconds: dict[str, float]
    metric: float
    products: float


def seconds(trial: BuildTrial, rows: RowBytes, given: int, tree: TreeSize) -> dict[str, float]:
    """By stage, of a build of `tree` from so many given slots."""
    before, took = trial.tree, trial.seconds
    sorting = max(0.0, took["nodes"] - trial.metric)
    sample = min(tree.slots, whiten.SAMPLE) / min(before.slots, whiten.SAMPLE)
    beside = max(0.0, took["ROOTs"] - _products(before, trial.dimension) / trial.products)
    return {
        "read": took["read"] * given / trial.given,
        "nodes": sorting * _n_log_n(given) / _n_log_n(trial.given) + trial.metric * sample,
        "ROOTs": beside * tree.nodes / before.nodes + _products(tree, trial.dimension) / trial.products,
        "graph": took["graph"] * _n_log_n(tree.nodes) / _n_log_n(before.nodes),
        "residuals": took["residuals"] * _of_residuals(tree) / _of_residuals(before),
        "write": took["write"] * sum(rows.tree(tree).values()) / sum(rows.tree(before).values()),
    }


def _n_log_n(count: int) -> float:
    return count * log(max(count, 2))


def _of_residuals(tree: TreeSize) -> float:
    """Slots compared with residuals: those of the sample again and again, then all."""
    number = min(residuals.RESIDUALS, max(1.0, tree.slots / residuals.SAMPLE))
    return number * (kmeans.ITERATIONS * min(tree.slots, number * residuals.SAMPLE) + tree.slots)


def _products(tree: TreeSize, dimension: int) -> float:
    """Multiplications of the ROOTs of a tree."""
    sample = min(tree.nodes, build.SAMPLE * tree.roots)
    return float(dimension * tree.roots) * (kmeans.ITERATIONS * sample + tree.nodes)
