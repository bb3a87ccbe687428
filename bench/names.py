"""A model of real keys, and as many entries like them as are wanted.

A key is nearly a sum: mean + head + relation + a little of its own (on FB13: .80, .17 and .02 of the variance). A
head is
nearly a sum too, of its name's first word, its last word and a rest. So a new head takes the first word of one real
name, the last of another and the rest of a third, and the relations (with their repetitions: entries with the same key)
of a fourth. Gaussian heads of the same covariance would be spread far too evenly: of 64,000 real heads the tenth
nearest
to one has the cosine .53, of Gaussian ones .35, of these .52.

The reader's rows for a key x are W (x' - mean) + an error: W by ridge regression; the error one real row's own, of a
row
whose W (x - mean) is about as long; x' lies between x and a key of another head near it, most often close to x: the
reader takes one name for another. How far is fitted, until the right entry's rank is distributed as it is among the
real keys. (Errors alone would have to be 1.4 times as large as they are, and the rows' cosine .53 where it is .62.)
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
from world import Ints, World

from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Floats, Vectors

SHRINK = 1.0
"""A word seen n times counts n / (n + SHRINK) of its mean."""
FRESH = 0.3
"""Share of a rest's variance that is drawn anew, so that no two heads have the same."""
RIDGE = 1.0
HEADS = 20_000
"""New heads made at once."""
OWN = 20_000
"""Real errors of the sum kept, to draw from."""
ALIKE = 25
"""An error is drawn from those of so many rows more and less strong."""
NOISE = np.float32(0.9)
"""What is left of an error when confusion accounts for the rest of it."""
CALIBRATION = 100_000
"""Keys among which the rank of the right entry is fitted."""


def means(vectors: Floats, owner: Ints, owners: int) -> tuple[Floats, Floats]:
    """Of the vectors of each owner, with how many there are (owners, 1)."""
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=owners)
    there = np.flatnonzero(counts)
    found = np.zeros((owners, vectors.shape[1]), np.float32)
    starts = (np.cumsum(counts) - counts)[there]
    found[there] = np.add.reduceat(vectors[order], starts) / counts[there, None].astype(np.float32)
    return found, counts[:, None].astype(np.float32)


def two_parts(
    vectors: Floats, left: Ints, right: Ints, shrink: float, rounds: int = 8
) -> tuple[Floats, Floats, Floats]:  # fmt: skip
    """vectors = a[left] + b[right] + rest, by turns: (a, b, rest)."""
    a = np.zeros((int(left.max()) + 1, vectors.shape[1]), np.float32)
    b = np.zeros((int(right.max()) + 1, vectors.shape[1]), np.float32)
    for _ in range(rounds):
        mean, counts = means(vectors - b[right], left, len(a))
        a = mean * (counts / (counts + shrink))
        mean, counts = means(vectors - a[left], right, len(b))
        b = mean * (counts / (counts + shrink))
    return a, b, vectors - a[left] - b[right]


def numbered(words: list[str]) -> npt.NDArray[np.int64]:
    """Equal words, equal numbers from 0."""
    numbers: dict[str, int] = {}
    return np.array([numbers.setdefault(word, len(numbers)) for word in words])


def variance(vectors: Floats) -> float:
    """Mean squared length."""
    return float(np.square(vectors).sum(axis=1).mean())


def unit(vectors: Floats) -> Floats:
    """Scaled to length 1."""
    scaled: Floats = vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    return scaled


@dataclass(frozen=True)
class Readings:
    """How rows come of keys. All float32: `weights` (D, D), `offset` (D,), `errors` (N, D), `lengths` (N,) of the mean
    rows, `spread` (N, R, D) of the attention heads about them, all by rising `strength` (N,), the length of what W
    makes
    of the key. Keys are mixed with another's by at most `confusion`."""

    weights: Floats
    offset: Floats
    errors: Floats
    lengths: Floats
    spread: Floats
    strength: Floats
    confusion: float = 0.0

    @staticmethod
    def fit(rows: Floats, keys: Floats, folds: int = 5) -> "Readings":
        """From rows (N, R, D) and the centred keys (N, D) that they ask for; each error is that of a fit without it."""
        mean = rows.mean(axis=1)
        owner = np.arange(len(rows)) % folds
        errors = np.empty_like(mean)
        for fold in range(folds):
            weights, offset = ridge(keys[owner != fold], mean[owner != fold])
            errors[owner == fold] = mean[owner == fold] - keys[owner == fold] @ weights - offset
        weights, offset = ridge(keys, mean)
        strength = np.linalg.norm(keys @ weights, axis=1)
        order = np.argsort(strength)
        lengths, spread = np.linalg.norm(mean, axis=1), rows - mean[:, None]
        return Readings(weights, offset, errors[order], lengths[order], spread[order], strength[order])

    def rows(self, keys: Floats, others: Floats, rng: np.random.Generator) -> Floats:
        """Rows (N, R, D) that ask for centred keys (N, D), each of which could be taken for the one in `others`."""
        strength = np.linalg.norm(keys @ self.weights, axis=1)
        drawn = np.searchsorted(self.strength, strength) + rng.integers(-ALIKE, ALIKE + 1, len(keys))
        drawn = np.clip(drawn, 0, len(self.strength) - 1)
        mixed = keys + (self.confusion * rng.random(len(keys), np.float32) ** 4)[:, None] * (others - keys)
        mean = mixed @ self.weights + self.offset + NOISE * self.errors[drawn]
        made: Floats = (unit(mean) * self.lengths[drawn, None])[:, None] + self.spread[drawn]
        return made.astype(np.float32)


