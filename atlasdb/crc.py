"""CRC32C of many short buffers at once, compiled; design "Checksums".

`google_crc32c` is quick for one long buffer, but each call costs as much as half a kilobyte; here a whole table of
slots or records is one call. Eight bytes a step: by the processor's own instruction where it has one (SSE 4.2: 64 slots
in 1.6 us instead of 12), else through eight tables (slicing-by-8, Kounavis and Berry 2005).
"""

from typing import Any

import numpy as np
import numpy.typing as npt
from llvmlite import binding, ir
from numba import config, njit, types
from numba.extending import intrinsic

from atlasdb_contract.types import Ids, Vectors

U32s = npt.NDArray[np.uint32]

_POLYNOMIAL = 0x82F63B78


def _tables() -> U32s:
    tables = np.zeros((8, 256), np.uint32)
    first = np.arange(256, dtype=np.uint32)
    for _ in range(8):
        first = np.where(first & 1, (first >> 1) ^ np.uint32(_POLYNOMIAL), first >> 1)
    tables[0] = first
    for step in range(1, 8):
        tables[step] = (tables[step - 1] >> 8) ^ tables[0][tables[step - 1] & 0xFF]
    return tables


TABLES = _tables()


def _eight_of(_: Any, __: Any, ___: Any) -> Any:
    """The register, as u64, after the eight bytes at an address."""

    def generate(_: Any, builder: Any, __: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        name = "llvm.x86.sse42.crc32.64.64"
        function = builder.module.globals.get(name) or ir.Function(
            builder.module, ir.FunctionType(word, [word, word]), name
        )
        register, address = arguments
        return builder.call(function, [register, builder.load(builder.inttoptr(address, word.as_pointer()), align=1)])

    return types.uint64(types.uint64, types.intp), generate


_eight: Any = intrinsic(_eight_of)


def has_instruction() -> bool:
    """Whether code compiled here may use the processor's instruction."""
    if config.CPU_NAME or config.CPU_FEATURES:  # numba compiles for another processor
        return False
    return binding.get_process_triple().startswith("x86_64") and bool(binding.get_host_cpu_features().get("sse4.2"))


@njit(inline="always")
def _by_instruction(_: Any, crc: Any, data: Any) -> Any:
    """The register after the first n // 8 * 8 bytes of contiguous uint8 (n,)."""
    register, address = np.uint64(crc), data.ctypes.data
    for i in range(0, len(data) // 8 * 8, 8):
        register = _eight(register, address + i)
    return np.uint32(register)


@njit(inline="always")
def _by_tables(tables: Any, crc: Any, data: Any) -> Any:
    """The same, for processors without it."""
    for i in range(0, len(data) // 8 * 8, 8):
        low = crc ^ (
            np.uint32(data[i])
            | np.uint32(data[i + 1]) << np.uint32(8)
            | np.uint32(data[i + 2]) << np.uint32(16)
            | np.uint32(data[i + 3]) << np.uint32(24)
        )
        crc = (
            tables[7, low & np.uint32(255)]
            ^ tables[6, low >> np.uint32(8) & np.uint32(255)]
            ^ tables[5, low >> np.uint32(16) & np.uint32(255)]
            ^ tables[4, low >> np.uint32(24)]
            ^ tables[3, data[i + 4]]
            ^ tables[2, data[i + 5]]
            ^ tables[1, data[i + 6]]
            ^ tables[0, data[i + 7]]
        )
    return crc


_whole = _by_instruction if has_instruction() else _by_tables


@njit(nogil=True, cache=True, inline="always")
def step(tables: Any, crc: Any, data: Any) -> Any:
    """The raw register after more bytes: contiguous uint8 (n,)."""
    crc = _whole(tables, crc, data)
    for i in range(len(data) // 8 * 8, len(data)):
        crc = crc >> np.uint32(8) ^ tables[0, (crc ^ np.uint32(data[i])) & np.uint32(255)]
    return crc


@njit(nogil=True, cache=True)
def _rows(tables: Any, rows: Any) -> Any:
    found = np.empty(len(rows), np.uint32)
    for i in range(len(rows)):
        found[i] = ~step(tables, np.uint32(0xFFFFFFFF), rows[i])
    return found


@njit(nogil=True, cache=True)
def _texts(tables: Any, heads: Any, texts: Any, ends: Any) -> Any:
    found = np.empty(len(ends), np.uint32)
    start = 0
    for i in range(len(ends)):
        head = step(tables, np.uint32(0xFFFFFFFF), heads[i])
        found[i] = ~step(tables, head, texts[start : ends[i]])
        start = ends[i]
    return found


def of_rows(rows: npt.NDArray[np.uint8]) -> U32s:
    """The checksum of each row of uint8 (n, bytes): uint32 (n,)."""
    found: U32s = _rows(TABLES, rows)
    return found


ENTRY_HEAD = 33
"""Bytes of an entry's id, value id, item and flags."""


def of_texts(
    ids: Ids,
    value_ids: Ids,
    items: Ids,
    flags: npt.NDArray[np.uint8],
    texts: npt.NDArray[np.uint8],
    ends: npt.NDArray[np.int64],
) -> U32s:
    """The checksum of each stored entry: of its id, value id, item, flags and texts; `ends` as in
    matrices.EntryRows."""
    heads = np.empty(len(ids), np.dtype([("id", "<u8"), ("value", "<u8"), ("item", "<u8", 2), ("flags", "u1")]))
    heads["id"], heads["value"], heads["item"], heads["flags"] = ids, value_ids, items, flags
    found: U32s = _texts(TABLES, heads.view(np.uint8).reshape(len(ids), ENTRY_HEAD), np.array(texts), ends)
    return found


def of_keys(subjects: Ids, keys: Vectors) -> U32s:
    """The checksum of each slot: of its subject, scale and key. It is compared for all that leaves."""
    layout = np.dtype([("subject", "<u8"), ("scale", "<f4"), ("key", "i1", (keys.dimension,))])
    rows = np.empty(len(subjects), layout)
    rows["subject"], rows["scale"], rows["key"] = subjects, keys.scales, keys.data
    return of_rows(rows.view(np.uint8).reshape(len(subjects), layout.itemsize))


def of_entries(ids: Ids, value_ids: Ids, checks: U32s) -> U32s:
    """The seal of each entry in a slot: of its id, its value id and its slot's checksum."""
    layout = np.dtype([("id", "<u8"), ("value", "<u8"), ("check", "<u4")])
    rows = np.empty(len(ids), layout)
    rows["id"], rows["value"], rows["check"] = ids, value_ids, checks
    return of_rows(rows.view(np.uint8).reshape(len(ids), layout.itemsize))


def of_values(ids: Ids, vectors: Vectors) -> U32s:
    """The checksum of each value: of its id, scale and vector."""
    layout = np.dtype([("id", "<u8"), ("scale", "<f4"), ("vector", "i1", (vectors.dimension,))])
    rows = np.empty(len(ids), layout)
    rows["id"], rows["scale"], rows["vector"] = ids, vectors.scales, vectors.data
    return of_rows(rows.view(np.uint8).reshape(len(ids), layout.itemsize))
