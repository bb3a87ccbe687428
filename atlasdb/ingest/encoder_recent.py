"""Vectors of texts encoded lately: the tails of a graph recur ("male", "United States of America")."""

from collections import OrderedDict
from typing import Final

from atlasdb.ingest.encoder_wire import Floats

_OVERHEAD: Final = 300
"""Bytes of a kept vector besides its numbers and its text: array, string and table slot."""


class Recent:
    """The latest texts with their vectors, within a bound in bytes.

    Vectors are kept as they came, in float32: a text gives the same numbers whether it was at hand or not.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._bytes = 0
        self._vectors: OrderedDict[str, Floats] = OrderedDict()

    def __len__(self) -> int:
        return len(self._vectors)

    def get(self, text: str) -> Floats | None:
        """The vector (D,), which is then the latest; not to be written to."""
        vector = self._vectors.get(text)
        if vector is not None:
            self._vectors.move_to_end(text)
        return vector

    def put(self, text: str, vector: Floats) -> None:
        """Keeps a copy of the vector (D,); the oldest ones make room."""
        cost = _cost(text, vector)
        if text in self._vectors or cost > self._limit:
            return
        self._vectors[text] = vector.copy()
        self._bytes += cost
        while self._bytes > self._limit:
            self._bytes -= _cost(*self._vectors.popitem(last=False))


def _cost(text: str, vector: Floats) -> int:
    return vector.nbytes + 4 * len(text) + _OVERHEAD
