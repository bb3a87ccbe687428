"""Products of int8 vectors and of codes, by the processor's wide instructions where it has them.

numba's loops are good, but LLVM does not find these two: `vpdpbusd` (AVX-512 VNNI) multiplies 64 bytes and adds them up
in one step, which takes a product of 384 numbers from 18 ns to 6, and eight words' bits are counted at once. Exact
either way: what the processor lacks is done by a plain loop with the same result.
"""

from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config, njit, types
from numba.extending import intrinsic

_BYTE, _WORD, _LONG = ir.IntType(8), ir.IntType(32), ir.IntType(64)
_WORDS, _LONGS = ir.VectorType(_WORD, 16), ir.VectorType(_LONG, 8)
LINE = 64


def _function(builder: Any, name: str, result: Any, arguments: list[Any]) -> Any:
    """LLVM's function of that name."""
    return builder.module.globals.get(name) or ir.Function(builder.module, ir.FunctionType(result, arguments), name)


def _load(builder: Any, address: Any, kind: Any) -> Any:
    return builder.load(builder.inttoptr(address, ir.PointerType()), typ=kind, align=1)


def _splat(kind: Any, number: int) -> Any:
    return ir.Constant(kind, [ir.Constant(kind.element, number)] * kind.count)


def _dot_of(_: Any, __: Any, ___: Any, ____: Any) -> Any:
    """The product of int8 vectors at two addresses, `size` bytes long, a positive multiple of LINE: int32."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        multiply = _function(builder, "llvm.x86.avx512.vpdpbusd.512", _WORDS, [_WORDS] * 3)
        add_up = _function(builder, "llvm.vector.reduce.add.v16i32", _WORD, [_WORDS])
        first, second, size = arguments
        before, loop = builder.block, builder.append_basic_block()
        after = builder.append_basic_block()
        builder.branch(loop)
        builder.position_at_end(loop)
        at, total, extra = builder.phi(_LONG), builder.phi(_WORDS), builder.phi(_WORDS)
        for phi, start in ((at, ir.Constant(_LONG, 0)), (total, _splat(_WORDS, 0)), (extra, _splat(_WORDS, 0))):
            phi.add_incoming(start, before)
        one = _load(builder, builder.add(first, at), _WORDS)
        other = _load(builder, builder.add(second, at), _WORDS)
        shifted = builder.xor(one, _splat(_WORDS, 0x80808080))  # x + 128, which is never negative
        added = builder.call(multiply, [total, shifted, other])
        over = builder.call(multiply, [extra, _splat(_WORDS, 0x80808080), other])  # 128 of each
        further = builder.add(at, ir.Constant(_LONG, LINE))
        for phi, value in ((at, further), (total, added), (extra, over)):
            phi.add_incoming(value, loop)
        builder.cbranch(builder.icmp_signed("<", further, size), loop, after)
        builder.position_at_end(after)
        return builder.call(add_up, [builder.sub(added, over)])

    return types.int32(types.int64, types.int64, types.int64), generate


def _weigh_of(_: Any, __: Any, ___: Any, ____: Any) -> Any:
    """How many bits of the eight words at an address are set, << 32, and how many of them in each of four planes, the
    words of which stand `stride` bytes apart, counted 1, 2, 4 and 8 times."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        count = _function(builder, "llvm.ctpop.v8i64", _LONGS, [_LONGS])
        add_up = _function(builder, "llvm.vector.reduce.add.v8i64", _LONG, [_LONGS])
        code, planes, stride = arguments
        bits = _load(builder, code, _LONGS)
        total = builder.shl(builder.call(count, [bits]), _splat(_LONGS, 32))
        for plane in range(4):
            both = builder.and_(bits, _load(builder, planes, _LONGS))
            total = builder.add(total, builder.shl(builder.call(count, [both]), _splat(_LONGS, plane)))
            planes = builder.add(planes, stride)
        return builder.call(add_up, [total])

    return types.uint64(types.int64, types.int64, types.int64), generate


def _popcount_of(_: Any, __: Any) -> Any:
    """How many bits of a word are set."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        return builder.ctpop(arguments[0])

    return types.uint64(types.uint64), generate


_dot: Any = intrinsic(_dot_of)
_weigh: Any = intrinsic(_weigh_of)
_popcount: Any = intrinsic(_popcount_of)


def has_vnni() -> bool:
    """Whether code compiled here may use AVX-512 VNNI."""
    if config.CPU_NAME or config.CPU_FEATURES:  # numba compiles for another processor
        return False
    features = binding.get_host_cpu_features()
    return binding.get_process_triple().startswith("x86_64") and bool(features.get("avx512vnni"))


@njit(inline="always")
def _dot_by_instruction(vector: Any, row: Any) -> Any:
    whole = len(row) // LINE * LINE
    total = np.int32(0)
    if whole:
        total = _dot(np.int64(vector.ctypes.data), np.int64(row.ctypes.data), np.int64(whole))
    for i in range(whole, len(row)):
        total = np.int32(total + np.int32(np.int32(vector[i]) * np.int32(row[i])))
    return total


@njit(inline="always")
def _dot_by_loop(vector: Any, row: Any) -> Any:
    total = np.int32(0)
    for i in range(len(row)):
        total = np.int32(total + np.int32(np.int32(vector[i]) * np.int32(row[i])))
    return total


dot: Any = _dot_by_instruction if has_vnni() else _dot_by_loop
"""The exact product of two contiguous int8 vectors: int32."""


@njit(inline="always")
def weigh(code: Any, planes: Any) -> Any:
    """The bits set of a code uint64 (W,), and the sum over planes uint64 (4, W), contiguous, of 1, 2, 4 and 8 times the
    bits that both have: two int64."""
    words = planes.shape[1]
    both = np.uint64(0)
    whole = words // 8 * 8
    for i in range(0, whole, 8):
        both += _weigh(np.int64(code.ctypes.data + 8 * i), np.int64(planes.ctypes.data + 8 * i), np.int64(8 * words))
    ones, weighted = both >> np.uint64(32), both & np.uint64(0xFFFFFFFF)
    for i in range(whole, words):
        word = code[i]
        ones += _popcount(word)
        for plane in range(4):
            weighted += _popcount(word & planes[plane, i]) << np.uint64(plane)
    return np.int64(ones), np.int64(weighted)
