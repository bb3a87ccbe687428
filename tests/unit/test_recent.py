"""Counts of the last minutes: percentiles beside numpy's, windows that go by, threads that count at once."""

import threading
import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from atlasdb.store.recent import Amount, Counted, Latencies


@given(st.lists(st.integers(0, 1 << 39), min_size=1, max_size=200), st.sampled_from([0.0, 0.5, 0.9, 0.99, 1.0]))
def test_percentiles_are_right_to_an_eighth(times: list[int], share: float) -> None:
    latencies = Latencies()
    for one in times:
        latencies.note(one, time.perf_counter())
    wanted = float(np.quantile(times, share, method="inverted_cdf"))
    assert latencies.counted().quantile(share) == pytest.approx(wanted, rel=0.125, abs=1)


def test_what_was_counted_in_several_places_is_added_up() -> None:
    first, second = Latencies(), Latencies()
    for latencies, time_us in ((first, 100), (first, 100), (second, 9000)):
        latencies.note(time_us, time.perf_counter())
    joined = Counted.joined([first.counted(), second.counted()])
    assert joined.total == 3
    assert joined.quantile(0.5) == pytest.approx(100, rel=0.125)
    assert joined.quantile(0.99) == pytest.approx(9000, rel=0.125)
    assert (Counted.joined([]).total, Counted.joined([]).quantile(0.5), Counted.joined([]).per_second) == (0, 0, 0)


def test_what_is_long_ago_is_forgotten() -> None:
    latencies = Latencies()
    now = time.perf_counter()
    latencies.note(10, now - 1000)
    latencies.note(20, now)
    assert latencies.counted().total == 1
    amount = Amount()
    amount.add(7)
    assert amount.counted().total == 7
    for minute in range(1000):
        latencies.note(minute, now + 60 * minute)
    assert len(latencies._windows) <= 21


def test_threads_count_at_the_same_time_without_a_lock() -> None:
    latencies = Latencies()

    def count() -> None:
        for number in range(20_000):
            latencies.note(number, time.perf_counter())

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.99 * 80_000 <= latencies.counted().total <= 80_000
