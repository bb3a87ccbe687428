"""The best k entries of slots that were compared with rows, and the exact scan of all slots; design (4).

Products are exact in int32 (numkong in the scan), then float32. An entry's score is the sum over rows of its softmax
probability among all entries that were compared. Entries of one slot have the same score.
"""

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from atlasdb import crc
from atlasdb.tree import scoring
from atlasdb.tree.image import Forest, lent
from atlasdb.tree.slots import Positions
from atlasdb.tree.soundness import Unsound, first_entry, unsound
from atlasdb_contract.types import FetchCost, Floats, Ids, Vectors

POOL = 8192
"""Most slots kept of a scan, or eight times k if that is more."""


@dataclass(frozen=True, slots=True)
class Found:
    """The chosen entries, best first, copied: ids, value ids u64 (n,), keys (n, D), scores float32 (n,); n <= k."""

    ids: Ids
    value_ids: Ids
    keys: Vectors
    scores: Floats
    cost: FetchCost


def taken(forest: Forest, slots: Positions, scores: Floats, k: int, cost: FetchCost) -> Found:
    """The best `k` entries of slots int64 (n,), `scores` (n,) being that of one entry of each; equals in the order of
    their ids. They are copied out of the map with their checksums compared: Unsound where one is wrong."""
    ids, value_ids, keys, scales, kept, wrong = scoring.best_entries(
        slots, scores, forest.slots.at, forest.dead, k, forest.dimension, crc.TABLES
    )
    if wrong >= 0:
        check_sound(forest, slots)
    return Found(ids, value_ids, Vectors(keys, scales), kept, cost)


def check_sound(forest: Forest, slots: Positions) -> None:
    """Unsound where any of a forest's slots is damaged; it names them all."""
    wrong = unsound(forest, slots)
    if len(wrong):
        raise Unsound(wrong, first_entry(forest, int(wrong[0])))


def slots_in(forest: Forest, record: int, count: int, sound: bool) -> tuple[Positions, Vectors, Floats]:
    """The slots of one record, int64 (n,), where their keys lie, and how many entries each has that are there, float32.
    Unsound where one of those with any is damaged and `sound` is asked for."""
    at = forest.slots.at[record]
    keys = lent(at[scoring.KEYS], (count, forest.dimension), np.int8)
    scales = lent(at[scoring.SCALES], (count,), np.float32)
    weights = scoring.alive_in(record, count, forest.slots.at, forest.dead)
    slots = (np.int64(record) << scoring.POSITION_BITS) + np.arange(count)
    if len(forest.out):
        weights[np.isin(slots, forest.out)] = 0
    if sound:
        check_sound(forest, slots[weights > 0])
    return slots, Vectors(keys, scales), weights


def scan(forest: Forest, rows: Vectors, k: int, doubted: Iterable[int] | None = None) -> Found:
    """The best `k` of all entries, by their softmax probability among all: what a descent is measured against.

    One pass in bounded memory, and a second one where scores shifted so far that a slot let go early might belong to
    the best. Unsound where a slot fails its checksum. Of slots that are not among the best it is compared only in the
    records that are `doubted` (None: in all): damage that comes later can make a slot look worse than it is.
    """
    every = range(len(forest.slots.counts))
    check_records(forest, every if doubted is None else doubted)
    asked = Rows(rows)
    softmax = Softmax(len(asked))
    pool = Pool(asked, k, softmax)
    with np.errstate(over="ignore", invalid="ignore"):
        pool.fill(forest, learn=True)
        if not softmax.finite():
            check_records(forest, every)
        if not pool.certain():
            pool = Pool(asked, k, softmax)
            pool.fill(forest, learn=False)
        return pool.found(forest)


