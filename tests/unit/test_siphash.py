"""SipHash-128, against the vectors of its authors' reference implementation (key and messages 00 01 02 ...)."""

import numpy as np
import pytest

from atlasdb import siphash

SALT = (0x0706050403020100, 0x0F0E0D0C0B0A0908)
KNOWN = {
    0: "a3817f04ba25a8e66df67214c7550293",
    1: "da87c1d86b99af44347659119b22fc45",
    15: "5493e99933b0a8117e08ec0f97cfc3d9",
}


@pytest.mark.parametrize("size", KNOWN)
def test_hashes_are_those_of_the_reference(size: int) -> None:
    assert siphash.of_pieces([b"before", bytes(range(size)), b""], SALT)[1].tobytes().hex() == KNOWN[size]


def test_rows_pieces_and_spans_agree_and_salts_matter() -> None:
    rows = np.random.default_rng(0).integers(0, 256, (50, 37), np.uint8)
    of_rows = siphash.of_rows(rows, SALT)
    assert np.array_equal(of_rows, siphash.of_pieces([row.tobytes() for row in rows], SALT))
    assert len(np.unique(of_rows[:, 0])) == 50
    assert not (of_rows == siphash.of_rows(rows, (1, 2))).any()
