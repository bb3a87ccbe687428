"""Slots: what the LEAF level is made of. A slot is a distinct key of a head, with the entries that have it."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from atlasdb_contract.types import Ids, Vectors

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Slots:
    """K slots with m >= K entries as columns, often as they lie in the store.

    `subjects` u64 (K,) and `keys` int8 (K, D) are the slots'. Slot i has the entries starts[i] .. starts[i + 1] of
    `ids` and `value_ids`, u64 (m,), at least one, in the order of their ids.
    """

    subjects: Ids
    keys: Vectors
    starts: npt.NDArray[np.integer[Any]]
    ids: Ids
    value_ids: Ids

    def __len__(self) -> int:
        return len(self.subjects)

    @property
    def entries(self) -> int:
        """m."""
        return len(self.ids)

    @staticmethod
    def single(ids: Ids, value_ids: Ids, subjects: Ids, keys: Vectors) -> "Slots":
        """A slot for each entry."""
        return Slots(subjects, keys, np.arange(len(ids) + 1), ids, value_ids)

    def take(self, positions: Any) -> "Slots":
        """Some of the slots (indices, a mask or a slice), copied."""
        wanted = np.arange(len(self))[positions]
        within, starts = ragged(self.starts, wanted)
        return Slots(self.subjects[wanted], self.keys.take(wanted), starts, self.ids[within], self.value_ids[within])

    @staticmethod
    def joined(parts: "Sequence[Slots]") -> "Slots":
        """At least one, end to end; copied if more."""
        if len(parts) == 1:
            return parts[0]
        sizes = np.concatenate([np.diff(part.starts) for part in parts])
        keys = Vectors(
            np.concatenate([part.keys.data for part in parts]), np.concatenate([part.keys.scales for part in parts])
        )
        return Slots(
            np.concatenate([part.subjects for part in parts]),
            keys,
            np.concatenate([[0], np.cumsum(sizes)]),
            np.concatenate([part.ids for part in parts]),
            np.concatenate([part.value_ids for part in parts]),
        )


def ragged(starts: npt.NDArray[np.integer[Any]], wanted: Positions) -> tuple[Positions, Positions]:
    """Of lists that lie end to end, list i at starts[i] .. starts[i + 1], those at `wanted`: the positions of what is
    in them, and where each begins among those."""
    first = np.asarray(starts[wanted], np.int64)
    sizes = np.asarray(starts[wanted + 1], np.int64) - first
    moved = np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)
    return np.arange(moved[-1]) + np.repeat(first - moved[:-1], sizes), moved
