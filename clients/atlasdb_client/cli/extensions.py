"""Commands that other distributions or extras bring: the entry points of the group "atlasdb.commands".

Each is a function `main(argv) -> int` with flags of its own; the server's `serve` is one.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

from atlasdb_client.cli.parser import BUILT_IN, GLOBAL_VALUES
from atlasdb_contract.errors import AtlasError, FailedPrecondition

GROUP = "atlasdb.commands"
EXTRAS = dict.fromkeys(("serve", "migrate", "plan", "snapshot restore"), ("the server", "server"))
"""Command -> what it needs and the extra that brings it."""
OURS = ("atlasdb", "atlasdb_client", "atlasdb_contract", "llm_runtime")


@dataclass(frozen=True, slots=True)
class Extension:
    """A command by its name and where its function is ("package.module:function")."""

    name: str
    value: str

    def run(self, argv: Sequence[str]) -> int:
        """Run it. FailedPrecondition naming the extra when what it needs is not installed."""
        module, _, function = self.value.partition(":")
        try:
            command: Callable[[Sequence[str]], int] = getattr(import_module(module), function)
            return command(argv)
        except ModuleNotFoundError as error:
            if error.name is not None and error.name.partition(".")[0] in OURS and error.name != module:
                raise
            raise self._not_installed() from None

    def _not_installed(self) -> AtlasError:
        what, extra = EXTRAS.get(self.name, (self.value.partition(".")[0], self.name))
        return FailedPrecondition(f"atlasdb {self.name} needs {what}: pip install 'atlasdb[{extra}]'")


def command_word(arguments: Sequence[str]) -> int | None:
    """The position of the command among the arguments: the first that is no flag nor a flag's value."""
    position = 0
    while position < len(arguments):
        if not arguments[position].startswith("-"):
            return position
        position += 2 if arguments[position] in GLOBAL_VALUES else 1
    return None


def names() -> list[str]:
    """All commands of the group that are not built in."""
    from importlib.metadata import entry_points

    return sorted({point.name for point in entry_points(group=GROUP)} - set(BUILT_IN))


def find(word: str) -> Extension | None:
    """The extension of that name; None for a built-in or unknown one."""
    if word in BUILT_IN:
        return None
    from importlib.metadata import entry_points

    points = entry_points(group=GROUP, name=word)
    return next((Extension(point.name, point.value) for point in points), None)
