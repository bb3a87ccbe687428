"""Bytes and times as people say them, on either side of the wire."""

import pytest

from atlasdb_contract import quantities


@pytest.mark.parametrize(
    ("count", "said"),
    [
        (0, "0 B"), (999, "999 B"), (999.6, "1.0 kB"), (1000, "1.0 kB"), (1_500_000, "1.5 MB"), (99.6e6, "100 MB"),
        (316_000_000, "316 MB"), (10**12, "1.0 TB"), (1.2345e15, "1,234.5 TB"),
    ],
)  # fmt: skip
def test_sizes_read_well(count: float, said: str) -> None:
    assert quantities.size(count) == said


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"), (0.0004, "0 s"), (0.42, "0.42 s"), (2.74, "2.7 s"), (13.4, "13 s"), (59.4, "59 s"),
        (59.7, "1 min 0 s"), (200, "3 min 20 s"), (3599.7, "1 h 0 min"), (7500, "2 h 5 min"), (273_600, "3 d 4 h"),
    ],
)  # fmt: skip
def test_durations_read_well(seconds: float, said: str) -> None:
    assert quantities.duration(seconds) == said


@pytest.mark.parametrize(
    ("count", "said"),
    [(0, "0 µs"), (250, "250 µs"), (999.6, "1 ms"), (2500, "2.5 ms"), (1_200_000, "1.2 s"), (2e8, "3 min 20 s")],
)
def test_microseconds_read_well(count: float, said: str) -> None:
    assert quantities.microseconds(count) == said


@pytest.mark.parametrize(("seconds", "said"), [(35, "0:35"), (723, "12:03"), (7500, "2:05:00")])
def test_clocks_read_well(seconds: float, said: str) -> None:
    assert quantities.clock(seconds) == said
