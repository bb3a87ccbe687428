"""What a long task shows: a bar on a terminal, lines elsewhere."""

import fcntl
import io
import os
import pty
import re
import select
import struct
import termios
from collections.abc import Iterator
from typing import TextIO

import pytest

from atlasdb_client import progress


@pytest.fixture
def terminal() -> Iterator[tuple[TextIO, int]]:
    """A terminal of 24 lines of 100 columns, and the other end of it."""
    outer, inner = pty.openpty()
    fcntl.ioctl(inner, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    with os.fdopen(inner, "w") as stream:
        yield stream, outer
    os.close(outer)


def test_a_terminal_gets_a_bar_with_bytes_and_triples_a_second(terminal: tuple[TextIO, int]) -> None:
    stream, outer = terminal
    with progress.opened("B", stream) as meter:
        meter.show("loading facts", 0, 4_000_000)
        meter.say("a sentence between")
        meter.show("loading facts", 4_000_000, 4_000_000, 120_000, "triples", 312_000_000)
    shown = ""
    while "triples" not in shown and select.select([outer], [], [], 5)[0]:
        shown += os.read(outer, 1 << 16).decode()
    assert "a sentence between" in shown
    assert re.search(r"4\.00M/4\.00MB, 120,000 triples, [\d,]+/s, server 312 MB \[\d\d:\d\d<00:00\]", shown)


def test_elsewhere_there_is_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    with progress.opened("B", stream) as meter:
        meter.show("loading facts", 1, 4, 10, "triples")
        meter.show("loading facts", 2, 4, 10, "triples")
        assert stream.getvalue() == ""
        monkeypatch.setattr(progress, "SECONDS_BETWEEN_LINES", 0.0)
        meter.show("building facts", 3, 4)
        meter.show("counting", 7, 0)
        meter.say("a sentence")
    assert stream.getvalue().splitlines() == ["building facts: 75%", "counting: 7", "a sentence"]


def test_a_line_has_share_count_pace_what_is_left_and_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.StringIO()
    clock = iter((100.0, 104.9, 110.0, 120.0, 200.0))
    monkeypatch.setattr(progress.time, "monotonic", lambda: next(clock))
    with progress.opened("B", stream) as meter:
        for done, count in ((100, 8_000), (150, 500_000), (300, 1_234_567)):
            meter.show("loading facts", done, 1000, count, "triples", 312_000_000)
        for done in (0, 40):
            meter.show("building facts: read", done, 7240, memory=1_500_000_000)
    assert stream.getvalue().splitlines() == [
        "loading facts: 30%, 1,234,567 triples, 122,657/s, 0:35 left, server 312 MB",
        "building facts: read: 1%, 0.5/s, 4:00:00 left, server 1.5 GB",
    ]


def test_a_terminal_without_a_size_gets_lines(terminal: tuple[TextIO, int]) -> None:
    stream, _ = terminal
    fcntl.ioctl(stream.fileno(), termios.TIOCSWINSZ, struct.pack("HHHH", 0, 0, 0, 0))
    assert isinstance(progress.opened("B", stream), progress.Lines)
