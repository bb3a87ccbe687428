"""build, verify, repair."""

import hashlib
import json
import os
import time
from argparse import Namespace
from collections.abc import Iterable, Iterator
from pathlib import Path

from atlasdb_client.cli import output
from atlasdb_client.client import Client, connect
from atlasdb_client.progress import opened
from atlasdb_contract.errors import FailedPrecondition
from atlasdb_contract.quantities import duration
from atlasdb_contract.types import Progress


def build(args: Namespace) -> int:
    """Build the tree, showing how far it is."""
    with connect(args.server) as client:
        began = time.monotonic()
        generation = build_shown(client, args.collection, args.seed)
        seconds = time.monotonic() - began
    if args.json:
        output.print_json({"collection": args.collection, "generation": generation, "seconds": round(seconds, 3)})
    else:
        print(f"built generation {generation} of {args.collection} in {duration(seconds)}")
    return 0


def build_shown(client: Client, collection: str, seed: int = 0) -> int:
    """Build with a meter on standard error; returns the new generation."""
    generation = 0
    for progress in _shown(f"building {collection}", client.build(collection, seed)):
        generation = progress.generation or generation
    return generation


def verify(args: Namespace) -> int:
    """Check every record; damage is printed as it is found, and where to go on is kept until the end."""
    kept = _kept(args.server, args.collection)
    cursor, damage = _cursor(kept) if args.resume else (b"", [])
    with connect(args.server) as client:
        steps = client.verify(args.collection, cursor, round(args.rate * 1e6))
        for progress in _shown("verifying", steps):
            damage.extend(progress.damage)
            if progress.cursor:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.write_text(json.dumps({"cursor": progress.cursor.hex(), "damage": damage}))
            if not args.json:
                for sentence in progress.damage:
                    print(sentence, flush=True)
    kept.unlink(missing_ok=True)
    if args.json:
        output.print_json({"collection": args.collection or None, "damage": damage})
    elif damage:
        print(f"{output.plural(len(damage), 'fault')} found; 'atlasdb repair --dry-run' says what can be done")
    else:
        print(f"no damage in {args.collection or 'any collection'}")
    return 1 if damage else 0


def _kept(server: str, collection: str) -> Path:
    """The file that says how far a verification of a server is."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "atlasdb"
    return folder / f"verify-{hashlib.sha256(f'{server} {collection}'.encode()).hexdigest()[:16]}.json"


def _cursor(kept: Path) -> tuple[bytes, list[str]]:
    """Where the last verification ended and the damage found until then. FailedPrecondition where none was cut off."""
    try:
        known = json.loads(kept.read_text())
        return bytes.fromhex(known["cursor"]), list(known["damage"])
    except FileNotFoundError:
        raise FailedPrecondition("no verification was cut off; leave out --resume") from None
    except (ValueError, KeyError, TypeError) as error:
        raise FailedPrecondition(f"{kept} can't be read: {error}; leave out --resume") from error


def repair(args: Namespace) -> int:
    """Put right what is damaged; what was done, and what is lost, is printed as it is found."""
    restored: list[str] = []
    lost: list[str] = []
    with connect(args.server) as client, opened() as meter:
        for step in client.repair(args.collection, args.dry_run):
            meter.show(f"repairing {step.collection}: {step.stage}", step.done, step.total)
            restored.extend(step.restored)
            lost.extend(step.lost)
            if not args.json:
                for sentence in step.restored:
                    print(f"{'can be restored' if args.dry_run else 'restored'}: {sentence}", flush=True)
                for sentence in step.lost:
                    print(f"lost: {sentence}", flush=True)
    if args.json:
        named = {"collection": args.collection or None, "dry_run": args.dry_run}
        output.print_json({**named, "restored": restored, "lost": lost})
    elif not restored and not lost:
        print("nothing to repair")
    return 1 if lost else 0


def _shown(task: str, steps: Iterable[Progress]) -> Iterator[Progress]:
    with opened() as meter:
        for step in steps:
            meter.show(f"{task}: {step.stage}", step.done, step.total, memory=step.memory)
            yield step
