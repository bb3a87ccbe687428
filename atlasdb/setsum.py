"""A sum over the entries of a collection that does not depend on their order: two collections with equal sums hold the
same entries; design "Setsum".

An entry's *item* is a 128-bit hash of what makes it what it is, ids apart: its texts (triple, source, metadata),
whether it is an inverse, its key and its value with their scales. The sum has eight lanes: each item gives eight
numbers of 32 bits, and lane j adds its own modulo a prime of its own just below 2^32. So an entry that goes is
subtracted, and nothing has to be read to keep the sum.

The hash multiplies 64 bits by 64 and folds both halves (as wyhash does), two chains side by side: 32 bytes a step. It
is not keyed: a backup, another store and an export that was loaded again give the same sum. It finds accidents; whoever
can choose entries could, with effort, make two sets with one sum.
"""

import ctypes
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from atlasdb_contract.types import Ids, Vectors

LANES: Final = 8
BYTES: Final = 4 * LANES
EMPTY: Final = bytes(BYTES)
"""The sum of no entries."""
PRIMES = np.array(
    [4294967291, 4294967279, 4294967231, 4294967197, 4294967189, 4294967161, 4294967143, 4294967111], np.uint64
)
"""The eight largest below 2^32."""
_SECRETS = np.array(
    [
        0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3, 0x589965CC75374CC3,
        0x1D8E4E27C47D124F, 0xEB44ACCAB455D165, 0x9C6E6877736C46E3, 0x2D358DCCAA6C78A5,
    ],
    np.uint64,
)  # fmt: skip


def _folded_of(_: Any, __: Any, ___: Any) -> Any:
    """Both halves, exclusive-or, of the product of two u64."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        wide, word = ir.IntType(128), ir.IntType(64)
        left, right = (builder.zext(one, wide) for one in arguments)
        product = builder.mul(left, right)
        high = builder.trunc(builder.lshr(product, ir.Constant(wide, 64)), word)
        return builder.xor(builder.trunc(product, word), high)

    return types.uint64(types.uint64, types.uint64), generate


def _word_of(_: Any, __: Any) -> Any:
    """The eight bytes at an address."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        return builder.load(builder.inttoptr(arguments[0], word.as_pointer()), align=1)

    return types.uint64(types.intp), generate


_folded: Any = intrinsic(_folded_of)
_word: Any = intrinsic(_word_of)


@njit(inline="always")
def _mixed(a: Any, b: Any, data: Any, secrets: Any) -> Any:
    """Both chains after more bytes, contiguous uint8 (n,), and their number."""
    size, address = len(data), data.ctypes.data
    whole = size >> 5 << 5
    for at in range(0, whole, 32):
        a = _folded(a ^ _word(address + at) ^ secrets[0], _word(address + at + 8) ^ secrets[1])
        b = _folded(b ^ _word(address + at + 16) ^ secrets[2], _word(address + at + 24) ^ secrets[3])
    length = np.uint64(size)
    while whole + 8 <= size:
        a, b = b, _folded(a ^ _word(address + whole) ^ secrets[6], length ^ secrets[7])
        whole += 8
    rest = np.uint64(0)
    for at in range(whole, size):
        rest = rest << np.uint64(8) | np.uint64(data[at])
    a = _folded(a ^ rest ^ secrets[4], length ^ secrets[5])
    return a, b


@njit(nogil=True, cache=True)
def _items(
    texts: Any, ends: Any, inverse: Any, keys: Any, key_scales: Any, key_rows: Any, values: Any, value_scales: Any,
    value_rows: Any, secrets: Any, out: Any,
) -> None:  # fmt: skip
    start = 0
    for i in range(len(ends)):
        a, b = secrets[0] + np.uint64(inverse[i]), secrets[1]
        a, b = _mixed(a, b, texts[start : ends[i]], secrets)
        key, value = key_rows[i], value_rows[i]
        a, b = a ^ np.uint64(key_scales[key]), b ^ np.uint64(value_scales[value]) << np.uint64(1)
        a, b = _mixed(a, b, keys[key], secrets)
        a, b = _mixed(a, b, values[value], secrets)
        out[i, 0], out[i, 1] = _folded(a ^ secrets[2], b ^ secrets[3]), _folded(b ^ secrets[4], a ^ secrets[5])
        start = ends[i]


@njit(nogil=True, cache=True)
def _total(items: Any, secrets: Any, primes: Any) -> Any:
    lanes = np.zeros(8, np.uint64)  # of numbers below 2^32: nothing overflows
    for i in range(len(items)):
        for pair in range(4):
            a, b = items[i, 0] ^ secrets[pair], items[i, 1] ^ secrets[pair + 4]
            both = _folded(a, b) + a
            lanes[2 * pair] += both >> np.uint64(32)
            lanes[2 * pair + 1] += both & np.uint64(0xFFFFFFFF)
    return lanes % primes


def items_of(
    texts: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
    inverse: npt.NDArray[np.bool_],
    keys: tuple[Vectors, npt.NDArray[np.int64]],
    values: tuple[Vectors, npt.NDArray[np.int64]],
) -> Ids:
    """The items of n entries: u64 (n, 2). `texts` and `ends` as in matrices.EntryRows; `keys` and `values` are vectors,
    and the row in them of each entry."""
    out = np.empty((len(ends), 2), np.uint64)
    texts = np.ascontiguousarray(texts)
    matrices = [np.ascontiguousarray(vectors.data).view(np.uint8) for vectors, _ in (keys, values)]
    scales = [np.ascontiguousarray(vectors.scales, "<f4").view(np.uint32) for vectors, _ in (keys, values)]
    of_keys, of_values = (
        (_writable(matrix), _writable(scale), rows)
        for matrix, scale, (_, rows) in zip(matrices, scales, (keys, values), strict=True)
    )
    _items(_writable(texts), ends, inverse.astype(np.uint8), *of_keys, *of_values, _SECRETS, out)
    return out


def _writable(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The same memory, as long as `array` lives, as the type that numba compiled for: it would compile once more for
    what can't be written."""
    if array.flags.writeable or not array.nbytes:
        return array if array.flags.writeable else np.empty(array.shape, array.dtype)
    memory = (ctypes.c_uint8 * array.nbytes).from_address(array.__array_interface__["data"][0])
    return np.ctypeslib.as_array(memory).view(array.dtype).reshape(array.shape)


def added(known: bytes, items: Ids) -> bytes:
    """The sum with more items u64 (n, 2)."""
    return _joined(known, _total(np.ascontiguousarray(items), _SECRETS, PRIMES))


def less(known: bytes, items: Ids) -> bytes:
    """The sum without these items, which are in it."""
    return _joined(known, PRIMES - _total(np.ascontiguousarray(items), _SECRETS, PRIMES))


def _joined(known: bytes, lanes: Ids) -> bytes:
    return ((np.frombuffer(known, "<u4") + lanes) % PRIMES).astype("<u4").tobytes()