def near(keys: Floats, own: Ints, among: Floats, heads: Ints, rng: np.random.Generator) -> Floats:
    """For each of `keys` (N, D), of the heads `own`, one of the five nearest keys of other `heads` in `among`."""
    found = np.empty_like(keys)
    for start in range(0, len(keys), 256):
        span = slice(start, start + 256)
        likeness = keys[span] @ among.T
        likeness[own[span, None] == heads[None]] = -np.inf
        best = np.argpartition(-likeness, 5, axis=1)[:, :5]
        found[span] = among[best[np.arange(len(best)), rng.integers(0, 5, len(best))]]
    return found


def ridge(inputs: Floats, outputs: Floats) -> tuple[Floats, Floats]:
    """(weights, offset) of outputs = inputs @ weights + offset."""
    offset = outputs.mean(axis=0)
    gram = inputs.T @ inputs + RIDGE * np.eye(inputs.shape[1], dtype=np.float32)
    return np.linalg.solve(gram, inputs.T @ (outputs - offset)), offset


@dataclass(frozen=True)
class Model:
    """Parts to draw from. Float32: `mean` (D,), `first`, `last`, `rest` (names, D) of real names, `fresh` (D, D) a root
    of the rest's covariance, `relations` (relations, D), `own` (OWN, D); the relations of real head i are
    profiles[starts[i] : starts[i + 1]], one for each of its entries; `stretch` scales new heads to real ones'
    variance."""

    mean: Floats
    first: Floats
    last: Floats
    rest: Floats
    fresh: Floats
    relations: Floats
    own: Floats
    profiles: Ints
    starts: Ints
    stretch: float
    shares: dict[str, float]
    readings: Readings

    @staticmethod
    def fit(world: World, relations: Ints, names: list[str]) -> "Model":
        """Of a real world with forward entries alone; `relations` (M,), `names` by head."""
        _, first_of = np.unique(world.texts, return_index=True)
        keys = world.keys.take(first_of).floats()
        mean: Floats = keys.mean(axis=0)
        there, heads = np.unique(world.heads, return_inverse=True)
        kinds = np.unique(relations, return_inverse=True)[1]
        centres, offsets, own = two_parts(keys - mean, heads[first_of], kinds[first_of], 0)
        total = variance(keys - mean)
        words = [names[head].split() or [""] for head in there]
        left, right = numbered([w[0] for w in words]), numbered([w[-1] for w in words])
        level: Floats = centres.mean(axis=0)
        first, last, rest = two_parts(centres - level, left, right, SHRINK)
        parts = variance(first[left]) + variance(last[right]) + variance(rest)
        order = np.argsort(heads, kind="stable")
        draw = np.random.default_rng(0).permutation(len(own))[:OWN]
        root = np.linalg.cholesky(np.cov(rest.T) + 1e-6 * np.eye(len(mean))).astype(np.float32)
        golds = dict(zip(world.texts[first_of].tolist(), first_of.tolist(), strict=True))
        asked = np.flatnonzero(np.isin(world.gold, world.texts))
        sought = world.keys.take([golds[int(text)] for text in world.gold[asked]]).floats() - mean
        shares = {
            "head": variance(centres[heads[first_of]]) / total,
            "relation": variance(offsets[kinds[first_of]]) / total,
            "own": variance(own) / total,
        }
        model = Model(
            mean + level,
            first[left],
            last[right],
            rest,
            root,
            offsets,
            own[draw],
            kinds[order],
            np.concatenate([[0], np.cumsum(np.bincount(heads))]),
            float(np.sqrt(variance(centres - level) / parts)),
            shares,
            Readings.fit(world.rows[asked], sought),
        )
        fewer = world.cut(CALIBRATION)
        some = fewer.keys.take(np.unique(fewer.texts, return_index=True)[1]).floats()
        return model.calibrated(some, world.rows[asked], sought + mean)

    def calibrated(self, keys: Floats, rows: Floats, sought: Floats) -> "Model":
        """With the noise that gives the right entries the ranks that they have among real `keys`, of whole heads."""
        rng = np.random.default_rng(1)
        target = mean_log_rank(rows, sought, keys)
        parts = list(Synthesis(self, 1).parts(CALIBRATION))
        others = np.concatenate([part.distinct for part in parts])[: len(keys)]
        heads = np.concatenate([part.heads[np.unique(part.owner, return_index=True)[1]] for part in parts])[: len(keys)]
        drawn = rng.permutation(len(others))[: len(rows)]
        golds = others[drawn]
        rivals = near(golds, heads[drawn], others, heads, rng) - self.mean
        low, high = 0.0, 1.5
        for _ in range(8):
            confusion = (low + high) / 2
            readings = replace(self.readings, confusion=confusion)
            found = readings.rows(golds - self.mean, rivals, np.random.default_rng(2))
            low, high = (low, confusion) if mean_log_rank(found, golds, others) > target else (confusion, high)
        return replace(self, readings=readings, shares=self.shares | {"confusion": confusion})


