"""Key and value vectors beside the triples of a load: two `.npy` files, row i for the i-th line that holds something.

A line that is bad has its row all the same, which is passed over, so that the others stay aligned. Files are mapped,
not read whole.
"""

import tokenize
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from atlasdb_contract import codec
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.types import Vectors

FLOATS = ("float16", "float32", "float64")


@dataclass(frozen=True, slots=True)
class VectorFiles:
    """Keys and values, floats (N, D) each, where they lie."""

    keys: npt.NDArray[np.floating[Any]]
    values: npt.NDArray[np.floating[Any]]
    names: tuple[str, str]

    @staticmethod
    def open(keys: Path, values: Path) -> "VectorFiles":
        """NotFound, FailedPrecondition where a file can't be read, InvalidArgument where the two do not fit."""
        both = _mapped(keys), _mapped(values)
        if both[0].shape != both[1].shape:
            raise InvalidArgument(
                f"{keys} holds {_shape(both[0])} and {values} {_shape(both[1])}; each triple needs a key and a value"
            )
        return VectorFiles(*both, (str(keys), str(values)))

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.keys.shape[1])

    def rows(self, wanted: npt.NDArray[np.int64]) -> tuple[Vectors, Vectors]:
        """Keys and values at rising positions, quantised. InvalidArgument names a row with a NaN or an infinity."""
        return _quantised(self.keys, wanted, self.names[0]), _quantised(self.values, wanted, self.names[1])


def _mapped(path: Path) -> npt.NDArray[np.floating[Any]]:
    if path.suffix != ".npy":
        raise InvalidArgument(f"{path} is no .npy file; save vectors with numpy.save")
    try:
        array: npt.NDArray[Any] = np.load(path, mmap_mode="r")
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise FailedPrecondition(f"can't read {path}: {error.strerror or error}") from None
    except (ValueError, SyntaxError, tokenize.TokenError) as error:  # numpy reads the header as Python
        raise InvalidArgument(f"{path} is no array of numbers: {error}") from None
    if array.ndim != 2 or array.dtype.name not in FLOATS:
        raise InvalidArgument(f"{path} holds {array.dtype} {array.shape}; vectors are {', '.join(FLOATS)} (N, D)")
    return array


def _shape(array: npt.NDArray[Any]) -> str:
    return f"{len(array):,} vectors of {array.shape[1]} numbers"


def _quantised(array: npt.NDArray[np.floating[Any]], wanted: npt.NDArray[np.int64], name: str) -> Vectors:
    first, last = int(wanted[0]), int(wanted[-1])
    near = array[first : last + 1]
    rows = near if len(wanted) == len(near) else near[wanted - first]
    try:
        return codec.quantise(rows)
    except InvalidArgument:
        bad = int(np.argmin(np.isfinite(rows).all(axis=1)))
        raise InvalidArgument(f"{name}: row {wanted[bad]} holds a NaN or an infinity") from None
