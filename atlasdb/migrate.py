"""`atlasdb migrate`: what format a store has, and what it takes to bring it to this version's.

No version before 2 was ever released, so there is no step to take yet; a store of any other is refused by its number.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from atlasdb import format as fmt
from atlasdb.settings import PREFIX, data_folder
from atlasdb_contract.errors import AtlasError, InvalidArgument

OK, FAILED, MISUSED = 0, 1, 2
"""Exit status."""


def parser() -> argparse.ArgumentParser:
    """The flags."""
    flags = argparse.ArgumentParser(
        prog="atlasdb migrate", description="Bring a store, which no server has open, to this version's format."
    )
    flags.add_argument("--data", metavar="DIR", type=Path, help=f"the folder of the store (default: ${PREFIX}DATA)")
    flags.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    return flags


def main(argv: Sequence[str]) -> int:
    """0: done, or nothing to do; 1: the store's format is not known, or it can't be read; 2: wrong flags."""
    try:
        flags = parser().parse_args(argv)
        folder = data_folder(flags.data)
    except SystemExit as leave:
        return OK if not leave.code else MISUSED
    except InvalidArgument as error:
        print(f"atlasdb: error: {error}", file=sys.stderr)
        return MISUSED
    from atlasdb.store.formats import check

    try:
        check(folder)
    except AtlasError as error:
        print(f"atlasdb: error: {error}", file=sys.stderr)
        return FAILED
    what = "nothing would be done" if flags.dry_run else "nothing to do"
    print(f"{folder} has format version {fmt.VERSION}, features {fmt.FEATURES:#x}, as this atlasdb writes it: {what}")
    return OK
