"""Triples as columns: how many of them travel together."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class TripleColumns:
    """N triples as columns: `text` is the UTF-8 of head, relation and tail of each, end to end; `lengths` uint32
    (N, 3), the bytes of each part."""

    text: bytes
    lengths: npt.NDArray[np.uint32]

    def __len__(self) -> int:
        return len(self.lengths)

    def triples(self) -> Iterator[tuple[str, str, str]]:
        """(head, relation, tail) of each."""
        at = 0
        for head, relation, tail in self.lengths.tolist():
            middle, last, end = at + head, at + head + relation, at + head + relation + tail
            yield self.text[at:middle].decode(), self.text[middle:last].decode(), self.text[last:end].decode()
            at = end

    @property
    def bounds(self) -> npt.NDArray[np.int64]:
        """Where each triple's text begins, and the last one ends: int64 (N + 1,)."""
        return np.concatenate([[0], self.lengths.sum(axis=1, dtype=np.int64).cumsum()])

    def kept(self, mask: npt.NDArray[np.bool_]) -> "TripleColumns":
        """Those that are True in `mask` (N,)."""
        text = np.frombuffer(self.text, np.uint8)[np.repeat(mask, np.diff(self.bounds))]
        return TripleColumns(text.tobytes(), self.lengths[mask])

    @classmethod
    def joined(cls, parts: "Sequence[TripleColumns]") -> "TripleColumns":
        """One after the other."""
        return cls(b"".join([part.text for part in parts]), np.concatenate([part.lengths for part in parts]))

    @classmethod
    def of(cls, triples: Iterable[tuple[str, str, str]]) -> "TripleColumns":
        """Of (head, relation, tail) each."""
        parts = [part.encode() for triple in triples for part in triple]
        return cls(b"".join(parts), np.array([len(part) for part in parts], np.uint32).reshape(-1, 3))
