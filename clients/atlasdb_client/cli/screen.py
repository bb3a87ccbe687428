"""Lines shown in place on a terminal, again and again, without a flicker."""

import shutil
import sys
from collections.abc import Sequence
from typing import Self

from atlasdb_client.cli import output

_ENTER, _LEAVE = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
"""To a screen of its own without a cursor, and back to what was there before."""
_HOME, _REST_OF_LINE, _REST_OF_SCREEN = "\x1b[H", "\x1b[K", "\x1b[J"


class Screen:
    """The terminal, from `with` to its end; what was shown last is then left in its scrollback."""

    def __init__(self) -> None:
        self._last: Sequence[str] = ()

    def __enter__(self) -> Self:
        _write(_ENTER)
        return self

    def __exit__(self, kind: object, error: object, trace: object) -> None:
        _write(_LEAVE + "".join(f"{line}\n" for line in self._last))

    def show(self, lines: Sequence[str]) -> None:
        """In place of the last ones, cut to the terminal's size, in one write."""
        self._last = lines
        columns, rows = shutil.get_terminal_size()
        shown = [output.cut(line, columns) + _REST_OF_LINE for line in lines[: max(1, rows)]]
        _write(_HOME + "\r\n".join(shown) + _REST_OF_SCREEN)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()
