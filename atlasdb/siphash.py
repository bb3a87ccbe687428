"""SipHash-2-4 with 128 bits (Aumasson and Bernstein, 2012) of many pieces at once, compiled.

Keyed, so that nobody who does not know a collection's salt can make two texts or vectors that it takes for the same.
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from numba import njit

from atlasdb_contract.types import Ids

Salt = tuple[int, int]
"""Two u64."""
Bytes = npt.NDArray[np.uint8]


@njit(inline="always")
def _left(x: Any, bits: Any) -> Any:
    return (x << np.uint64(bits)) | (x >> np.uint64(64 - bits))


@njit(inline="always")
def _rounds(v0: Any, v1: Any, v2: Any, v3: Any, count: Any) -> Any:
    for _ in range(count):
        v0 += v1
        v1 = _left(v1, 13) ^ v0
        v0 = _left(v0, 32)
        v2 += v3
        v3 = _left(v3, 16) ^ v2
        v0 += v3
        v3 = _left(v3, 21) ^ v0
        v2 += v1
        v1 = _left(v1, 17) ^ v2
        v2 = _left(v2, 32)
    return v0, v1, v2, v3


@njit(nogil=True, cache=True)
def _pieces(data: Any, starts: Any, stops: Any, k0: Any, k1: Any, out: Any) -> None:
    for n in range(len(starts)):
        v0 = k0 ^ np.uint64(0x736F6D6570736575)
        v1 = k1 ^ np.uint64(0x646F72616E646F6D) ^ np.uint64(0xEE)
        v2 = k0 ^ np.uint64(0x6C7967656E657261)
        v3 = k1 ^ np.uint64(0x7465646279746573)
        size = stops[n] - starts[n]
        at = starts[n]
        for _ in range(size >> 3):
            word = np.uint64(0)
            for i in range(8):
                word |= np.uint64(data[at + i]) << np.uint64(8 * i)
            at += 8
            v3 ^= word
            v0, v1, v2, v3 = _rounds(v0, v1, v2, v3, 2)
            v0 ^= word
        word = np.uint64(size & 255) << np.uint64(56)
        for i in range(size & 7):
            word |= np.uint64(data[at + i]) << np.uint64(8 * i)
        v3 ^= word
        v0, v1, v2, v3 = _rounds(v0, v1, v2, v3, 2)
        v0 ^= word
        v2 ^= np.uint64(0xEE)
        v0, v1, v2, v3 = _rounds(v0, v1, v2, v3, 4)
        out[n, 0] = v0 ^ v1 ^ v2 ^ v3
        v1 ^= np.uint64(0xDD)
        v0, v1, v2, v3 = _rounds(v0, v1, v2, v3, 4)
        out[n, 1] = v0 ^ v1 ^ v2 ^ v3


def of_spans(data: Bytes, starts: npt.NDArray[np.int64], stops: npt.NDArray[np.int64], salt: Salt) -> Ids:
    """The hashes of data[starts[i]:stops[i]]: u64 (n, 2)."""
    out = np.empty((len(starts), 2), np.uint64)
    _pieces(data, starts, stops, np.uint64(salt[0]), np.uint64(salt[1]), out)
    return out


def of_rows(rows: Bytes, salt: Salt) -> Ids:
    """The hash of each row of uint8 (n, bytes): u64 (n, 2)."""
    starts = np.arange(len(rows), dtype=np.int64) * rows.shape[1]
    return of_spans(np.ascontiguousarray(rows).reshape(-1), starts, starts + rows.shape[1], salt)


def of_pieces(pieces: list[bytes], salt: Salt) -> Ids:
    """The hash of each piece: u64 (n, 2)."""
    ends = np.cumsum([0, *map(len, pieces)], dtype=np.int64)
    data = np.frombuffer(b"".join(pieces) or b"\0", np.uint8)
    return of_spans(data, ends[:-1], ends[1:], salt)
