"""What lets a damaged record be put right without anything else: parity of its chunks, in two interleaved classes.

    record      crc │ body ............................. copy │ odd │ even, or the other way round
    chunks      0       │   1   │   2   │  ...  │   n    │
                even    │  odd  │ even  │  ...

A chunk is as long as the parity of a class; it ends where a page of LMDB's file does, or a part of one: a long record
begins 16 bytes into its first page. `even` is the exclusive or of the chunks 0, 2, …, `odd` of the rest (the record's
first checksum, which covers parity too, counts as zeros). `copy` is the checksum of key and body. One damaged run no
longer than a chunk touches at most one chunk of each class: with every place tried, one is found where the checksum
fits again.
"""

from collections.abc import Iterator
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from google_crc32c import extend as extend_crc32c
from google_crc32c import value as crc32c

Bytes = npt.NDArray[np.uint8]

LEAD: Final = 16
"""Bytes before a long record on its first page."""
CHECK: Final = 4
LARGEST: Final = 4096
"""A chunk of a record from 36 of them on: a page."""
SMALLEST: Final = 16
"""A chunk of the shortest records, whatever it costs."""
SHARE: Final = 36
"""Chunks in the shortest record that has longer ones: parity, padding and all are at most a twelfth of that."""


def chunk(size: int) -> int:
    """How long the chunks are of a record whose body ends at `size`."""
    found = LARGEST
    while found > SMALLEST and size < SHARE * found:
        found >>= 1
    return found


def whole(size: int) -> int:
    """The length of the record whose body ends at `size`."""
    length = chunk(size)
    return _end(size, length) + 2 * length


def _end(size: int, length: int) -> int:
    """Where the chunks end."""
    return -(-(size + CHECK + LEAD) // length) * length - LEAD


def seal(key: bytes, record: bytearray, size: int) -> bytearray:
    """Fill in what is around the body that ends at `size`: checksum, copy and parity."""
    length = chunk(size)
    return _seal_chunks(key, record, _end(size, length), length)


def _seal_chunks(key: bytes, record: bytearray, end: int, length: int) -> bytearray:
    bytes_of = np.frombuffer(record, np.uint8)
    copy = _checked(key, bytes_of[CHECK : end - CHECK])
    record[end - CHECK : end] = copy.to_bytes(CHECK, "little")
    _fill(bytes_of, end, length, _parity(bytes_of, end, length))
    record[:CHECK] = extend_crc32c(copy, bytes_of[end - CHECK :]).to_bytes(CHECK, "little")
    return record


def _parity(record: Bytes, end: int, length: int) -> Bytes:
    """Where the parity of the even and of the odd chunks is: views of the record, uint8 (2, length). Behind the last
    chunk stands that of the other class: a run over its end leaves its own parity whole."""
    last = ((end + LEAD) // length - 1) & 1
    both = record[end:].reshape(2, length)
    return both[::-1] if last == 0 else both


def _fill(record: Bytes, end: int, length: int, out: Bytes) -> None:
    """The parity of the chunks where they lie, into `out` (2, length)."""
    first = length - LEAD
    whole = record[first:end].view(np.uint64).reshape(-1, length // 8)
    out[:] = 0
    out[0, LEAD + CHECK :] = record[CHECK:first]
    words = out.view(np.uint64)
    for chunks, into in ((whole[1::2], words[0]), (whole[::2], words[1])):
        into ^= np.bitwise_xor.reduce(chunks, axis=0)


def _checked(key: bytes, part: Bytes) -> int:
    return int(extend_crc32c(crc32c(key), part))


def _chunks(record: Bytes, end: int, length: int) -> Bytes:
    """The chunks of a record, copied: uint8 (n, length). What is before the record, and its checksum, are zeros."""
    padded = np.zeros(LEAD + end, np.uint8)
    padded[LEAD + CHECK :] = record[CHECK:end]
    return padded.reshape(-1, length)


def _classes(chunks: Bytes) -> tuple[Bytes, Bytes]:
    even, odd = np.bitwise_xor.reduce(chunks[::2], axis=0), np.bitwise_xor.reduce(chunks[1::2], axis=0)
    return even, odd


def restored(key: bytes, record: Any) -> bytes | None:
    """A damaged record as it was; None where that can't be found out. A sound one comes back as it is."""
    given = np.frombuffer(record, np.uint8)
    length = LARGEST
    while length >= SMALLEST:
        end = len(given) - 2 * length
        if (end + LEAD) % length == 0 and end >= length:
            for found in _candidates(key, given, end, length):
                return found
        length >>= 1
    return None


def _candidates(key: bytes, given: Bytes, end: int, length: int) -> Iterator[bytes]:
    chunks = _chunks(given, end, length)
    kept = _parity(given, end, length)
    wrong = [one ^ two for one, two in zip(_classes(chunks), kept, strict=True)]
    for fixed in _fixed(chunks, wrong):
        body = bytearray(CHECK) + fixed.tobytes()[LEAD + CHECK :]
        copy = int.from_bytes(body[-CHECK:], "little")
        if copy == _checked(key, np.frombuffer(body, np.uint8)[CHECK:-CHECK]):
            yield bytes(_seal_chunks(key, body + bytes(2 * length), end, length))


def _fixed(chunks: Bytes, wrong: list[Bytes]) -> Iterator[Bytes]:
    """The chunks as they are, and with every one and every two neighbours made to fit what parity says."""
    yield chunks
    for at in range(len(chunks)):
        chunks[at] ^= wrong[at & 1]
        yield chunks
        if at + 1 < len(chunks):
            chunks[at + 1] ^= wrong[~at & 1]
            yield chunks
            chunks[at + 1] ^= wrong[~at & 1]
        chunks[at] ^= wrong[at & 1]
