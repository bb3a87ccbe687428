"""From an identity's hash to the ids that may have it: sorted runs in front of a fat-leaved tree.

    append ──▶ runs: one sorted record per commit, merged while small (RUN_PAIRS at most)
                 │ a sweep, one bounded step per commit, when the runs hold 1/4 of what leaves hold
                 ▼
               leaves: sorted records of about LEAF_PAIRS pairs; a leaf holds the hashes from its key to the next leaf's

A lookup goes through each run, and those leaves that its hashes fall into, in memory that LMDB lends. Random keys in
LMDB itself would dirty one page for each new pair; here a pair is rewritten some six times at 16 bytes. Pairs are never
taken out one by one: whoever asks compares the id's record with what it looks for, and of pairs with equal hashes a
merge keeps those whose id lives. A pair that both the runs and the leaves hold is found twice.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from atlasdb import format as fmt
from atlasdb.format import IndexKind
from atlasdb.store.opened import Tables, Txn
from atlasdb_contract.types import Ids

RUN_PAIRS = 1 << 16
"""Largest run, 1 MiB: merging stops here."""
LEAF_PAIRS = 3 << 14
"""Pairs that a sweep puts in a leaf, 768 KiB: a lookup's cost is one Python round for each leaf that it touches."""
STEP_LEAVES = 6
"""Leaves that one step of a sweep rewrites."""
SWEEP_PAIRS = 1 << 18
"""Fewer pairs than this in runs start no sweep."""
SWEEP_SHARE = 4
"""A sweep starts when the runs hold this part of what the leaves hold (a pair is then rewritten some six times),"""
SWEEP_RUNS = 256
"""or when there are so many of them."""
_SMALL = 1 << 14
_SEEN_LIMIT = 1 << 16


class Space(IntEnum):
    """What an index is of."""

    TRIPLES = 1
    VALUES = 2


@dataclass(frozen=True, slots=True)
class _Sweep:
    """State on disk: pairs in leaves; the runs being folded into them; the hash from which leaves are still to do."""

    pairs: int = 0
    runs: tuple[int, ...] = ()
    at: int = 0


