"""What makes two triples, or two values, the same.

A triple's hash finds candidates, which are then compared; so equal hashes do no harm. A value's identity decides. Both
are SipHash-128 under the collection's salt.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from atlasdb import siphash
from atlasdb.siphash import Salt
from atlasdb_contract.types import Ids, Vectors

Positions = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Facts:
    """N distinct triples as they are stored and compared.

    `texts` uint8: fact i has texts[starts[i]:ends[i]], and its head, relation and tail are texts[starts[i]:stops[i]].
    `hashes` u64 (N,), under `salt`.
    """

    texts: npt.NDArray[np.uint8]
    starts: Positions
    stops: Positions
    ends: Positions
    hashes: Ids
    salt: Salt

    def __len__(self) -> int:
        return len(self.hashes)

    @staticmethod
    def of(texts: npt.NDArray[np.uint8], starts: Positions, stops: Positions, ends: Positions, salt: Salt) -> "Facts":
        """With their hashes."""
        return Facts(texts, starts, stops, ends, siphash.of_spans(texts, starts, stops, salt)[:, 0].copy(), salt)

    @staticmethod
    def packed(texts: Sequence[tuple[bytes, int]], salt: Salt) -> "Facts":
        """Of stored texts, with how long the part is that says which triple it is (format.entry_text)."""
        ends = np.cumsum([0, *(len(text) for text, _ in texts)], dtype=np.int64)
        stops = ends[:-1] + np.array([size for _, size in texts], np.int64)
        joined = np.frombuffer(bytearray(b"".join([text for text, _ in texts]) or b"\0"), np.uint8)
        return Facts.of(joined, ends[:-1], stops, ends[1:], salt)

    def take(self, positions: Any) -> "Facts":
        """Some of them; the texts are shared."""
        starts, stops, ends = (column[positions] for column in (self.starts, self.stops, self.ends))
        return Facts(self.texts, starts, stops, ends, self.hashes[positions], self.salt)


@njit(nogil=True, cache=True)
def _stops(texts: Any, starts: Any) -> Any:
    found = np.empty(len(starts), np.int64)
    for i in range(len(starts)):
        at = starts[i] + 1
        for _ in range(3):
            kind, size = texts[at], np.int64(0)
            width = 0 if kind < 0xC0 else kind - 0xD8 if kind < 0xDB else 4
            for j in range(width):
                size = size << 8 | texts[at + 1 + j]
            at += 1 + width + (kind & 31 if width == 0 else size)
        found[i] = at
    return found


def facts_of(texts: npt.NDArray[np.uint8], ends: Positions, salt: Salt) -> Facts:
    """Stored texts, sound ones, as facts; each ends at ends[i] and begins where the one before ends."""
    starts = np.concatenate([[0], ends[:-1]])
    return Facts.of(texts, starts, _stops(texts, starts), ends, salt)


def subject_hashes(subjects: Sequence[str], salt: Salt) -> Ids:
    """u64 (N,): entries of one subject stand together in the tree. Equal hashes of two subjects do no harm."""
    return siphash.of_pieces([subject.encode() for subject in subjects], salt)[:, 0].copy()


def text_identities(texts: Sequence[str], salt: Salt) -> Ids:
    """The identity of each value that the server encodes from a text: u64 (N, 2)."""
    return siphash.of_pieces([b"t" + text.encode() for text in texts], salt)


def vector_identities(vectors: Vectors, salt: Salt) -> Ids:
    """The identity of each value that was given as a vector: u64 (N, 2)."""
    rows = np.empty((len(vectors), 5 + vectors.dimension), np.uint8)
    rows[:, 0] = ord("v")
    rows[:, 1:5] = np.ascontiguousarray(vectors.scales, "<f4").view(np.uint8).reshape(-1, 4)
    rows[:, 5:] = vectors.data.view(np.uint8)
    return siphash.of_rows(rows, salt)
