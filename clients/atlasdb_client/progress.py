"""What a long task shows while it runs: a bar on a terminal, a plain line every few seconds elsewhere.

`opened` chooses; everything goes to standard error, so that standard output is the answer alone.
"""

import os
import sys
import time
from types import TracebackType
from typing import Any, Protocol, TextIO

SECONDS_BETWEEN_LINES = 5.0


class Meter(Protocol):
    """Shows how far a task is. Use in a `with`."""

    def __enter__(self) -> "Meter":
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; a bar stays where it is."""

    def show(self, stage: str, done: int, total: int, count: int = 0, noun: str = "") -> None:
        """`done` of `total` (0: unknown) in a stage, and how many of `noun` that came to."""

    def say(self, sentence: str) -> None:
        """A sentence of its own, between the figures."""


def opened(unit: str = "", stream: TextIO | None = None) -> Meter:
    """The meter for where standard error goes; a terminal without size gets lines. `unit`: what is counted ("B")."""
    stream = stream or sys.stderr
    sized = stream.isatty() and os.get_terminal_size(stream.fileno()).lines > 0
    return Bar(unit, stream) if sized else Lines(stream)


class Silent:
    """Shows nothing."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def show(self, stage: str, done: int, total: int, count: int = 0, noun: str = "") -> None:
        """Nothing."""

    def say(self, sentence: str) -> None:
        """Nothing."""


class Lines:
    """A line every few seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._stage = ""
        self._began = self._due = time.monotonic()

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def show(self, stage: str, done: int, total: int, count: int = 0, noun: str = "") -> None:
        """A line, if it is time for one."""
        now = time.monotonic()
        if stage != self._stage:
            self._stage, self._began, self._due = stage, now, now + SECONDS_BETWEEN_LINES
        if now < self._due:
            return
        self._due = now + SECONDS_BETWEEN_LINES
        share = f" {100 * done / total:.0f}%" if total else f" {done:,}"
        rate = f", {count:,} {noun}, {count / (now - self._began):,.0f}/s" if noun else ""
        self.say(f"{stage}:{share}{rate}")

    def say(self, sentence: str) -> None:
        """A line."""
        print(sentence, file=self._stream, flush=True)


class Bar:
    """tqdm's bar; a new one for each stage."""

    def __init__(self, unit: str, stream: TextIO) -> None:
        self._unit = unit
        self._stream = stream
        self._stage = ""
        self._began = time.monotonic()
        self._bar: Any = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, stage: str, done: int, total: int, count: int = 0, noun: str = "") -> None:
        """Move the bar."""
        if self._bar is None or stage != self._stage:
            self._new(stage, total)
        if noun:
            rate = count / max(time.monotonic() - self._began, 1e-9)
            self._bar.set_postfix_str(f"{count:,} {noun}, {rate:,.0f}/s", refresh=False)
        self._bar.total = total or None
        self._bar.update(done - self._bar.n)

    def say(self, sentence: str) -> None:
        """A line above the bar."""
        if self._bar is None:
            print(sentence, file=self._stream, flush=True)
        else:
            self._bar.write(sentence, file=self._stream)

    def _new(self, stage: str, total: int) -> None:
        from tqdm import tqdm

        if self._bar is not None:
            self._bar.close()
        self._stage, self._began = stage, time.monotonic()
        self._bar = tqdm(
            desc=stage,
            total=total or None,
            file=self._stream,
            unit=self._unit,
            unit_scale=bool(self._unit),
            dynamic_ncols=True,
            bar_format="{desc}: {percentage:3.0f}%|{bar}| {n_fmt}/{total_fmt}{unit}{postfix} [{elapsed}<{remaining}]"
            if total
            else "{desc}: {n_fmt}{unit}{postfix} [{elapsed}]",
        )
