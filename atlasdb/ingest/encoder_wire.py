"""What an encoder and its worker processes say to each other, over a socket pair.

    frame     u32 size of what follows | u8 kind | u32 chunk | payload           (little-endian)

    TEXTS     to the worker    u8 urgent | u32 N | N x u32 bytes of each text | the texts in UTF-8
    READY     from the worker  dtype's name in UTF-8; sent once, when the weights are loaded
    VECTORS   from the worker  f64 busy seconds | u32 N | N x D float32
    FAILURE   from the worker  what went wrong in UTF-8; the worker itself lives on

A closed socket means that the other side is gone, and is the only way to stop a worker.
"""

import struct
from collections.abc import Sequence
from enum import IntEnum
from itertools import pairwise
from typing import Final, NamedTuple

import numpy as np
import numpy.typing as npt

SIZE: Final = struct.Struct("<I")
_HEAD: Final = struct.Struct("<BI")
_TEXTS: Final = struct.Struct("<BI")
_VECTORS: Final = struct.Struct("<dI")

Floats = npt.NDArray[np.float32]


class Kind(IntEnum):
    """What a frame holds."""

    TEXTS = 1
    READY = 2
    VECTORS = 3
    FAILURE = 4


class Frame(NamedTuple):
    """One message: its kind, the chunk that it is about (0 for READY), and its payload."""

    kind: Kind
    chunk: int
    payload: memoryview


def frame(kind: Kind, chunk: int, *payload: bytes) -> bytes:
    """A whole frame, its size in front."""
    body = b"".join((_HEAD.pack(kind, chunk), *payload))
    return SIZE.pack(len(body)) + body


def parse(body: bytes) -> Frame:
    """The frame of a body, that is of what follows the size."""
    kind, chunk = _HEAD.unpack_from(body)
    return Frame(Kind(kind), chunk, memoryview(body)[_HEAD.size :])


def pack_texts(chunk: int, texts: Sequence[str], *, urgent: bool) -> bytes:
    """A TEXTS frame. Lone surrogates, which UTF-8 has no bytes for, become "?"."""
    encoded = [text.encode("utf-8", errors="replace") for text in texts]
    lengths = np.fromiter(map(len, encoded), dtype="<u4", count=len(encoded))
    return frame(Kind.TEXTS, chunk, _TEXTS.pack(urgent, len(encoded)), lengths.tobytes(), *encoded)


def unpack_texts(payload: memoryview) -> tuple[bool, list[str]]:
    """Whether the texts are urgent, and the texts."""
    urgent, count = _TEXTS.unpack_from(payload)
    start = _TEXTS.size + 4 * count
    ends = start + np.cumsum(np.frombuffer(payload, dtype="<u4", count=count, offset=_TEXTS.size), dtype=np.int64)
    bounds = [start, *ends.tolist()]
    return bool(urgent), [str(payload[a:b], "utf-8") for a, b in pairwise(bounds)]


def pack_vectors(chunk: int, vectors: Floats, busy: float) -> bytes:
    """A VECTORS frame: `vectors` is float32 (N, D); `busy` is the seconds spent on them."""
    return frame(Kind.VECTORS, chunk, _VECTORS.pack(busy, len(vectors)), vectors.astype("<f4", copy=False).tobytes())


def unpack_vectors(payload: memoryview) -> tuple[float, Floats]:
    """Busy seconds and the vectors: float32 (N, D), a view of the payload."""
    busy, count = _VECTORS.unpack_from(payload)
    return busy, np.frombuffer(payload, dtype="<f4", offset=_VECTORS.size).reshape(count, -1)
