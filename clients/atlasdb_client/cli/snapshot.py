"""snapshot: whole copies of the store."""

import time
from argparse import Namespace
from collections.abc import Iterable
from dataclasses import asdict

from atlasdb_client.cli import output
from atlasdb_client.cli.extensions import Extension
from atlasdb_client.client import connect
from atlasdb_client.progress import opened
from atlasdb_contract.quantities import size
from atlasdb_contract.upkeep import Snapshot, SnapshotProgress

RESTORE = Extension("snapshot restore", "atlasdb.restore:main")
"""Works on folders: the server's part of atlasdb has it."""


def create(args: Namespace) -> int:
    """Make one; what it holds."""
    with connect(args.server) as client:
        made, _ = _shown("copying", client.create_snapshot(args.name, round(args.rate * 1e6)))
    assert made is not None
    if args.json:
        output.print_json(asdict(made))
    else:
        print(f"made the snapshot {made.name}: {_told(made)}")
    return 0


def listing(args: Namespace) -> int:
    """Those there are, oldest first."""
    with connect(args.server) as client:
        found = client.list_snapshots()
    if args.json:
        output.print_json([asdict(one) for one in found])
    elif found:
        rows = [(one.name, _date(one), len(one.collections), _entries(one), size(one.file_bytes)) for one in found]
        output.print_table(("name", "made", "collections", "entries", "size"), rows)
    else:
        print("no snapshots")
    return 0


def verify(args: Namespace) -> int:
    """Check one as a whole."""
    with connect(args.server) as client:
        _, damage = _shown(f"verifying {args.name}", client.verify_snapshot(args.name))
    if args.json:
        output.print_json({"name": args.name, "damage": list(damage)})
    else:
        print("\n".join(damage) if damage else f"no damage in {args.name}")
    return 1 if damage else 0


def delete(args: Namespace) -> int:
    """Remove one."""
    with connect(args.server) as client:
        freed = client.delete_snapshot(args.name)
    if args.json:
        output.print_json({"name": args.name, "bytes": freed})
    else:
        print(f"deleted the snapshot {args.name}: {size(freed)} free")
    return 0


def restore(args: Namespace) -> int:
    """Hand it on to the server's part."""
    flags = ["--to", args.to] if args.to else []
    flags += ["--force"] * args.force + ["--json"] * bool(args.json)
    return RESTORE.run([args.name, "--data", args.data, *flags])


def _shown(task: str, steps: Iterable[SnapshotProgress]) -> tuple[Snapshot | None, tuple[str, ...]]:
    """The snapshot and its damage, at the end."""
    last: SnapshotProgress | None = None
    with opened() as meter:
        for last in steps:
            meter.show(f"{task}: {last.stage}", last.done, last.total)
    return (last.snapshot, last.damage) if last else (None, ())


def _told(one: Snapshot) -> str:
    collections = output.plural(len(one.collections), "collection")
    return f"{collections}, {output.plural(_entries(one), 'entry')}, {size(one.file_bytes)}"


def _entries(one: Snapshot) -> int:
    return sum(held.entries for held in one.collections)


def _date(one: Snapshot) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(one.created))
