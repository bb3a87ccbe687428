"""Triples as columns, packed as entries are stored (format.entry_text), by a compiled loop."""

from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

Bytes = npt.NDArray[np.uint8]
Positions = npt.NDArray[np.int64]

_HEADER = 5
"""Most bytes before a text in msgpack."""


@njit(inline="always")
def _text(out: Any, at: Any, text: Any, start: Any, size: Any) -> Any:
    """One text as msgpack has it; where the next goes."""
    if size < 32:
        out[at] = 0xA0 | size
        at += 1
    elif size < 1 << 8:
        out[at], out[at + 1] = 0xD9, size
        at += 2
    elif size < 1 << 16:
        out[at], out[at + 1], out[at + 2] = 0xDA, size >> 8, size & 255
        at += 3
    else:
        out[at], out[at + 1], out[at + 2] = 0xDB, size >> 24, (size >> 16) & 255
        out[at + 3], out[at + 4] = (size >> 8) & 255, size & 255
        at += 5
    out[at : at + size] = text[start : start + size]
    return at + size


_SPACES = np.zeros(256, np.bool_)
_SPACES[list("".join(chr(i) for i in range(0x3001) if chr(i).isspace()).encode())] = True
"""Bytes that white space is made of."""


@njit(inline="always")
def _maybe_blank(text: Any, start: Any, size: Any, spaces: Any) -> Any:
    for byte in text[start : start + size]:  # noqa: SIM110 - numba compiles no generator
        if not spaces[byte]:
            return False
    return True


@njit(nogil=True, cache=True)
def _packed(text: Any, lengths: Any, out: Any, ends: Any, stops: Any, blank: Any, spaces: Any) -> Any:
    at, start = np.int64(0), np.int64(0)
    for i in range(len(lengths)):
        out[at] = 0x95
        at += 1
        for part in range(3):
            size = np.int64(lengths[i, part])
            blank[i] |= _maybe_blank(text, start, size, spaces)
            at = _text(out, at, text, start, size)
            start += size
        stops[i] = at
        out[at], out[at + 1] = 0xA0, 0x80
        at += 2
        ends[i] = at
    return at


def packed(text: Bytes, lengths: npt.NDArray[np.uint32]) -> tuple[Bytes, Positions, Positions, npt.NDArray[np.bool_]]:
    """`text` uint8, the heads, relations and tails of N triples end to end; `lengths` (N, 3) adds up to its length.

    Returns the stored texts end to end, where each ends, where each one's head, relation and tail end, and which have a
    blank part.
    """
    count = len(lengths)
    out = np.empty(len(text) + count * (3 + 3 * _HEADER), np.uint8)
    ends, stops, blank = np.empty(count, np.int64), np.empty(count, np.int64), np.zeros(count, np.bool_)
    size = _packed(text, lengths, out, ends, stops, blank, _SPACES)
    for i in np.flatnonzero(blank).tolist():
        first = int(lengths[:i].sum(dtype=np.int64))
        bounds = np.cumsum([first, *lengths[i].tolist()])
        parts = (text[start:stop].tobytes().decode() for start, stop in pairwise(bounds.tolist()))
        blank[i] = not all(part.strip() for part in parts)
    return out[:size], ends, stops, blank
