"""Files of vectors: the same rows from every kind, and what is said of those that hold none."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from atlasdb_client import parquet
from atlasdb_client.vectors import VectorFiles
from atlasdb_contract import codec
from atlasdb_contract.errors import AtlasError, FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.types import Floats

N, D = 500, 12
DRAWN = np.random.default_rng(0).standard_normal((N, D)).astype(np.float32)


def npy(path: Path, floats: Any) -> str:
    np.save(path.with_suffix(".npy"), floats)
    return str(path.with_suffix(".npy"))


def tensors(path: Path, **named: torch.Tensor) -> str:
    save_file(named, path.with_suffix(".safetensors"), {"made": "by a test"})
    return str(path.with_suffix(".safetensors"))


def column(floats: Any, kind: pa.DataType | None = None) -> pa.Array:
    kind = kind or pa.float32()
    flat = pa.array(np.asarray(floats).astype(kind.to_pandas_dtype()).ravel(), kind)
    return pa.FixedSizeListArray.from_arrays(flat, floats.shape[1])


def table(path: Path, group: int = 1 << 20, **columns: Any) -> str:
    pq.write_table(pa.table(columns), path.with_suffix(".parquet"), row_group_size=group)
    return str(path.with_suffix(".parquet"))


KINDS: dict[str, Callable[[Path, Floats], str]] = {
    "npy": npy,
    "npy, columns first": lambda path, floats: npy(path, np.asfortranarray(floats)),
    "npy, f16": lambda path, floats: npy(path, floats.astype(np.float16)),
    "f16": lambda path, floats: tensors(path, some=torch.from_numpy(floats).half()),
    "bf16": lambda path, floats: tensors(path, odd=torch.zeros(3).char(), some=torch.from_numpy(floats).bfloat16()),
    "f32": lambda path, floats: tensors(path, some=torch.from_numpy(floats)),
    "f64": lambda path, floats: tensors(path, some=torch.from_numpy(floats).double()),
    "fixed lists": lambda path, floats: table(path, 130, number=range(len(floats)), some=column(floats)),
    "lists of f64": lambda path, floats: table(path, 64, some=pa.array(floats.astype(np.float64).tolist())),
    "fixed lists of f16": lambda path, floats: table(path, some=column(floats, pa.float16())),
    "large lists": lambda path, floats: table(path, some=pa.array(floats.tolist(), pa.large_list(pa.float32()))),
}
PRECISION = {"bf16": 2**-8, "f16": 2**-11, "npy, f16": 2**-11, "fixed lists of f16": 2**-11}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_gives_its_rows_at_rising_positions_and_again(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parquet, "BATCH", 50)
    both = VectorFiles.open(KINDS[kind](tmp_path / "keys", DRAWN), KINDS[kind](tmp_path / "values", -DRAWN))
    assert (len(both), both.dimension) == (N, D)
    rng = np.random.default_rng(1)
    asked = [np.arange(0, 49), np.arange(49, 400), np.array([401, 480, 499]), np.arange(300, 310), np.arange(N)]
    for wanted in [*asked, np.array([0]), np.sort(rng.permutation(N)[:70])]:
        (keys, faults), (values, _) = both.keys.at(wanted), both.values.at(wanted)
        assert not faults
        np.testing.assert_allclose(keys, DRAWN[wanted], rtol=PRECISION.get(kind, 0), atol=1e-7)
        np.testing.assert_array_equal(keys, -values)
        of_keys, of_values, bad = both.rows(wanted)
        assert not bad
        np.testing.assert_array_equal(of_keys.data, codec.quantise(keys).data)
        np.testing.assert_array_equal(of_values.scales, codec.quantise(values).scales)


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    rows=st.lists(st.lists(st.floats(width=32, allow_nan=False), min_size=3, max_size=3), min_size=1, max_size=40),
    group=st.integers(1, 50),
    batch=st.integers(1, 20),
    data=st.data(),
)
def test_parquet_gives_what_was_written_however_it_is_cut(
    rows: list[list[float]], group: int, batch: int, data: st.DataObject, tmp_path: Path
) -> None:
    floats = np.array(rows, np.float32)
    name = table(tmp_path / "drawn", group, keys=column(floats), values=pa.array(rows, pa.list_(pa.float32())))
    before, parquet.BATCH = parquet.BATCH, batch
    try:
        both = VectorFiles.open(f"{name}:keys", f"{name}:values")
        for _ in range(3):
            wanted = np.array(sorted(data.draw(st.sets(st.integers(0, len(rows) - 1), min_size=1))))
            for file in (both.keys, both.values):
                np.testing.assert_array_equal(file.at(wanted)[0], floats[wanted])
    finally:
        parquet.BATCH = before


def test_rows_that_hold_no_vector_are_told_and_the_others_given(tmp_path: Path) -> None:
    keys: list[Any] = DRAWN[:9].tolist()
    keys[2][1], keys[4], keys[5], keys[8] = None, None, [1.0, 2.0], [float("inf")] * D
    values = DRAWN[:9].astype(np.float64)
    values[4, 0], values[7, 3] = np.nan, 1e300
    both = VectorFiles.open(table(tmp_path / "k", keys=keys), npy(tmp_path / "v", values))
    of_keys, of_values, bad = both.rows(np.arange(1, 9))
    assert len(of_keys) == len(of_values) == 3
    np.testing.assert_array_equal(of_keys.data, codec.quantise(DRAWN[[1, 3, 6]]).data)
    np.testing.assert_array_equal(of_values.data, codec.quantise(DRAWN[[1, 3, 6]]).data)
    k, v = (f"{tmp_path}/{name}: row" for name in ("k.parquet", "v.npy"))
    assert bad == {
        1: f"{k} 2 holds a NaN or an infinity",
        3: f"{k} 4 is null",
        4: f"{k} 5 has 2 numbers, not {D}",
        6: f"{v} 7 holds a NaN or an infinity",
        7: f"{k} 8 holds a NaN or an infinity",
    }


def test_a_matrix_or_a_column_is_named_where_there_are_several(tmp_path: Path) -> None:
    floats = torch.from_numpy(DRAWN)
    two = tensors(tmp_path / "two", **{"a/keys": floats, "values": -floats, "bias": torch.zeros(3)})
    other = table(tmp_path / "other", keys=column(DRAWN), values=column(-DRAWN), name=["x"] * N)
    for named in (f"{two}:a/keys", f"{two}:values"), (f"{other}:keys", f"{other}:values"):
        keys, values, _ = VectorFiles.open(*named).rows(np.arange(N))
        np.testing.assert_array_equal(keys.data, codec.quantise(DRAWN).data)
        np.testing.assert_array_equal(values.data, -keys.data)
    for wrong, told in (
        (two, "must have one matrix of floats, or name one as .*two.safetensors:NAME; it has a/keys, values"),
        (f"{two}:nothing", "has no tensor nothing; of matrices of floats it has a/keys, values"),
        (f"{two}:bias", r"two.safetensors:bias holds F32 \(3,\); vectors are F16, BF16, F32, F64 \(N, D\)"),
        (other, "must have one column of lists of floats, or name one as .*other.parquet:COLUMN; it has keys, values"),
        (f"{other}:nothing", "has no column nothing; of columns of lists of floats it has keys, values"),
        (f"{other}:name", "the column name of .* is of string, not of lists of floats"),
    ):
        with pytest.raises(InvalidArgument, match=told):
            VectorFiles.open(wrong, wrong)


def header(path: Path, told: object, rest: bytes = b"") -> str:
    text = told if isinstance(told, bytes) else json.dumps(told).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + rest)
    return str(path)


def test_damaged_and_unfit_files_are_refused_by_name(tmp_path: Path) -> None:
    cut = tensors(tmp_path / "cut", some=torch.from_numpy(DRAWN))
    Path(cut).write_bytes(Path(cut).read_bytes()[:-100])
    short = table(tmp_path / "short", some=column(DRAWN))
    Path(short).write_bytes(Path(short).read_bytes()[:-100])
    (tmp_path / "empty.safetensors").touch()
    (tmp_path / "folder.parquet").mkdir()
    matrix = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    wrong: list[tuple[str, type[AtlasError], str]] = [
        (cut, InvalidArgument, "cut short or damaged"),
        (header(tmp_path / "a.safetensors", b"no json"), InvalidArgument, "its header is no JSON"),
        (header(tmp_path / "b.safetensors", [1]), InvalidArgument, "does not describe tensors"),
        (header(tmp_path / "c.safetensors", {"x": {"dtype": "F32"}}), InvalidArgument, "does not describe tensors"),
        (header(tmp_path / "d.safetensors", {"x": matrix}, b"7"), InvalidArgument, "cut short or damaged"),
        (
            header(tmp_path / "e.safetensors", {"x": matrix | {"data_offsets": [0, 8]}}, bytes(16)),
            InvalidArgument,
            "bytes 0 to 8 are no F32",
        ),
        (
            header(tmp_path / "f.safetensors", {"x": matrix | {"shape": [0, 2], "data_offsets": [0, 0]}}),
            InvalidArgument,
            "0 vectors of 2 numbers: there is nothing to load",
        ),
        (str(tmp_path / "empty.safetensors"), InvalidArgument, "is no safetensors file"),
        (str(tmp_path / "none.safetensors:x"), NotFound, "there is no file .*none.safetensors"),
        (short, InvalidArgument, "is no parquet file"),
        (str(tmp_path / "none.parquet"), NotFound, "there is no file"),
        (str(tmp_path / "folder.parquet"), FailedPrecondition, "can't read"),
        (table(tmp_path / "nulls", x=pa.nulls(3, pa.list_(pa.float32()))), InvalidArgument, "nothing to load"),
        (str(tmp_path / "keys.bin"), InvalidArgument, r"is no \.npy, \.safetensors or \.parquet file"),
    ]
    for name, kind, told in wrong:
        with pytest.raises(kind, match=told):
            VectorFiles.open(name, name)


@pytest.mark.parametrize(
    "header",
    [
        "{b'descr': '<f4', 'fortran_order': False, 'shape': (2, 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (1 << 99, 2)}",
        "{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999, 2)}",
        "{'descr': 7, 'fortran_order': False, 'shape': (2, 2)}",
        "(" * 300,
        "7",
    ],
)
def test_a_damaged_header_of_numpy_is_refused(tmp_path: Path, header: str) -> None:
    told = header.ljust(400).encode() + b"\n"
    (tmp_path / "x.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(told).to_bytes(2, "little") + told + bytes(16))
    with pytest.raises(InvalidArgument, match=r"is no array of numbers"):
        VectorFiles.open(str(tmp_path / "x.npy"), str(tmp_path / "x.npy"))


def test_without_pyarrow_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = table(tmp_path / "some", some=column(DRAWN))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.delitem(sys.modules, "pyarrow.parquet")
    with pytest.raises(FailedPrecondition, match=r"pip install 'atlasdb\[parquet\]'"):
        VectorFiles.open(name, name)


def test_little_of_a_file_is_in_memory(tmp_path: Path) -> None:
    """Of 128 MB in one row group."""
    count = 1 << 18
    keys = table(tmp_path / "big", some=column(np.zeros((count, 128), np.float32)))
    both = VectorFiles.open(keys, keys)
    start = pa.total_allocated_bytes()
    most = 0
    for first in range(0, count, 4096):
        both.rows(np.arange(first, first + 4096))
        most = max(most, pa.total_allocated_bytes() - start)
    assert most < 48 << 20