def check_records(forest: Forest, records: Iterable[int]) -> None:
    """Unsound where a slot that a scan would compare is damaged, in these records."""
    for record in records:
        slots_in(forest, record, int(forest.slots.counts[record]), sound=True)


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
    """Over slots that come in parts, for each of R rows; a slot of w entries counts w times."""

    def __init__(self, rows: int) -> None:
        self._peak = np.full((rows, 1), -np.inf, np.float32)
        self._total = np.zeros((rows, 1), np.float64)

    def add(self, logits: Floats, weights: Floats) -> None:
        """More slots: (R, n), n >= 1, with `weights` (n,)."""
        peak = np.maximum(self._peak, logits.max(axis=1, keepdims=True))
        fade = np.exp(self._peak.astype(np.float64) - peak)
        powers = np.exp(logits - peak)
        self._total = self._total * fade + (powers @ weights.astype(np.float64))[:, None]
        self._peak = peak

    def finite(self) -> bool:
        """Has no slot an infinite logit, or none at all?"""
        return bool(np.isfinite(self._total).all())

    def mass(self, logits: Floats) -> Floats:
        """Probability of an entry among all that was added, summed over rows: (R, n) -> float32 (n,). Row after row:
        a matrix product rounds equal columns differently by where they stand."""
        found = np.zeros(logits.shape[1], np.float32)
        for row, peak, total in zip(logits, self._peak, self._total, strict=True):
            found += np.exp(row - peak) * (1 / total).astype(np.float32)
        return found


def best(scores: Floats, wanted: int) -> npt.NDArray[np.int64]:
    """Positions of the `wanted` largest, in no order."""
    if wanted >= len(scores):
        return np.arange(len(scores))
    return np.argpartition(-scores, wanted - 1)[:wanted]


class Pool:
    """The slots of a scan that may be among its best k, each under a number that its user gives it.

    Scores only fall as the softmax grows, so a slot that is let go has a final score of at most `_lost`, the largest
    score that any such slot had at that time.
    """

    def __init__(self, rows: Rows, k: int, softmax: Softmax) -> None:
        self._rows = rows
        self._k = k
        self._limit = max(POOL, 8 * k)
        self._softmax = softmax
        self._parts: list[tuple[Positions, Floats]] = []
        self._count = 0
        self._lost = np.float32(-1)
        self._compared = 0

    def fill(self, forest: Forest, learn: bool) -> None:
        """Compare all. `learn`: the softmax does not know these slots yet."""
        for record, count in enumerate(forest.slots.counts.tolist()):
            slots, keys, weights = slots_in(forest, record, count, sound=False)
            self.add(slots, keys, weights, learn)

    def add(self, slots: Positions, keys: Vectors, weights: Floats, learn: bool) -> None:
        """Compare these, (n,) each; those of weight 0 are nothing."""
        there = weights > 0
        logits = self._rows.logits(Vectors(keys.data, np.where(there, keys.scales, np.float32(0))))
        if not there.all():
            logits, slots, weights = logits[:, there], slots[there], weights[there]
        if not len(slots):
            return
        self._compared += len(slots)
        if learn:
            self._softmax.add(logits, weights)
        if self._lost >= 0:
            kept = np.flatnonzero(self._softmax.mass(logits) > self._lost)
            slots, logits = slots[kept], logits[:, kept]
        self._parts.append((slots, logits))
        self._count += len(slots)
        if self._count > self._limit:
            self._prune(self._limit // 2)

    def _join(self) -> tuple[Positions, Floats]:
        slots, logits = zip(*self._parts, strict=True)
        return np.concatenate(slots), np.concatenate(logits, axis=1)

    def _prune(self, wanted: int) -> None:
        slots, logits = self._join()
        scores = self._softmax.mass(logits)
        kept = best(scores, wanted)
        gone = np.ones(len(scores), np.bool_)
        gone[kept] = False
        self._lost = max(self._lost, scores[gone].max(initial=np.float32(-1)))
        self._parts = [(slots[kept], logits[:, kept])]
        self._count = len(kept)

    def certain(self) -> bool:
        """Is nothing let go that could belong to the best k?"""
        if self._lost < 0:
            return True
        scores = np.sort(self._softmax.mass(self._join()[1]))
        return bool(scores[-self._k] >= self._lost)

    def leading(self) -> tuple[Positions, Floats]:
        """The slots that are left with their scores, in no order."""
        slots, logits = (
            self._join() if self._parts else (np.zeros(0, np.int64), np.zeros((len(self._rows), 0), np.float32))
        )
        return slots, self._softmax.mass(logits) if len(slots) else np.zeros(0, np.float32)

    def found(self, forest: Forest) -> Found:
        """The best k entries, best first."""
        slots, scores = self.leading()
        read = self._compared * (self._rows.dimension + scoring.SLOT_BYTES)
        return taken(forest, slots, scores, self._k, FetchCost(entries_scored=self._compared, bytes_read=read))
