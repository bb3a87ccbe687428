"""Exact comparison of rows with int8 vectors, and the best k of a stream of postings; design (4).

Products are exact in int32 (numkong), then float32. An entry's score is the sum over rows of its softmax probability
among all entries that were compared. Matrices of logits are (R, n): a row of the fetch is contiguous.
"""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from atlasdb_contract.types import FetchCost, Floats, Ids, Vectors

NO_IDS: Ids = np.zeros(0, np.uint64)
BATCH = 4096
"""Entries compared at once; small postings are copied together up to this many."""
POOL = 8192
"""Most entries kept of a stream, or eight times k if that is more."""

Postings = Callable[[], Iterable["Slots"]]


@dataclass(frozen=True, slots=True)
class Slots:
    """N slots as columns, often as they lie in the store: ids and value ids u64 (N,), keys int8 (N, D)."""

    ids: Ids
    value_ids: Ids
    keys: Vectors

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def nbytes(self) -> int:
        """Bytes that are read."""
        return self.ids.nbytes + self.value_ids.nbytes + self.keys.data.nbytes + self.keys.scales.nbytes

    def take(self, positions: Any) -> "Slots":
        """Some of it, copied."""
        return Slots(self.ids[positions], self.value_ids[positions], self.keys.take(positions))

    @staticmethod
    def joined(views: list["Slots"]) -> "Slots":
        """At least one, end to end; copied if more."""
        if len(views) == 1:
            return views[0]
        return Slots(
            np.concatenate([view.ids for view in views]),
            np.concatenate([view.value_ids for view in views]),
            Vectors(
                np.concatenate([view.keys.data for view in views]), np.concatenate([view.keys.scales for view in views])
            ),
        )


@dataclass(frozen=True, slots=True)
class Found:
    """The chosen entries, best first, copied: ids, value ids u64 (n,), keys (n, D), scores float32 (n,); n <= k."""

    ids: Ids
    value_ids: Ids
    keys: Vectors
    scores: Floats
    cost: FetchCost


def scan(postings: Postings, rows: Vectors, k: int, tombstones: Ids = NO_IDS) -> "Found":
    """The best `k` of all entries, by their softmax probability among all: what a descent is measured against.

    `postings()` gives every record of slots, and the same again if it is called a second time.
    """
    return rank(postings, Rows(rows), k, tombstones)


class Rows:
    """R >= 1 rows of a fetch, packed once for all its comparisons. `rows` int8 (R, D)."""

    def __init__(self, rows: Vectors) -> None:
        import numkong

        self._dots = numkong.dots_packed
        self._packed = numkong.dots_pack(np.ascontiguousarray(rows.data))
        self._scales = rows.scales[:, None]
        self.dimension = rows.dimension

    def __len__(self) -> int:
        return len(self._scales)

    def dots(self, data: npt.NDArray[np.int8]) -> npt.NDArray[np.int32]:
        """Products of int8 (n, D) with the rows: int32 (n, R), exact."""
        return np.asarray(self._dots(data, self._packed))

    def logits(self, vectors: Vectors) -> Floats:
        """Row . vector: float32 (R, n)."""
        if not len(vectors):
            return np.zeros((len(self), 0), np.float32)
        logits = np.ascontiguousarray(self.dots(vectors.data).T).astype(np.float32)
        logits *= vectors.scales
        logits *= self._scales
        return logits


class Softmax:
    """Over candidates that come in parts, for each of R rows."""

    def __init__(self, rows: int) -> None:
        self._peak = np.full((rows, 1), -np.inf, np.float32)
        self._total = np.zeros((rows, 1), np.float64)

    def add(self, logits: Floats) -> None:
        """More candidates: (R, n), n >= 1."""
        peak = np.maximum(self._peak, logits.max(axis=1, keepdims=True))
        fade = np.exp(self._peak.astype(np.float64) - peak)
        self._total = self._total * fade + np.exp(logits - peak).sum(axis=1, keepdims=True, dtype=np.float64)
        self._peak = peak

    def mass(self, logits: Floats) -> Floats:
        """Probability among all that was added, summed over rows: (R, n) -> float32 (n,)."""
        shares: Floats = (1 / self._total[:, 0]).astype(np.float32) @ np.exp(logits - self._peak)
        return shares


def mass(logits: Floats) -> Floats:
    """Softmax over the candidates of (R, n), summed over rows: float32 (n,)."""
    if not logits.shape[1]:
        return np.zeros(0, np.float32)
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    shares: Floats = (1 / powers.sum(axis=1)) @ powers
    return shares


