"""What a long task shows while it runs: a bar on a terminal, a plain line every few seconds elsewhere.

`opened` chooses; everything goes to standard error, so that standard output is the answer alone.
"""

import os
import sys
import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Protocol, TextIO

from atlasdb_contract.quantities import clock, size

SECONDS_BETWEEN_LINES = 5.0


class Meter(Protocol):
    """Shows how far a task is. Use in a `with`."""

    def __enter__(self) -> "Meter":
        """Begin."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End; a bar stays where it is."""

    def show(self, stage: str, done: int, total: int, count: int = 0, noun: str = "", memory: int = 0) -> None:
        """`done` of `total` (0: unknown) in a stage, how many of `noun` that is, and bytes of the server's memory."""

    def say(self, sentence: str) -> None:
        """A sentence of its own, between the figures."""


def opened(unit: str = "", stream: TextIO | None = None) -> Meter:
    """The meter for where standard error goes; a terminal without size gets lines. `unit`: what is counted ("B")."""
    stream = stream or sys.stderr
    sized = stream.isatty() and os.get_terminal_size(stream.fileno()).lines > 0
    return Bar(unit, stream) if sized else Lines(stream)


@dataclass(frozen=True, slots=True)
class _Pace:
    """How fast a stage goes, from what was done and counted when it was first shown."""

    stage: str
    done: int
    count: int
    began: float

    def counted(self, done: int, count: int, noun: str, now: float) -> list[str]:
        """What was counted, and how many a second; without a noun, of what is done."""
        told = [f"{count:,} {noun}"] if noun else []
        more = count - self.count if noun else done - self.done
        if not more or now <= self.began:
            return told
        pace = more / (now - self.began)
        return [*told, f"{pace:,.0f}/s" if pace >= 10 else f"{pace:.1f}/s"]

    def left(self, done: int, total: int, now: float) -> list[str]:
        """The time that is left, as far as the pace so far tells."""
        more = done - self.done
        return [f"{clock((total - done) * (now - self.began) / more)} left"] if total and more > 0 else []


def _held(memory: int) -> list[str]:
    return [f"server {size(memory)}"] if memory else []


class Silent:
    """Shows nothing."""

    def __enter__(self) -> "Silent":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def show(self, stage: str, done: int, total: int, count: int = 0, noun: str = "", memory: int = 0) -> None:
        """Nothing."""

    def say(self, sentence: str) -> None:
        """Nothing."""


class Lines:
    """A line every few seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._pace: _Pace | None = None
        self._due = 0.0

    def __enter__(self) -> "Lines":
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""

    def show(self, stage: str, done: int, total: int, count: int = 0, noun: str = "", memory: int = 0) -> None:
        """A line, if it is time for one."""
        now = time.monotonic()
        if self._pace is None or stage != self._pace.stage:
            self._pace, self._due = _Pace(stage, done, count, now), now + SECONDS_BETWEEN_LINES
        if now < self._due:
            return
        self._due = now + SECONDS_BETWEEN_LINES
        share = f"{100 * done / total:.0f}%" if total else f"{done:,}"
        told = [*self._pace.counted(done, count, noun, now), *self._pace.left(done, total, now), *_held(memory)]
        self.say(f"{stage}: {', '.join([share, *told])}")

    def say(self, sentence: str) -> None:
        """A line."""
        print(sentence, file=self._stream, flush=True)


class Bar:
    """tqdm's bar; a new one for each stage."""

    def __init__(self, unit: str, stream: TextIO) -> None:
        self._unit = unit
        self._stream = stream
        self._pace: _Pace | None = None
        self._bar: Any = None

    def __enter__(self) -> "Bar":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()

    def show(self, stage: str, done: int, total: int, count: int = 0, noun: str = "", memory: int = 0) -> None:
        """Move the bar."""
        now = time.monotonic()
        if self._pace is None or stage != self._pace.stage:
            self._pace = _Pace(stage, done, count, now)
            self._new(stage, total)
        self._bar.set_postfix_str(
            ", ".join([*self._pace.counted(done, count, noun, now), *_held(memory)]), refresh=False
        )
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
