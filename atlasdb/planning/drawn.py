"""A world of a shape, drawn: triples with keys and values, and rows that ask for some of the keys.

Keys are unit vectors: a mean, a part of their head's and one of their relation's, and noise, whose variance falls along
the dimensions as that of all-MiniLM-L6-v2's keys does. They only give the trial something to do: what a walk opens in a
real collection is not taken from here.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb.planning.shape import Shape
from atlasdb.tree.slots import Slots
from atlasdb_contract.codec import quantise
from atlasdb_contract.columns import TripleColumns
from atlasdb_contract.types import Floats, Vectors

RELATIONS = 64
ROWS = 4
"""Of a fetch: attention heads at one token, whose rows are near copies."""
LENGTH = 48.0
"""Of a row, as the shipped reader's."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Drawn:
    """M entries: `heads` and `slots` (M,), the head and the distinct key of each, `keys` (K, D) of the slots, and
    `values` (V, D), of which entry i has `value` (M,) i."""

    shape: Shape
    heads: Ints
    slots: Ints
    keys: Vectors
    value: Ints
    values: Vectors

    def __len__(self) -> int:
        return len(self.heads)

    @staticmethod
    def of(shape: Shape, seed: int = 0) -> "Drawn":
        """Each head has a slot and each slot an entry; the rest is spread at random. The same for a seed."""
        draw = np.random.default_rng(seed)
        owner = _spread(draw, shape.slots, shape.heads)
        slots = _spread(draw, shape.entries, shape.slots)
        order = draw.permutation(shape.entries)
        value = _spread(draw, shape.entries, shape.values)[draw.permutation(shape.entries)]
        keys = _keys(draw, owner, shape)
        values = quantise(_decaying(draw, shape.values, shape.dimension))
        return Drawn(shape, owner[slots][order], slots[order], keys, value, values)

    def batches(self, size: int) -> Iterator[tuple[TripleColumns, Vectors, Vectors]]:
        """Triples, keys and values, for Database.insert."""
        width = max(1, round(self.shape.text_bytes / 3))
        for start in range(0, len(self), size):
            stop = min(start + size, len(self))
            parts = (self.heads[start:stop], self.slots[start:stop], np.arange(start, stop))
            triples = zip(*(part.tolist() for part in parts), strict=True)
            named = TripleColumns.of(tuple(f"{one:0{width}d}" for one in triple) for triple in triples)  # type: ignore[misc]
            yield named, self.keys.take(self.slots[start:stop]), self.values.take(self.value[start:stop])

    def singles(self) -> Slots:
        """As a delta has them: a slot for each entry."""
        ids = np.arange(1, len(self) + 1, dtype=np.uint64)
        return Slots.single(ids, (self.value + 1).astype(np.uint64), self.heads.astype(np.uint64), self._keys())

    def _keys(self) -> Vectors:
        return self.keys.take(self.slots)

    def rows(self, fetches: int, seed: int = 1) -> list[Vectors]:
        """For so many fetches about keys that are there: int8 (ROWS, D) each."""
        draw = np.random.default_rng(seed)
        wanted = self.keys.take(draw.integers(0, len(self.keys), fetches)).floats()
        size = np.sqrt(self.shape.dimension)
        aside = draw.standard_normal(wanted.shape, np.float32) / size
        copies = 0.1 * draw.standard_normal((fetches, ROWS, self.shape.dimension), np.float32) / size
        return [
            quantise(LENGTH * (0.6 * key + 0.7 * by + each))
            for key, by, each in zip(wanted, aside, copies, strict=True)
        ]


def _spread(draw: np.random.Generator, count: int, owners: int) -> Ints:
    """An owner for each of `count` >= `owners`, sorted; everyone owns one."""
    more = draw.integers(0, owners, count - owners)
    return np.sort(np.concatenate([np.arange(owners), more]))


def _decaying(draw: np.random.Generator, count: int, dimension: int) -> Floats:
    spread = (1 + np.arange(dimension, dtype=np.float32)) ** np.float32(-0.5)
    spread /= np.linalg.norm(spread)
    drawn: Floats = draw.standard_normal((count, dimension), np.float32) * spread
    return drawn


def _keys(draw: np.random.Generator, owner: Ints, shape: Shape) -> Vectors:
    mean, relations = (0.5 * _decaying(draw, many, shape.dimension) for many in (1, RELATIONS))
    heads = _decaying(draw, shape.heads, shape.dimension)
    keys = mean + heads[owner] + relations[draw.integers(0, RELATIONS, len(owner))]
    keys += 0.3 * _decaying(draw, len(owner), shape.dimension)
    keys /= np.linalg.norm(keys, axis=1, keepdims=True)
    return quantise(keys)
