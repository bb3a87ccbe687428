"""As many entries like real ones as are wanted: real heads, moved, and the rows that ask for them, moved with them.

A new head is a real one with all its keys and entries, displaced towards one of the real heads nearest to it, and by
the difference of two others of those: directions, lengths and their covariance are the real ones of that region. Every
real head is used once before any is used again. Who asks for a key of it asks as the reader asked for the real key: the
row, with its whole error, is displaced by what the reader's rows do on average (a ridge regression) where a key is
displaced so.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from world import Ints, World

from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats, Vectors

NEAREST = 32
"""Real heads near one that it may be moved towards."""
TOWARDS = np.float32(0.45)
"""Most of the way that a head is moved towards another."""
ASIDE = np.float32(0.5)
"""What it is moved aside by, in parts of the difference of two heads near it."""
GAIN = np.float32(0.85)
"""How far a row goes with its key, in parts of what the regression says."""
RIDGE = 1.0
HEADS = 20_000
"""New heads made at once."""


def unit(vectors: Floats) -> Floats:
    """Scaled to length 1."""
    scaled: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


def means(vectors: Floats, owner: Ints, owners: int) -> Floats:
    """Of the vectors (N, D) of each owner, who has at least one: (owners, D)."""
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=owners)
    sums: Floats = np.add.reduceat(vectors[order], np.cumsum(counts) - counts)
    return sums / counts[:, None].astype(np.float32)


def neighbours(vectors: Floats, count: int) -> Ints:
    """About the `count` nearest of unit vectors (N, D) to each of them, without itself: (N, count)."""
    import faiss

    lists = max(1, round(len(vectors) ** 0.5))
    index = faiss.index_factory(vectors.shape[1], f"IVF{lists},Flat", faiss.METRIC_INNER_PRODUCT)
    index.cp.min_points_per_centroid = 1
    index.train(vectors)
    index.add(vectors)
    index.nprobe = 16
    _, found = index.search(vectors, count + 1)
    others: Ints = found[:, 1:]
    return np.where(others < 0, np.arange(len(vectors))[:, None], others)


def ridge(inputs: Floats, outputs: Floats) -> Floats:
    """Weights (D, D) of outputs = inputs @ weights + a constant."""
    inputs, outputs = inputs - inputs.mean(axis=0), outputs - outputs.mean(axis=0)
    gram = inputs.T @ inputs + RIDGE * np.eye(inputs.shape[1], dtype=np.float32)
    weights: Floats = np.linalg.solve(gram, inputs.T @ outputs)
    return weights


@dataclass(frozen=True)
class Material:
    """Of H real heads: their distinct `keys` (K, D), by head, those of head i at starts[i] .. starts[i + 1], with
    `repeats` (K,), how many entries have each; `centres` float32 (H, D) and `near` (H, NEAREST) of the heads; float32
    `rows` (N, R, D) with the keys that they ask for, `gold` (N,); `weights` (D, D) from keys to rows."""

    keys: Vectors
    starts: Ints
    repeats: Ints
    centres: Floats
    near: Ints
    rows: Floats
    gold: Ints
    weights: Floats

    @staticmethod
    def of(world: World) -> "Material":
        """Of a world in which every text has one head."""
        distinct, first, repeats = np.unique(world.texts, return_index=True, return_counts=True)
        order = np.argsort(world.heads[first], kind="stable")
        keys = world.keys.take(first[order])
        heads = np.unique(world.heads[first[order]], return_inverse=True)[1]
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        asked = np.flatnonzero(np.isin(world.gold, distinct))
        gold = place[np.searchsorted(distinct, world.gold[asked])]
        centres = means(keys.floats(), heads, int(heads.max()) + 1)
        return Material(
            keys,
            np.concatenate([[0], np.cumsum(np.bincount(heads))]),
            repeats[order],
            centres,
            neighbours(unit(centres - centres.mean(axis=0)), NEAREST),
            world.rows[asked],
            gold,
            ridge(keys.take(gold).floats(), world.rows[asked].mean(axis=1)),
        )


@dataclass(frozen=True)
class Part:
    """Some new entries: their distinct `keys` (n, D), each of which is made of the real key `source` (n,), belongs to a
    head, `heads` (n,), and has `repeats` (n,) entries."""

    keys: Vectors
    source: Ints
    heads: Ints
    repeats: Ints


class Synthesis:
    """New entries of some material; the same for the same seed."""

    def __init__(self, material: Material, seed: int) -> None:
        self.material, self.seed = material, seed
        self.mean: Floats = material.centres.mean(axis=0)

    def parts(self, entries: int) -> Iterator[Part]:
        """`entries` or some more, heads numbered from 0."""
        count = start = turn = 0
        while count < entries:
            order = np.random.default_rng((self.seed, turn)).permutation(len(self.material.centres))
            for at in range(0, len(order), HEADS):
                part = self._part(order[at : at + HEADS], start)
                yield part
                start, count = start + len(order[at : at + HEADS]), count + int(part.repeats.sum())
                if count >= entries:
                    break
            turn += 1

    def _part(self, base: Ints, start: int) -> Part:
        material = self.material
        rng = np.random.default_rng((self.seed, 1 << 40, start))
        moved = self._displaced(base, rng) - material.centres[base]
        first = material.starts[base]
        sizes = material.starts[base + 1] - first
        owner = np.repeat(np.arange(len(base)), sizes)
        source = np.arange(len(owner)) + np.repeat(first - np.cumsum(sizes) + sizes, sizes)
        keys = quantise(unit(material.keys.take(source).floats() + moved[owner]))
        return Part(keys, source, start + owner, material.repeats[source])

    def _displaced(self, base: Ints, rng: np.random.Generator) -> Floats:
        """New places of these real heads: (N, D), as far from the mean of all as the real ones are there."""
        centres = self.material.centres
        picked = self.material.near[base[:, None], rng.integers(0, NEAREST, (len(base), 3))]
        own, other, left, right = (centres[rows] - self.mean for rows in (base, *picked.T))
        way = TOWARDS * rng.random((len(base), 1), np.float32)
        sum_ = own + way * (other - own) + ASIDE * (left - right)
        lengths = [np.linalg.norm(one, axis=1, keepdims=True) for one in (own, other)]
        return self.mean + unit(sum_) * ((1 - way) * lengths[0] + way * lengths[1])

    def world(self, folder: Path, entries: int, questions: int) -> World:
        """The folder, filled piece by piece."""
        folder.mkdir(parents=True, exist_ok=True)
        material = self.material
        data = np.lib.format.open_memmap(folder / "keys.npy", "w+", np.int8, (entries, material.keys.dimension))
        scales = np.empty(entries, np.float32)
        heads, texts = np.empty(entries, np.int32), np.empty(entries, np.int32)
        wanted = np.zeros(len(material.keys), np.bool_)
        wanted[material.gold] = True
        done = distinct = 0
        golds: list[tuple[Ints, Ints, Vectors]] = []
        for part in self.parts(entries):
            span = slice(done, min(done + int(part.repeats.sum()), entries))
            owner = np.repeat(np.arange(len(part.keys)), part.repeats)[: span.stop - done]
            data[span], scales[span] = part.keys.data[owner], part.keys.scales[owner]
            heads[span], texts[span] = part.heads[owner], distinct + owner
            there = np.flatnonzero(wanted[part.source[: owner[-1] + 1]])
            golds.append((distinct + there, part.source[there], part.keys.take(there)))
            done, distinct = span.stop, distinct + len(part.keys)
        data.flush()
        text, source = (np.concatenate([gold[i] for gold in golds]) for i in (0, 1))
        keys = np.concatenate([gold[2].floats() for gold in golds])
        rows, which = self.rows(source, keys, questions)
        world = World(Vectors(data, scales), heads, texts, rows, text[which].astype(np.int32))
        world.save(folder)
        return world

    def rows(self, source: Ints, keys: Floats, questions: int) -> tuple[Floats, Ints]:
        """Rows (n, R, D), n <= questions, that ask for some of the new keys (N, D), made of the real ones `source`;
        and for which, (n,). No two are of the same real rows and the same key."""
        material = self.material
        fetch, which = np.nonzero(material.gold[:, None] == source[None])
        drawn = np.random.default_rng((self.seed, 1 << 41)).permutation(len(fetch))[:questions]
        fetch, which = fetch[drawn], which[drawn]
        way = keys[which] - material.keys.take(material.gold[fetch]).floats()
        rows = material.rows[fetch]
        moved = rows + GAIN * (way @ material.weights)[:, None]
        return unit(moved) * np.linalg.norm(rows, axis=-1, keepdims=True), which
