"""`atlasdb snapshot restore`: a snapshot put in the place of a store that no server has open, or into a new folder.

verify     the snapshot: its file's SHA-256, every record, the setsum of each collection
copy       its file beside the store's, read back and synced
swap       the copy takes the store's name; whatever stops this, the store is the one or the other, whole
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from atlasdb_contract.command import OK, Parser, command
from atlasdb_contract.errors import DataLoss, FailedPrecondition

CHUNK = 8 << 20


def parser() -> Parser:
    """The flags."""
    flags = Parser(prog="atlasdb snapshot restore", description="Restore a store from a snapshot.")
    flags.add_argument("name", metavar="NAME", help="the snapshot")
    flags.add_argument("--data", metavar="DIR", type=Path, required=True, help="the folder of the store it was made of")
    flags.add_argument("--to", metavar="DIR", type=Path, help="the folder to restore to (default: that store's)")
    flags.add_argument("--force", action="store_true", help="replace the store that is there")
    flags.add_argument("--json", action="store_true", help="print JSON")
    return flags


@command("atlasdb")
def main(argv: Sequence[str]) -> int:
    """0: restored; 1: not, and all is as it was; 2: wrong flags."""
    args = parser().parse_args(argv)
    entries = restore(args.data, args.name, args.to or args.data, args.force)
    target = str(args.to or args.data)
    told = {"name": args.name, "folder": target, "entries": entries}
    print(json.dumps(told, indent=2) if args.json else f"restored {args.name} to {target}: {entries:,} entries")
    return OK


def restore(data: Path, name: str, target: Path, force: bool) -> int:
    """Put the snapshot `name` of the store in `data` in the place of the one in `target`; how many entries it has.

    NotFound; DataLoss: the snapshot is damaged; FailedPrecondition: a server has the target open, or it holds a store
    and `force` is not set.
    """
    from atlasdb.engine import snapshot
    from atlasdb.store.environment import FILE
    from atlasdb.store.folder import folder_lock

    known = snapshot.find(data, name)
    with folder_lock(target, make=True):
        if (target / FILE).exists() and not force:
            raise FailedPrecondition(f"{target} holds a store already; --force replaces it")
        *_, last = snapshot.verify(data, name)
        if last.damage:
            raise DataLoss(f"nothing was restored: {last.damage[0]}")
        _put(snapshot.file_of(data, name), target, known.sha256)
    return sum(held.entries for held in known.collections)


def _put(source: Path, target: Path, sha256: str) -> None:
    """Copy a file beside the store's, and let it take that one's place."""
    from atlasdb.store.environment import FILE
    from atlasdb.store.folder import switching

    beside = target / f"{FILE}.restored"
    try:
        with open(source, "rb") as old, open(beside, "wb") as new:
            while chunk := old.read(CHUNK):
                new.write(chunk)
            new.flush()
            os.fsync(new.fileno())
        digest = hashlib.sha256()
        with open(beside, "rb") as new:
            while chunk := new.read(CHUNK):
                digest.update(chunk)
        if digest.hexdigest() != sha256:
            raise DataLoss(f"nothing was restored: the copy in {target} is not what was written")
        with switching(target, fcntl.LOCK_EX) as folder:
            (target / f"{FILE}-lock").unlink(missing_ok=True)
            beside.replace(target / FILE)
            os.fsync(folder)
    except OSError as error:
        raise FailedPrecondition(f"nothing was restored: {target}: {error.strerror or error}") from error
    finally:
        beside.unlink(missing_ok=True)
