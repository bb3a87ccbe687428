"""Sign codes: a bit for each coordinate of a rotated vector; design "Codes".

A node's code is one cache line where its vector is six, and tells a product with an error of about a thirtieth of both
lengths (RaBitQ, Gao and Long 2024): enough to see which nodes a walk should compare next. With x the rotated
vector, P its dimensions, s its signs: x . q is about |x|^2 / sum|x_i| times s . q, which is exact for q = x.
The rotation is three times random signs and a Hadamard transform; it is the same for all trees.
"""

from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from atlasdb_contract.types import Floats, Vectors

ROUNDS = 3
PLANES = 4
"""Bits of a row's coordinate."""
SPREAD = np.float32(0.6)
"""Standard deviation of s . q about its mean, in parts of |q|: sqrt(1 - rho^2), rho = sum|x_i| / (sqrt(P) |x|) = .8."""
CHUNK = 4096


class Codes(NamedTuple):
    """N codes: bits uint64 (N, P / 64), `scales` float32 (N,): |x|^2 / sum|x_i|."""

    bits: npt.NDArray[np.uint64]
    scales: Floats


def words(dimension: int) -> int:
    """P / 64: P is the power of two from D, and from 64, on."""
    return max(64, 1 << (dimension - 1).bit_length()) // 64


@lru_cache
def signs(dimension: int) -> Floats:
    """The rotation's signs: float32 (ROUNDS, P)."""
    flips = np.random.default_rng(0).integers(0, 2, (ROUNDS, 64 * words(dimension)))
    return (2 * flips - 1).astype(np.float32)


@njit(nogil=True, cache=True)
def _rotate(vectors: Any, flips: Any, out: Any) -> None:
    rounds, size = flips.shape
    for n in range(len(vectors)):
        row = out[n]
        row[:] = 0
        row[: vectors.shape[1]] = vectors[n]
        for turn in range(rounds):
            for i in range(size):
                row[i] *= flips[turn, i]
            half = 1
            while half < size:
                for start in range(0, size, 2 * half):
                    for i in range(start, start + half):
                        high, low = row[i], row[i + half]
                        row[i] = high + low
                        row[i + half] = high - low
                half *= 2
            for i in range(size):
                row[i] /= np.float32(np.sqrt(size))


def rotated(vectors: Floats) -> Floats:
    """Float32 (N, D) to (N, P): lengths and products stay."""
    flips = signs(vectors.shape[1])
    out = np.empty((len(vectors), flips.shape[1]), np.float32)
    _rotate(vectors, flips, out)
    return out


def encoded(vectors: Vectors) -> Codes:
    """The codes of int8 (N, D)."""
    bits = np.empty((len(vectors), words(vectors.dimension)), np.uint64)
    scales = np.empty(len(vectors), np.float32)
    for start in range(0, len(vectors), CHUNK):
        here = slice(start, start + CHUNK)
        turned = rotated(vectors.take(here).floats())
        bits[here] = np.packbits(turned > 0, axis=1, bitorder="little").view("<u8")
        total = np.abs(turned).sum(axis=1)
        scales[here] = np.einsum("np,np->n", turned, turned) / np.maximum(total, np.finfo(np.float32).tiny)
    return Codes(bits, scales)


class Asked(NamedTuple):
    """A row, ready to be compared with codes: q is about low + step u, `planes` uint64 (PLANES, P / 64) the bits of
    u."""

    planes: npt.NDArray[np.uint64]
    low: np.float32
    step: np.float32
    total: np.float32
    """Of q's coordinates as they are in the planes."""
    error: np.float32
    """Standard error of an estimate, in parts of the node's code scale: SPREAD |q|."""


@njit(nogil=True, cache=True)
def _asked(row: Any, scale: Any, flips: Any) -> Any:
    size = flips.shape[1]
    vector, turned = np.empty((1, len(row)), np.float32), np.empty((1, size), np.float32)
    for i in range(len(row)):
        vector[0, i] = row[i] * scale
    _rotate(vector, flips, turned)
    low = high = turned[0, 0]
    for value in turned[0]:
        low, high = min(low, value), max(high, value)
    length = np.float32(0)
    for value in turned[0]:
        length += value * value
    step = max((high - low) / np.float32(2**PLANES - 1), np.float32(1e-30))
    planes = np.zeros((PLANES, size // 64), np.uint64)
    levels = np.int64(0)
    for i in range(size):
        level = np.int64(np.rint((turned[0, i] - low) / step))
        levels += level
        for plane in range(PLANES):
            planes[plane, i >> 6] |= np.uint64((level >> plane) & 1) << np.uint64(i & 63)
    return planes, low, step, np.float32(low * size + step * levels), SPREAD * np.sqrt(length)


def asked(row: npt.NDArray[np.int8], scale: np.float32) -> Asked:
    """A row int8 (D,)."""
    return Asked(*_asked(row, scale, signs(len(row))))