def best(scores: Floats, wanted: int) -> npt.NDArray[np.int64]:
    """Positions of the `wanted` largest, in no order."""
    if wanted >= len(scores):
        return np.arange(len(scores))
    return np.argpartition(-scores, wanted - 1)[:wanted]


def rank(postings: Postings, rows: Rows, k: int, tombstones: Ids = NO_IDS) -> Found:
    """The best `k` entries of all postings, in bounded memory, less those whose ids are in `tombstones` (sorted).

    One pass, but where scores shifted so far that an entry let go early might belong to the best: then a second one.
    """
    softmax = Softmax(len(rows))
    pool = Pool(rows, k, softmax)
    pool.fill(postings(), tombstones, learn=True)
    if not pool.certain():
        pool = Pool(rows, k, softmax)
        pool.fill(postings(), tombstones, learn=False)
    return pool.found()


class Pool:
    """The entries of a stream that may be among its best k.

    Scores only fall as the softmax grows, so an entry that is let go has a final score of at most `_lost`, the largest
    score that any such entry had at that time.
    """

    def __init__(self, rows: Rows, k: int, softmax: Softmax) -> None:
        self._rows = rows
        self._k = k
        self._limit = max(POOL, 8 * k)
        self._softmax = softmax
        self._parts: list[tuple[Slots, Floats]] = []
        self._count = 0
        self._lost = np.float32(-1)
        self._compared = 0
        self._bytes = 0

    def fill(self, postings: Iterable[Slots], tombstones: Ids, learn: bool) -> None:
        """Compare all. `learn`: the softmax does not know these entries yet."""
        for batch in _batches(postings):
            self._bytes += batch.nbytes
            if len(tombstones):
                batch = batch.take(~_among(batch.ids, tombstones))
                if not len(batch):
                    continue
            logits = self._rows.logits(batch.keys)
            self._compared += len(batch)
            if learn:
                self._softmax.add(logits)
            if self._lost >= 0:
                kept = np.flatnonzero(self._softmax.mass(logits) > self._lost)
                batch, logits = batch.take(kept), logits[:, kept]
            self._parts.append((batch, logits))
            self._count += len(batch)
            if self._count > self._limit:
                self._prune(self._limit // 2)

    def _join(self) -> tuple[Slots, Floats]:
        views, logits = zip(*self._parts, strict=True)
        return Slots.joined(list(views)), logits[0] if len(logits) == 1 else np.concatenate(logits, axis=1)

    def _prune(self, wanted: int) -> None:
        view, logits = self._join()
        scores = self._softmax.mass(logits)
        kept = best(scores, wanted)
        gone = np.ones(len(scores), np.bool_)
        gone[kept] = False
        self._lost = max(self._lost, scores[gone].max(initial=np.float32(-1)))
        self._parts = [(view.take(kept), logits[:, kept])]
        self._count = len(kept)

    def certain(self) -> bool:
        """Is nothing let go that could belong to the best k?"""
        if self._lost < 0:
            return True
        scores = np.sort(self._softmax.mass(self._join()[1]))
        return bool(scores[-self._k] >= self._lost)

    def found(self) -> Found:
        """The best k, best first; equals in the order of their ids."""
        cost = FetchCost(entries_scored=self._compared, bytes_read=self._bytes)
        if not self._count:
            nothing = Vectors(np.zeros((0, self._rows.dimension), np.int8), np.zeros(0, np.float32))
            return Found(NO_IDS, NO_IDS, nothing, np.zeros(0, np.float32), cost)
        view, logits = self._join()
        scores = self._softmax.mass(logits)
        chosen = best(scores, self._k)
        chosen = chosen[np.lexsort((view.ids[chosen], -scores[chosen]))]
        chosen_view = view.take(chosen)
        return Found(chosen_view.ids, chosen_view.value_ids, chosen_view.keys, scores[chosen], cost)


def _among(ids: Ids, tombstones: Ids) -> npt.NDArray[np.bool_]:
    places = np.minimum(np.searchsorted(tombstones, ids), len(tombstones) - 1)
    found: npt.NDArray[np.bool_] = tombstones[places] == ids
    return found


def _batches(postings: Iterable[Slots]) -> Iterator[Slots]:
    """The same entries in views of about BATCH."""
    waiting: list[Slots] = []
    count = 0
    for view in postings:
        if not len(view):
            continue
        waiting.append(view)
        count += len(view)
        if count >= BATCH:
            yield Slots.joined(waiting)
            waiting, count = [], 0
    if waiting:
        yield Slots.joined(waiting)
