"""CRC32C of many short buffers, against google_crc32c."""

import google_crc32c
import numpy as np
import pytest
from numba import njit

from atlasdb import crc

ONES = np.uint32(0xFFFFFFFF)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 20, 396, 404])
def test_checksums_are_those_of_the_standard(size: int) -> None:
    rows = np.random.default_rng(size).integers(0, 256, (5, size), np.uint8)
    wanted = [google_crc32c.value(row.tobytes()) for row in rows]
    assert crc.of_rows(rows).tolist() == wanted


def test_the_checksum_of_an_entry_is_that_of_its_numbers_and_texts_together() -> None:
    rng = np.random.default_rng(1)
    sizes = [0, 1, 40, 7, 300]
    texts, ends = rng.integers(0, 256, sum(sizes), np.uint8), np.cumsum(sizes)
    ids, value_ids = rng.integers(1, 1 << 63, (2, 5), np.uint64)
    items = rng.integers(1, 1 << 63, (5, 2), np.uint64)
    flags = rng.integers(0, 3, 5).astype(np.uint8)
    parts = zip(ids, value_ids, items, flags, np.split(texts, ends[:-1]), strict=True)
    wanted = [google_crc32c.value(b"".join(part.tobytes() for part in one)) for one in parts]
    assert crc.of_texts(ids, value_ids, items, flags, texts, ends).tolist() == wanted


def test_a_processor_without_the_instruction_finds_the_same() -> None:
    @njit
    def by_tables(data: np.ndarray) -> np.uint32:
        return np.uint32(~crc._by_tables(crc.TABLES, ONES, data))

    data = np.random.default_rng(0).integers(0, 256, 400, np.uint8)
    assert by_tables(data) == google_crc32c.value(data.tobytes())
