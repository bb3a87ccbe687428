"""`atlasdb migrate`: what format a store has, and what it takes to bring it to this version's.

No version before 2 was ever released, so there is no step to take yet; a store of any other is refused by its number.
"""

from collections.abc import Sequence
from pathlib import Path

from atlasdb import format as fmt
from atlasdb.settings import PREFIX, data_folder
from atlasdb_contract.command import OK, Parser, command


def parser() -> Parser:
    """The flags."""
    flags = Parser(
        prog="atlasdb migrate", description="Bring a store, which no server has open, to this version's format."
    )
    flags.add_argument("--data", metavar="DIR", type=Path, help=f"the folder of the store (default: ${PREFIX}DATA)")
    flags.add_argument("--dry-run", action="store_true", help="say what would be done, and change nothing")
    return flags


@command("atlasdb")
def main(argv: Sequence[str]) -> int:
    """0: done, or nothing to do; 1: the store's format is not known, or it can't be read; 2: wrong flags."""
    flags = parser()
    args = flags.parse_args(argv)
    with flags.judging():
        folder = data_folder(args.data)
    from atlasdb.store.formats import check

    check(folder)
    what = "nothing would be done" if args.dry_run else "nothing to do"
    print(f"{folder} has format version {fmt.VERSION}, features {fmt.FEATURES:#x}, as this atlasdb writes it: {what}")
    return OK
