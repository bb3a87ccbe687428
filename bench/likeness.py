"""How like a synthetic world is to the real one that it was made of: `generate.py likeness`.

Each figure is taken on both, at the same size and with the same code: how near heads lie to each other, how the rows
see the right entry, how much of the softmax the first entries have, and what three kinds of index find at what cost.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from descent import planned, walked
from methods import Hnsw, IvfSq8, Method, fetches
from moved import means, unit
from truth import Truth
from world import Ints, World

from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats

NEAR = (1, 10, 100)
RANKS = (1, 16, 64, 1024)
SHARES = (1, 16, 64, 1024)
QUERIES = 400
SETTINGS: tuple[tuple[type[Any], tuple[int, ...]], ...] = ((IvfSq8, (4, 16, 64)), (Hnsw, (64, 128, 256)))


def compared(real: World, other: World) -> list[dict[str, Any]]:
    """A line for each figure."""
    found = [dict(figures(world)) for world in (real, other)]
    return [{"figure": name, "real": found[0][name], "synthetic": found[1][name]} for name in found[0]]


def figures(world: World) -> Iterator[tuple[str, float]]:
    """(name, value)."""
    world = world.kept(np.arange(len(world))).asked(QUERIES)
    distinct, first = np.unique(world.texts, return_index=True)
    keys = world.keys.take(first).floats()
    sought = keys[np.searchsorted(distinct, world.gold)]
    yield from (("entries", len(world)), ("heads", len(np.unique(world.heads))), ("distinct keys", len(distinct)))
    yield from geometry(keys, world.heads[first])
    yield from seen(world.rows, sought, keys)
    asked = list(fetches(world, "last"))
    truth = Truth.of(world, asked, max(SHARES))
    shares = np.cumsum(truth.scores, axis=1) / world.rows.shape[1]
    yield from ((f"share of the softmax, first {n}", float(shares[:, n - 1].mean())) for n in SHARES)
    for kind, settings in SETTINGS:
        method: Method = kind(world, 2)
        for setting in settings:
            answers = [method.fetch(fetch, 64, setting) for fetch in asked]
            judged = truth.judge(world, asked, [ids for ids, _ in answers], 64)
            yield f"{kind.name} {setting}: compared", float(np.mean([count or 0 for _, count in answers]))
            yield from ((f"{kind.name} {setting}: {name}", judged[name]) for name in ("recall", "mass", "gold"))
    tree, forest = planned(world)
    found, _ = walked(forest, [quantise(rows) for rows in world.rows])
    judged = truth.judge(world, asked, [one.ids.astype(np.int64) - 1 for one in found], 64)
    yield "atlasdb: INTER nodes", float(tree.node_count)
    yield "atlasdb: nodes with slots compared", float(np.mean([one.cost.postings_read for one in found]))
    yield "atlasdb: slots read", float(np.mean([one.cost.entries_scored for one in found]))
    yield from ((f"atlasdb: {name}", judged[name]) for name in ("recall", "mass", "gold", "gold_exact"))


def geometry(keys: Floats, heads: Ints) -> Iterator[tuple[str, float]]:
    """Cosines between heads' means, of 500 of them with all others."""
    numbers = np.unique(heads, return_inverse=True)[1]
    centres = means(keys, numbers, int(numbers.max()) + 1)
    centres = unit(centres - centres.mean(axis=0))
    drawn = np.random.default_rng(0).permutation(len(centres))[:500]
    cosines = centres[drawn] @ centres.T
    cosines[np.arange(len(drawn)), drawn] = -1
    cosines = -np.sort(-cosines, axis=1)
    for n in NEAR:
        yield f"cosine of a head and its {n}. nearest", float(np.median(cosines[:, n - 1]))


def seen(rows: Floats, sought: Floats, keys: Floats) -> Iterator[tuple[str, float]]:
    """How the mean rows of fetches (N, R, D) see the right keys (N, D) among all distinct ones."""
    mean = rows.mean(axis=1)
    cosines = (unit(mean) * unit(sought)).sum(axis=1)
    yield "cosine of row and right key, mean", float(cosines.mean())
    yield "cosine of row and right key, lowest tenth", float(np.quantile(cosines, 0.1))
    bar = np.einsum("nd,nd->n", mean, sought) + 1e-3
    rank = sum((mean @ keys[at : at + (1 << 14)].T > bar[:, None]).sum(axis=1) for at in range(0, len(keys), 1 << 14))
    yield from ((f"rank of the right key below {n}", float((rank < n).mean())) for n in RANKS)