def ranks(rows: Floats, sought: Floats, keys: Floats) -> Ints:
    """How many of the distinct `keys` the mean row finds nearer than the right one, for each of N rows (N, R, D)."""
    mean = rows.mean(axis=1)
    bar = np.einsum("nd,nd->n", mean, sought) + 1e-3
    found = np.zeros(len(rows), np.int64)
    for start in range(0, len(keys), 1 << 14):
        found += (mean @ keys[start : start + (1 << 14)].T > bar[:, None]).sum(axis=1)
    return found


def mean_log_rank(rows: Floats, sought: Floats, keys: Floats) -> float:
    """Of the right entries, from 1; the figure that the confusion is fitted to."""
    return float(np.log(1 + ranks(rows, sought, keys)).mean())


@dataclass(frozen=True)
class Part:
    """Some new entries: `distinct` float32 (n, D) keys, of which entry i has distinct[owner[i]], and `heads` (m,)."""

    distinct: Floats
    owner: Ints
    heads: Ints


class Synthesis:
    """New entries by a model; the same for the same seed."""

    def __init__(self, model: Model, seed: int) -> None:
        self.model, self.seed = model, seed

    def parts(self, entries: int) -> Iterator[Part]:
        """`entries` or some more, heads numbered from 0."""
        count = number = 0
        while count < entries:
            rng = np.random.default_rng((self.seed, number))
            part = self._part(rng, number * HEADS)
            yield part
            count, number = count + len(part.heads), number + 1

    def _part(self, rng: np.random.Generator, start: int) -> Part:
        model, names = self.model, len(self.model.first)
        one, two, three, four = rng.integers(0, names, (4, HEADS))
        fresh = rng.standard_normal((HEADS, len(model.mean)), np.float32) @ model.fresh.T
        rest = np.float32((1 - FRESH) ** 0.5) * model.rest[three] + np.float32(FRESH**0.5) * fresh
        heads = np.float32(model.stretch) * (model.first[one] + model.last[two] + rest)
        sizes = np.diff(model.starts)[four]
        owner = np.repeat(np.arange(HEADS), sizes)
        at = np.arange(len(owner)) - np.repeat(np.cumsum(sizes) - sizes, sizes) + np.repeat(model.starts[four], sizes)
        distinct, owner_of = np.unique(owner * len(model.relations) + model.profiles[at], return_inverse=True)
        of_head, kind = np.divmod(distinct, len(model.relations))
        own = model.own[rng.integers(0, len(model.own), len(distinct))]
        keys = model.mean + heads[of_head] + model.relations[kind] + own
        return Part(unit(keys), owner_of, start + owner)

    def world(self, folder: Path, entries: int, questions: int) -> World:
        """The folder, filled piece by piece."""
        folder.mkdir(parents=True, exist_ok=True)
        dimension = len(self.model.mean)
        data = np.lib.format.open_memmap(folder / "keys.npy", "w+", np.int8, (entries, dimension))
        scales = np.empty(entries, np.float32)
        heads, texts = np.empty(entries, np.int32), np.empty(entries, np.int32)
        done = distinct = 0
        for part in self.parts(entries):
            keys = quantise(part.distinct)
            span = slice(done, min(done + len(part.heads), entries))
            owner = part.owner[: span.stop - done]
            data[span], scales[span] = keys.data[owner], keys.scales[owner]
            heads[span], texts[span] = part.heads[: len(owner)], distinct + owner
            done, distinct = span.stop, distinct + len(keys)
        rng = np.random.default_rng((self.seed, 1 << 40))
        gold = rng.choice(int(texts[-1]), questions, replace=False).astype(np.int32)
        places = np.searchsorted(texts, gold)
        places = places[texts[places] == gold]
        sought = Vectors(data[places], scales[places]).floats()
        some = np.unique(texts[:CALIBRATION], return_index=True)[1]
        among = Vectors(data[some], scales[some]).floats()
        rivals = near(sought, heads[places], among, heads[some], rng)
        rows = self.model.readings.rows(sought - self.model.mean, rivals - self.model.mean, rng)
        data.flush()
        world = World(Vectors(data, scales), heads, texts, rows, texts[places])
        world.save(folder)
        return world
