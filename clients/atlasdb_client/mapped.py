"""Vectors in a file that is mapped, not read: an array of `.npy`, a tensor of `.safetensors`."""

import json
import tokenize
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt

from atlasdb_client.quantised import is_quantised
from atlasdb_client.vectors import Read, Rows
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, NotFound

FLOATS = ("float16", "float32", "float64")
TENSORS: Mapping[str, np.dtype[Any]] = {
    "F16": np.dtype("<f2"),
    "BF16": np.dtype("<u2"),
    "F32": np.dtype("<f4"),
    "F64": np.dtype("<f8"),
}
"""Types of a safetensors file that are floats, as they lie there."""
HEADER_BYTES = 100_000_000
"""The longest header that the format allows."""
MALFORMED = (ValueError, SyntaxError, tokenize.TokenError, TypeError, ArithmeticError, RecursionError, MemoryError)
"""What numpy raises for a damaged header, which it reads as Python."""


@dataclass(frozen=True, slots=True)
class Mapped:
    """`array` of floats (N, D), or quantised (N,). `halves`: of bfloat16 as u16, the upper halves of float32."""

    name: str
    array: npt.NDArray[Any]
    halves: bool = False

    def __len__(self) -> int:
        return len(self.array)

    @property
    def dimension(self) -> int:
        """D."""
        return int(self.array.dtype["data"].shape[0] if self.array.dtype.names else self.array.shape[1])

    def at(self, rows: Rows) -> Read:
        """See VectorFile.at."""
        first, last = int(rows[0]), int(rows[-1])
        near = self.array[first : last + 1]
        found = near if len(rows) == len(near) else near[rows - first]
        return (found.astype(np.uint32) << 16).view(np.float32) if self.halves else found, {}


def npy(name: str) -> Mapped:
    """The array of a `.npy` file."""
    try:
        array: npt.NDArray[Any] = np.load(name, mmap_mode="r")
    except OSError as error:
        _unreadable(Path(name), error)
    except MALFORMED as error:
        raise InvalidArgument(f"{name} is no array of numbers: {error}") from None
    if not is_quantised(array) and (array.ndim != 2 or array.dtype.name not in FLOATS):
        raise InvalidArgument(f"{name} holds {array.dtype} {array.shape}; vectors are {', '.join(FLOATS)} (N, D)")
    return Mapped(name, array.view(np.ndarray))


def safetensors(name: str, path: str, tensor: str) -> Mapped:
    """A matrix of a `.safetensors` file; `tensor` "": the only one.

    The format: the header's length u64, a header in JSON that gives each tensor's type, shape and where its bytes begin
    and end, and then the bytes, row after row, all little-endian.
    """
    tensors, start = _header(Path(path))
    told = tensors[_chosen(path, tensors, tensor)]
    kind, shape = told["dtype"], tuple(told["shape"])
    if not _is_matrix(told):
        raise InvalidArgument(f"{name} holds {kind} {shape}; vectors are {', '.join(TENSORS)} (N, D)")
    begin, end = told["data_offsets"]
    size = shape[0] * shape[1] * TENSORS[kind].itemsize
    if not 0 <= begin <= end <= Path(path).stat().st_size - start or end - begin != size:
        raise InvalidArgument(f"{path} is cut short or damaged: its bytes {begin} to {end} are no {kind} {shape}")
    array = np.memmap(path, TENSORS[kind], "r", start + begin, shape) if size else np.zeros(shape, TENSORS[kind])
    return Mapped(name, array.view(np.ndarray), kind == "BF16")


def _header(path: Path) -> tuple[Mapping[str, Mapping[str, Any]], int]:
    """What is said of each tensor, and where the bytes begin."""
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if length > min(HEADER_BYTES, path.stat().st_size - 8):
                raise InvalidArgument(f"{path} is no safetensors file: it would have a header of {length} bytes")
            tensors = json.loads(file.read(length))
    except OSError as error:
        _unreadable(path, error)
    except (ValueError, RecursionError) as error:
        raise InvalidArgument(f"{path} is no safetensors file: its header is no JSON ({error})") from None
    if isinstance(tensors, dict):
        tensors.pop("__metadata__", None)
    if not isinstance(tensors, dict) or not all(map(_is_tensor, tensors.values())):
        raise InvalidArgument(f"{path} is no safetensors file: its header does not describe tensors")
    return tensors, 8 + length


def _is_tensor(told: Any) -> bool:
    """Has a header's entry the type, the shape and the place of a tensor?"""
    if not isinstance(told, dict) or not isinstance(told.get("dtype"), str):
        return False
    numbers = [told.get("shape"), told.get("data_offsets")]
    whole = all(isinstance(one, list) and all(type(n) is int and n >= 0 for n in one) for one in numbers)
    return whole and len(told["data_offsets"]) == 2


def _is_matrix(told: Mapping[str, Any]) -> bool:
    return told["dtype"] in TENSORS and len(told["shape"]) == 2


def _chosen(path: str, tensors: Mapping[str, Mapping[str, Any]], wanted: str) -> str:
    """The tensor that is wanted, or the only one that can be."""
    matrices = [name for name, told in tensors.items() if _is_matrix(told)]
    if wanted in tensors:
        return wanted
    known = f"it has {', '.join(sorted(matrices))}" if matrices else "it has none"
    if wanted:
        raise InvalidArgument(f"{path} has no tensor {wanted}; of matrices of floats {known}")
    if len(matrices) != 1:
        raise InvalidArgument(f"{path} must have one matrix of floats, or name one as {path}:NAME; {known}")
    return matrices[0]


def _unreadable(path: Path, error: OSError) -> NoReturn:
    if isinstance(error, FileNotFoundError):
        raise NotFound(f"there is no file {path}") from None
    raise FailedPrecondition(f"can't read {path}: {error.strerror or error}") from None
