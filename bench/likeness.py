"""How like a synthetic world is to the real one that its model was fitted to: `generate.py likeness`.

Each figure is taken on both, at the same size and with the same code: how near heads lie to each other, how the rows
see the right entry, and what two kinds of index find at what cost.
"""

from typing import Any

import numpy as np
from methods import Hnsw, IvfSq8, Method, fetches
from names import means, ranks, unit
from peers import Truth
from world import World

from atlasdb_contract.types import Floats

NEAR = (1, 10, 100)
RANKS = (1, 16, 64, 1024)
QUERIES = 200
SETTINGS: tuple[tuple[type[Any], tuple[int, ...]], ...] = ((IvfSq8, (4, 16, 64)), (Hnsw, (64, 128, 256)))


def compared(real: World, other: World) -> list[dict[str, Any]]:
    """A line for each figure."""
    found = [dict(figures(world)) for world in (real, other)]
    return [{"figure": name, "real": found[0][name], "synthetic": found[1][name]} for name in found[0]]


def figures(world: World) -> list[tuple[str, float]]:
    """(name, value)."""
    world = World.kept(world, np.arange(len(world))).asked(QUERIES)
    distinct, first = np.unique(world.texts, return_index=True)
    keys = world.keys.take(first).floats()
    sought = keys[np.searchsorted(distinct, world.gold)]
    lines = [("entries", len(world)), ("heads", len(np.unique(world.heads))), ("distinct keys", len(distinct))]
    lines += geometry(keys, world.heads[first])
    lines += [(f"rank of the right key below {n}", float((ranks(world.rows, sought, keys) < n).mean())) for n in RANKS]
    rows = world.rows.mean(axis=1)
    lines.append(("cosine of row and right key", float((unit(rows) * unit(sought)).sum(axis=1).mean())))
    asked = list(fetches(world, "last"))
    truth = Truth.of(world, asked, 64)
    for kind, settings in SETTINGS:
        method: Method = kind(world, 1)
        for setting in settings:
            answers = [method.fetch(fetch, 64, setting) for fetch in asked]
            judged = truth.judge(world, asked, [ids for ids, _ in answers], 64)
            cost = float(np.mean([count or 0 for _, count in answers]))
            lines.append((f"{kind.name} {setting}: compared", cost))
            lines += [(f"{kind.name} {setting}: {name}", float(judged[name])) for name in ("recall", "mass", "gold")]
    return [(name, float(value)) for name, value in lines]


def geometry(keys: Floats, heads: Any) -> list[tuple[str, float]]:
    """Cosines between heads' means, of 500 of them with all others."""
    numbers = np.unique(heads, return_inverse=True)[1]
    centres = means(keys, numbers, int(numbers.max()) + 1)[0]
    centres = unit(centres - centres.mean(axis=0))
    drawn = np.random.default_rng(0).permutation(len(centres))[:500]
    cosines = centres[drawn] @ centres.T
    cosines[np.arange(len(drawn)), drawn] = -1
    cosines = -np.sort(-cosines, axis=1)
    return [(f"cosine of a head and its {n}. nearest", float(np.median(cosines[:, n - 1]))) for n in NEAR]
