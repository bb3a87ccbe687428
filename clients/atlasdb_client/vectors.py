"""Key and value vectors beside the triples of a load: two files, row i of each for the i-th line that holds something.

| file | its rows |
|---|---|
| X.npy | of the array, floats or quantised (atlasdb_client/quantised.py) |
| X.safetensors, X.safetensors:NAME | of its only matrix of floats, or of the tensor NAME |
| X.parquet, X.parquet:COLUMN | of its only column of lists of floats, or of COLUMN |

A line that is bad has its row all the same, which is passed over, so that the others stay aligned.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from atlasdb_client.quantised import vectors_of
from atlasdb_contract import codec
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import Vectors

Rows = npt.NDArray[np.int64]
"""Rising positions in a file."""
Read = tuple[npt.NDArray[Any], dict[int, str]]
"""Floats (n, D), or quantised (n,), and what is wrong with those of the n that are no vector: NaN there."""

_NAMED = re.compile(r"(.*?\.(?:safetensors|parquet))(?::(.+))?", re.IGNORECASE | re.DOTALL)


class VectorFile(Protocol):
    """N vectors of D numbers, read where they lie."""

    @property
    def name(self) -> str:
        """As it was given."""

    def __len__(self) -> int:
        """N."""

    @property
    def dimension(self) -> int:
        """D."""

    def at(self, rows: Rows) -> Read:
        """Those at some positions. A file that is read in its order begins anew where they go back."""


@dataclass(frozen=True, slots=True)
class VectorFiles:
    """Keys and values, N vectors of D numbers each."""

    keys: VectorFile
    values: VectorFile

    @staticmethod
    def open(keys: Path | str, values: Path | str) -> "VectorFiles":
        """NotFound; FailedPrecondition where a file can't be read, or what it takes isn't installed; InvalidArgument
        where one holds no vectors, or the two do not fit."""
        both = _opened(str(keys)), _opened(str(values))
        shapes = [(len(file), file.dimension) for file in both]
        if shapes[0] != shapes[1]:
            raise InvalidArgument(
                f"{keys} holds {_shown(both[0])} and {values} {_shown(both[1])}; each triple needs a key and a value"
            )
        return VectorFiles(*both)

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def dimension(self) -> int:
        """D."""
        return self.keys.dimension

    def rows(self, wanted: Rows) -> tuple[Vectors, Vectors, dict[int, str]]:
        """Keys and values at rising positions, quantised, less those of which one is no vector.

        These are told as {place in `wanted`: file, row and what is wrong}.
        """
        if not len(wanted):
            none = Vectors(np.zeros((0, self.dimension), np.int8), np.zeros(0, np.float32))
            return none, none, {}
        (keys, of_keys), (values, of_values) = self.keys.at(wanted), self.values.at(wanted)
        try:
            return _quantised(keys), _quantised(values), {}
        except InvalidArgument:
            bad = _told(self.values, values, wanted, of_values) | _told(self.keys, keys, wanted, of_keys)
            good = np.delete(np.arange(len(wanted)), list(bad))
            return _quantised(keys[good]), _quantised(values[good]), bad


def _opened(given: str) -> VectorFile:
    if given.lower().endswith(".npy"):
        from atlasdb_client.mapped import npy

        return _sound(npy(given))
    if (named := _NAMED.fullmatch(given)) is None:
        raise InvalidArgument(f"{given} is no .npy, .safetensors or .parquet file; vectors are given in one of these")
    path, part = named[1], named[2] or ""
    if path.lower().endswith(".parquet"):
        from atlasdb_client.parquet import parquet

        return _sound(parquet(given, path, part))
    from atlasdb_client.mapped import safetensors

    return _sound(safetensors(given, path, part))


def _quantised(found: npt.NDArray[Any]) -> Vectors:
    """Floats (n, D), or rows that are quantised already. InvalidArgument where one is no vector."""
    if not found.dtype.names:
        return codec.quantise(found)
    if not np.isfinite(found["scale"]).all():
        raise InvalidArgument("a scale is a NaN or an infinity")
    return vectors_of(found)


def _sound(file: VectorFile) -> VectorFile:
    if not len(file) or not file.dimension:
        raise InvalidArgument(f"{file.name} holds {_shown(file)}: there is nothing to load")
    return file


def _shown(file: VectorFile) -> str:
    return f"{len(file):,} vectors of {file.dimension} numbers"


def _told(file: VectorFile, floats: npt.NDArray[Any], rows: Rows, faults: dict[int, str]) -> dict[int, str]:
    with np.errstate(over="ignore"):
        numbers = floats["scale"][:, None] if floats.dtype.names else np.asarray(floats, np.float32)
        finite = np.isfinite(numbers).all(axis=1)
    return {
        at: f"{file.name}: row {rows[at]} {faults.get(at, 'holds a NaN or an infinity')}"
        for at in np.flatnonzero(~finite).tolist()
    }
