"""compact: the space of what was deleted, given back."""

from argparse import Namespace
from dataclasses import asdict

from atlasdb_client.cli import output
from atlasdb_client.client import connect
from atlasdb_client.progress import opened
from atlasdb_contract.quantities import duration, size
from atlasdb_contract.upkeep import CompactProgress


def compact(args: Namespace) -> int:
    """Compact, showing how far it is; then what that freed."""
    last: CompactProgress | None = None
    with connect(args.server) as client, opened("B") as meter:
        for last in client.compact(args.dry_run, round(args.rate * 1e6), args.max_seconds):
            meter.show(f"compacting: {last.stage}", last.done, last.total)
    assert last is not None
    if args.json:
        known = asdict(last)
        figures = {name: known[name] for name in known if name not in ("stage", "done", "total")}
        output.print_json({"dry_run": args.dry_run} | figures)
        return 0
    freed = max(0, last.file_bytes - last.after_bytes)
    becomes = "would become about" if args.dry_run else "became"
    sizes = f"{size(last.file_bytes)} {becomes} {size(last.after_bytes)}"
    facts: dict[str, object] = {"file": f"{sizes}: {size(freed)} free"}
    if last.dead_entries or last.dead_values:
        facts["dropped"] = (
            f"{output.plural(last.dead_entries, 'deleted entry')}, {output.plural(last.dead_values, 'value')} of none"
        )
    facts["room on disk"] = f"{size(last.disk_bytes)} while it is copied"
    facts["memory"] = f"about {size(last.memory_bytes)}"
    facts["time"] = ("about " if args.dry_run else "") + duration(last.seconds)
    if not args.dry_run:
        facts["writes waited"] = duration(last.held_seconds)
    print("\n".join(output.facts(facts)))
    return 0
