"""What every command of ours has: its exit status, and errors that are one line on standard error."""

import argparse
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, NoReturn, ParamSpec

from atlasdb_contract.errors import AtlasError, InvalidArgument

P = ParamSpec("P")

OK, FAILED, MISUSED = 0, 1, 2
"""Exit status."""


class Parser(argparse.ArgumentParser):
    """An argument parser whose errors are one line. Flags are written out."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        """Say it and leave with 2."""
        complain(f"{message}; see '{self.prog} --help'", self.prog.partition(" ")[0])
        raise SystemExit(MISUSED)

    @contextmanager
    def judging(self) -> Iterator[None]:
        """While flags are made sense of: an InvalidArgument is wrong usage."""
        try:
            yield
        except InvalidArgument as error:
            self.error(str(error))


def complain(message: str, program: str = "atlasdb") -> None:
    """An error's line."""
    print(f"{program}: error: {' '.join(message.split())}", file=sys.stderr)


def command(program: str) -> Callable[[Callable[P, int]], Callable[P, int]]:
    """For a `main` of that program, which returns its exit status: however it ends, that is what there is."""

    def ending(main: Callable[P, int]) -> Callable[P, int]:
        @wraps(main)
        def run(*args: P.args, **kwargs: P.kwargs) -> int:
            try:
                status = main(*args, **kwargs)
                sys.stdout.flush()
            except SystemExit as leave:
                return leave.code if isinstance(leave.code, int) else OK
            except AtlasError as error:
                complain(str(error), program)
            except BrokenPipeError:
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            except KeyboardInterrupt:
                complain("stopped", program)
            else:
                return status
            return FAILED

        return run

    return ending
