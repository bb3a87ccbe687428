"""Vectors in a `.npy` file as the store holds them: of each a scale, float32, and D int8. It is their product.

What a load reads from such a file is stored to the bit; floats may come out a rounding apart.
"""

from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

from atlasdb_contract.types import Vectors

HEADER_BYTES = 256
"""Room for the header, which is written last, as it says how many rows there are."""
_MAGIC = b"\x93NUMPY\x01\x00"


def layout(dimension: int) -> np.dtype[Any]:
    """Of a row."""
    return np.dtype([("scale", "<f4"), ("data", "i1", (dimension,))])


def is_quantised(array: npt.NDArray[Any]) -> bool:
    """Whether an array has such rows."""
    kind = array.dtype
    return array.ndim == 1 and kind.names == ("scale", "data") and kind == layout(kind["data"].shape[0])


def vectors_of(rows: npt.NDArray[Any]) -> Vectors:
    """Rows as vectors, copied."""
    return Vectors(np.ascontiguousarray(rows["data"]), np.ascontiguousarray(rows["scale"]))


class QuantisedFile:
    """A file in the making; it takes its name when it is complete. Use in a `with`."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._file: BinaryIO = self._part.open("wb")
        self._file.write(bytes(HEADER_BYTES))
        self._count = self._dimension = 0

    def add(self, vectors: Vectors) -> None:
        """More rows."""
        self._dimension = vectors.dimension
        rows = np.empty(len(vectors), layout(self._dimension))
        rows["scale"], rows["data"] = vectors.scales, vectors.data
        self._file.write(rows.tobytes())
        self._count += len(rows)

    def __enter__(self) -> "QuantisedFile":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Complete it; after an error, remove it."""
        with self._file:
            if kind is None:
                told = {"descr": layout(self._dimension).descr, "fortran_order": False, "shape": (self._count,)}
                head = _MAGIC + (HEADER_BYTES - 10).to_bytes(2, "little") + repr(told).encode()
                self._file.seek(0)
                self._file.write(head.ljust(HEADER_BYTES - 1) + b"\n")
        if kind is None:
            self._part.replace(self._path)
        self._part.unlink(missing_ok=True)
