"""Vectors in a parquet file: a column of lists of floats, read batch after batch, never as a whole."""

from collections.abc import Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from atlasdb_client.vectors import Read, Rows
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.types import Floats

BATCH = 8192
"""Rows in memory at a time."""


class Column:
    """A column of N lists of D floats.

    A batch of rows is in memory, `_floats` (n, D) from the row `_first` on, where a list that is no vector is NaN, its
    number of floats being in `_lengths` (n,), -1: it is null. Batches follow one another in a row group.
    """

    def __init__(self, name: str, file: Any, column: str, dimension: int) -> None:
        self.name = name
        self.dimension = dimension
        self._file = file
        self._column = column
        groups = [file.metadata.row_group(i).num_rows for i in range(file.metadata.num_row_groups)]
        self._starts = np.array([0, *accumulate(groups)], np.int64)
        self._batches: Iterator[Any] = iter(())
        self._group = -1
        self._first = 0
        self._lengths: npt.NDArray[np.int64] = np.zeros(0, np.int64)
        self._floats: Floats = np.zeros((0, dimension), np.float32)

    def __len__(self) -> int:
        return int(self._starts[-1])

    def at(self, rows: Rows) -> Read:
        """See VectorFile.at."""
        found = np.empty((len(rows), self.dimension), np.float32)
        faults, done = {}, 0
        while done < len(rows):
            self._go_to(int(rows[done]))
            stop = int(np.searchsorted(rows, self._first + len(self._floats)))
            here = rows[done:stop] - self._first
            found[done:stop] = self._floats[here]
            for at in np.flatnonzero(self._lengths[here] != self.dimension).tolist():
                length = int(self._lengths[here[at]])
                faults[done + at] = "is null" if length < 0 else f"has {length} numbers, not {self.dimension}"
            done = stop
        return found, faults

    def _go_to(self, row: int) -> None:
        """Have the batch in memory that holds `row`."""
        group = int(np.searchsorted(self._starts, row, side="right")) - 1
        if group != self._group or row < self._first:
            self._take_group(group)
        while row >= self._first + len(self._floats):
            self._next()

    def _take_group(self, group: int) -> None:
        """Begin a row group."""
        self._batches = _batches(self.name, self._file, self._column, [group])
        self._group, self._first = group, int(self._starts[group])
        self._floats, self._lengths = self._floats[:0], self._lengths[:0]

    def _next(self) -> None:
        """The next batch of the row group."""
        self._first += len(self._floats)
        lists = next(self._batches, None)
        if lists is None:
            raise InvalidArgument(f"{self.name} is damaged: row {self._first} is missing")
        self._lengths = _lengths(lists)
        self._floats = _floats(lists, self._lengths == self.dimension, self.dimension)


def _batches(name: str, file: Any, column: str, groups: Sequence[int]) -> Iterator[Any]:
    """A column's lists, some at a time."""
    import pyarrow as pa

    try:
        for batch in file.iter_batches(BATCH, groups, [column], use_threads=False):
            yield batch.column(column)
    except (pa.ArrowException, OSError) as error:
        raise InvalidArgument(f"{name} is damaged: {error}") from None


def _lengths(lists: Any) -> npt.NDArray[np.int64]:
    """Of each list; -1: it is null."""
    from pyarrow import compute

    lengths: npt.NDArray[np.int64] = compute.fill_null(compute.list_value_length(lists), -1).to_numpy().astype(np.int64)
    return lengths


def _floats(lists: Any, good: npt.NDArray[np.bool_], dimension: int) -> Floats:
    """Of each list float32 (n, D); NaN for those that are not `good`."""
    import pyarrow as pa

    found = np.full((len(lists), dimension), np.nan, np.float32)
    flat = (lists if good.all() else lists.filter(pa.array(good))).flatten().to_numpy(zero_copy_only=False)
    with np.errstate(over="ignore"):
        found[good] = flat.reshape(-1, dimension)
    return found


def parquet(name: str, path: str, column: str) -> Column:
    """A column of a parquet file; "": the only one of lists of floats. FailedPrecondition where pyarrow is missing."""
    if not Path(path).exists():
        raise NotFound(f"there is no file {path}")
    try:
        import pyarrow as pa
        from pyarrow.parquet import ParquetFile
    except ModuleNotFoundError:
        raise FailedPrecondition(f"reading {path} needs pyarrow: pip install 'atlasdb[parquet]'") from None
    try:
        file = ParquetFile(path, memory_map=True)
        kinds = {field.name: field.type for field in file.schema_arrow}
    except OSError as error:
        raise FailedPrecondition(f"can't read {path}: {error.strerror or error}") from None
    except pa.ArrowException as error:
        raise InvalidArgument(f"{path} is no parquet file: {error}") from None
    chosen = _chosen(path, kinds, column)
    return Column(name, file, chosen, _dimension(name, file, chosen, kinds[chosen]))


def _dimension(name: str, file: Any, column: str, kind: Any) -> int:
    """That of every list, or of the first that is there; 0: of none."""
    from pyarrow import types

    if types.is_fixed_size_list(kind):
        return int(kind.list_size)
    lengths = map(_lengths, _batches(name, file, column, range(file.metadata.num_row_groups)))
    return next((int(some[some >= 0][0]) for some in lengths if (some >= 0).any()), 0)


def _chosen(path: str, kinds: dict[str, Any], wanted: str) -> str:
    """The column that is wanted, or the only one that can be."""
    fitting = [name for name, kind in kinds.items() if _is_vectors(kind)]
    if wanted in fitting or (not wanted and len(fitting) == 1):
        return wanted or fitting[0]
    known = f"it has {', '.join(sorted(fitting))}" if fitting else "it has none"
    if wanted in kinds:
        raise InvalidArgument(f"the column {wanted} of {path} is of {kinds[wanted]}, not of lists of floats; {known}")
    if wanted:
        raise InvalidArgument(f"{path} has no column {wanted}; of columns of lists of floats {known}")
    raise InvalidArgument(f"{path} must have one column of lists of floats, or name one as {path}:COLUMN; {known}")


def _is_vectors(kind: Any) -> bool:
    from pyarrow import types

    lists = types.is_list(kind) or types.is_large_list(kind) or types.is_fixed_size_list(kind)
    return bool(lists and types.is_floating(kind.value_type))
