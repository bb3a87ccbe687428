"""The `atlasdb` command: reads the arguments, hands them to the command's function, names errors.

Exit status: 0 done, 1 failed (one line on standard error says what to do), 2 wrong usage.
"""

import sys
from collections.abc import Sequence
from importlib import import_module

from atlasdb_client.cli import extensions
from atlasdb_client.cli.parser import BUILT_IN, build_parser
from atlasdb_contract.command import command


@command("atlasdb")
def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; the entry point of `atlasdb`. Returns the exit status."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    word = extensions.command_word(arguments)
    if word is not None and (extension := extensions.find(arguments[word])) is not None:
        before = [flag for flag in arguments[:word] if flag == "--json"]
        return extension.run([*before, *arguments[word + 1 :]])
    built_in = word is not None and arguments[word] in BUILT_IN
    args = build_parser(() if built_in else extensions.names()).parse_args(arguments)
    module, _, function = args.run.partition(":")
    status: int = getattr(import_module(f"atlasdb_client.cli.{module}"), function)(args)
    return status