class Index:
    """The index of one space, in one transaction."""

    def __init__(self, txn: Txn, tables: Tables, space: Space, alive: Callable[[Ids], npt.NDArray[np.bool_]]) -> None:
        self._txn = txn
        self._db = tables.index
        self._seen = tables.seen
        self._space = space
        self._alive = alive

    # ---- lookup ----

    def find(self, hashes: Ids) -> tuple[npt.NDArray[np.int64], Ids]:
        """Candidates: (positions in `hashes`, ids), both (m,)."""
        order = np.argsort(hashes, kind="stable")
        wanted = hashes[order]
        parts = [_matches(wanted, pairs, 0) for _, pairs in self._runs()]
        parts += self._find_in_leaves(wanted)
        if not parts:
            return np.zeros(0, np.int64), np.zeros(0, np.uint64)
        positions = np.concatenate([part[0] for part in parts])
        return order[positions], np.concatenate([part[1] for part in parts])

    def _find_in_leaves(self, wanted: Ids) -> list[tuple[npt.NDArray[np.int64], Ids]]:
        parts = []
        at = 0
        with self._txn.cursor(self._db) as cursor:
            while at < len(wanted):
                target = self._key(IndexKind.LEAF, int(wanted[at]))
                here = cursor.set_range(target)
                if (here and cursor.key() == target) or (cursor.prev() if here else cursor.last()):
                    key = bytes(cursor.key())
                    leaf = self._open(key, cursor.value()) if self._number(key) is not None else None
                    more = cursor.next()
                else:
                    leaf, more = None, cursor.first()
                bound = self._number(bytes(cursor.key())) if more else None
                end = len(wanted) if bound is None else int(np.searchsorted(wanted, np.uint64(bound)))
                if leaf is not None:
                    parts.append(_matches(wanted[at:end], leaf, at))
                at = end
        return parts

    def pairs(self) -> Iterator[tuple[Ids, Ids]]:
        """Every record's hashes and ids, checked; pairs of a sweep in progress come twice."""
        for kind in (IndexKind.RUN, IndexKind.LEAF):
            for key, record in self._records(kind):
                fmt.check("index", key, record)
                yield fmt.open_pairs(record)

    # ---- growth ----

    def append(self, hashes: Ids, ids: Ids) -> None:
        """Add pairs: a new run, merged with its small neighbours."""
        frozen = self._sweep().runs
        gathered = [(hashes, ids)]
        total = len(hashes)
        runs = list(self._runs())
        number = runs[-1][0] + 1 if runs else 1
        for run, pairs in reversed(runs):
            if run in frozen or len(pairs[0]) > 2 * total or len(pairs[0]) + total > RUN_PAIRS:
                break
            gathered.insert(0, (pairs[0].copy(), pairs[1].copy()))
            total += len(pairs[0])
            number = run
        for run, _ in runs[len(runs) - len(gathered) + 1 :]:
            self._txn.delete(self._key(IndexKind.RUN, run), db=self._db)
        self._put(IndexKind.RUN, number, *self._merged(gathered))

    def step(self) -> None:
        """One bounded step of a sweep, if one is due."""
        sweep = self._sweep()
        if not sweep.runs:
            sizes = {run: len(pairs[0]) for run, pairs in self._runs()}
            if len(sizes) < SWEEP_RUNS and sum(sizes.values()) < max(SWEEP_PAIRS, sweep.pairs // SWEEP_SHARE):
                return
            sweep = _Sweep(sweep.pairs, tuple(sizes))
        leaves, end = self._leaves_from(sweep.at)
        gathered = [_slice(pairs, sweep.at, end) for run, pairs in self._runs() if run in sweep.runs]
        hashes, ids = self._merged([*leaves.values(), *gathered])
        for number in leaves:
            self._txn.delete(self._key(IndexKind.LEAF, number), db=self._db)
        for start, stop in _cuts(hashes):
            self._put(IndexKind.LEAF, int(hashes[start]), hashes[start:stop], ids[start:stop])
        pairs = sweep.pairs + len(hashes) - sum(len(leaf[0]) for leaf in leaves.values())
        if end is not None:
            self._put_sweep(_Sweep(pairs, sweep.runs, end))
            return
        for run in sweep.runs:
            self._txn.delete(self._key(IndexKind.RUN, run), db=self._db)
        self._put_sweep(_Sweep(pairs))

    def purge(self, at: int) -> int | None:
        """Take pairs whose id does not live out of some leaves, from the hash `at` on; the hash to go on from, None at
        the end, where the runs are gone through too. A sweep that is going on is brought further instead."""
        if self._sweep().runs:
            self.step()
            return at
        leaves, end = self._leaves_from(at)
        before = sum(len(leaf[0]) for leaf in leaves.values())
        lasting = [self._lasting(*leaf) for leaf in leaves.values()]
        after = sum(len(leaf[0]) for leaf in lasting)
        if after < before:
            hashes, ids = (np.concatenate([leaf[i] for leaf in lasting]) for i in range(2))
            for number in leaves:
                self._txn.delete(self._key(IndexKind.LEAF, number), db=self._db)
            for start, stop in _cuts(hashes):
                self._put(IndexKind.LEAF, int(hashes[start]), hashes[start:stop], ids[start:stop])
            self._put_sweep(_Sweep(self._sweep().pairs + after - before))
        if end is None:
            for run, (hashes, ids) in [(run, (pairs[0].copy(), pairs[1].copy())) for run, pairs in self._runs()]:
                kept = self._lasting(hashes, ids)
                if len(kept[0]) < len(hashes):
                    self._put(IndexKind.RUN, run, *kept)
        return end

    def _lasting(self, hashes: Ids, ids: Ids) -> tuple[Ids, Ids]:
        alive = self._alive(ids)
        return hashes[alive], ids[alive]

    def _leaves_from(self, at: int) -> tuple[dict[int, tuple[Ids, Ids]], int | None]:
        """Up to STEP_LEAVES leaves with keys from `at`, copied, and the key of the next one."""
        leaves: dict[int, tuple[Ids, Ids]] = {}
        for key, record in self._records(IndexKind.LEAF, at):
            number = fmt.INDEX_KEY.unpack(key)[2]
            if len(leaves) == STEP_LEAVES:
                return leaves, number
            hashes, ids = self._open(key, record)
            leaves[number] = (hashes.copy(), ids.copy())
        return leaves, None

    def _merged(self, parts: list[tuple[Ids, Ids]]) -> tuple[Ids, Ids]:
        """All pairs sorted by hash; of equal hashes only those whose id lives."""
        hashes = np.concatenate([part[0] for part in parts])
        ids = np.concatenate([part[1] for part in parts])
        order = np.argsort(hashes, kind="stable")
        hashes, ids = hashes[order], ids[order]
        same = hashes[1:] == hashes[:-1]
        if same.any():
            doubtful = np.zeros(len(hashes), np.bool_)
            doubtful[1:] |= same
            doubtful[:-1] |= same
            keep = ~doubtful
            keep[doubtful] = self._alive(ids[doubtful])
            hashes, ids = hashes[keep], ids[keep]
        return hashes, ids

    # ---- records ----

    def _runs(self) -> Iterator[tuple[int, tuple[Ids, Ids]]]:
        for key, record in self._records(IndexKind.RUN):
            yield fmt.INDEX_KEY.unpack(key)[2], self._open(key, record)

    def _records(self, kind: IndexKind, at: int = 0) -> Iterator[tuple[bytes, memoryview]]:
        with self._txn.cursor(self._db) as cursor:
            more = cursor.set_range(self._key(kind, at))
            while more and fmt.INDEX_KEY.unpack(key := bytes(cursor.key()))[:2] == (self._space, kind):
                yield key, cursor.value()
                more = cursor.next()

    def _open(self, key: bytes, record: memoryview) -> tuple[Ids, Ids]:
        """The pairs of a record, checked the first time that this process meets it."""
        if len(record) < _SMALL:
            fmt.check("index", key, record)
        elif self._seen.get(key) != (checksum := int.from_bytes(record[: fmt.CRC_BYTES], "little")):
            fmt.check("index", key, record)
            if len(self._seen) >= _SEEN_LIMIT:
                self._seen.clear()
            self._seen[key] = checksum
        return fmt.open_pairs(record)

    def _number(self, key: bytes) -> int | None:
        """The first hash of a leaf's key; None for another kind of key."""
        space, kind, number = fmt.INDEX_KEY.unpack(key)
        return number if (space, kind) == (self._space, IndexKind.LEAF) else None

    def _key(self, kind: IndexKind, number: int) -> bytes:
        return fmt.INDEX_KEY.pack(self._space, kind, number)

    def _put(self, kind: IndexKind, number: int, hashes: Ids, ids: Ids) -> None:
        key = self._key(kind, number)
        self._txn.put(key, fmt.seal_pairs(key, hashes, ids), db=self._db)

    def _sweep(self) -> _Sweep:
        key = self._key(IndexKind.SWEEP, 0)
        record = self._txn.get(key, db=self._db)
        if record is None:
            return _Sweep()
        pairs, runs, at = fmt.open_map("index", key, record)
        return _Sweep(pairs, tuple(runs), at)

    def _put_sweep(self, sweep: _Sweep) -> None:
        key = self._key(IndexKind.SWEEP, 0)
        self._txn.put(key, fmt.seal_map(key, (sweep.pairs, sweep.runs, sweep.at)), db=self._db)


@njit(nogil=True, cache=True)
def _join(wanted: Any, hashes: Any, ids: Any, positions: Any, found: Any) -> Any:
    """Equal numbers in two sorted arrays: their positions in `wanted`, and what of `ids` is there, as many as there is
    room for. Returns how many there are.

    From one number to the next it looks 1, 2, 4, ... further: both sides are spread evenly, so that costs the logarithm
    of their ratio, and touches memory in order.
    """
    count, low, size = 0, np.int64(0), len(hashes)
    for i in range(len(wanted)):
        number = wanted[i]
        step, high = np.int64(1), low
        while high < size and hashes[high] < number:
            low = high + 1
            high += step
            step <<= 1
        if high > size:
            high = np.int64(size)
        while low < high:
            middle = (low + high) >> 1
            if hashes[middle] < number:
                low = middle + 1
            else:
                high = middle
        at = low
        while at < size and hashes[at] == number:
            if count < len(positions):
                positions[count], found[count] = i, ids[at]
            count += 1
            at += 1
    return count


def _matches(wanted: Ids, pairs: tuple[Ids, Ids], offset: int) -> tuple[npt.NDArray[np.int64], Ids]:
    """(positions in `wanted` + offset, ids) of all pairs whose hash is wanted; both sides sorted by hash."""
    room = len(wanted)
    while True:
        positions, found = np.empty(room, np.int64), np.empty(room, np.uint64)
        count = _join(wanted, *pairs, positions, found)
        if count <= room:
            return positions[:count] + offset, found[:count]
        room = count


def _slice(pairs: tuple[Ids, Ids], start: int, end: int | None) -> tuple[Ids, Ids]:
    """The pairs with start <= hash < end."""
    hashes, ids = pairs
    first = int(np.searchsorted(hashes, np.uint64(start)))
    last = len(hashes) if end is None else int(np.searchsorted(hashes, np.uint64(end)))
    return hashes[first:last], ids[first:last]


def _cuts(hashes: Ids) -> list[tuple[int, int]]:
    """Where to cut into leaves, equal hashes together."""
    if not len(hashes):
        return []
    count = max(1, round(len(hashes) / LEAF_PAIRS))
    rough = np.arange(1, count) * len(hashes) // count
    cuts = np.unique(np.concatenate([[0], np.searchsorted(hashes, hashes[rough]), [len(hashes)]])).tolist()
    return list(pairwise(cuts))
