"""collections list, create, drop; and the config that `load` and `create` share."""

import json
import sys
import time
from argparse import Namespace
from pathlib import Path
from typing import Any

from atlasdb_client.cli import output
from atlasdb_client.client import connect
from atlasdb_contract.errors import FailedPrecondition, InvalidArgument, NotFound
from atlasdb_contract.quantities import size
from atlasdb_contract.types import Collection, CollectionConfig, Quota


def listing(args: Namespace) -> int:
    """All collections."""
    with connect(args.server) as client:
        found = client.collections()
    if args.json:
        output.print_json([_json(one) for one in found])
    elif found:
        titles = ("name", "entries", "generation", "encoder", "inverse", "created", "quota")
        rows = [(c.name, c.entries, c.generation, c.config.encoder, _inverse(c), _date(c), _quota(c)) for c in found]
        output.print_table(titles, rows)
    else:
        print("no collections yet; 'atlasdb load FILE --collection NAME' makes one")
    return 0


def create(args: Namespace) -> int:
    """Make one."""
    with connect(args.server) as client:
        quota = Quota(args.max_entries or 0, args.max_bytes or 0)
        made = client.create_collection(args.name, config_of(args) or CollectionConfig(), args.if_missing, quota)
    if args.json:
        output.print_json(_json(made))
    else:
        print(f"{made.name}: encoder {made.config.encoder}, {output.plural(made.entries, 'entry')}")
    return 0


def limit(args: Namespace) -> int:
    """Give one another quota."""
    if args.max_entries is None and args.max_bytes is None:
        raise InvalidArgument("nothing to set: give --max-entries or --max-bytes; 0 is no limit")
    with connect(args.server) as client:
        changed = client.set_quota(args.name, args.max_entries, args.max_bytes)
    if args.json:
        output.print_json(_json(changed))
    else:
        print(f"{changed.name}: {output.plural(changed.entries, 'entry')}, quota {_quota(changed)}")
    return 0


def drop(args: Namespace) -> int:
    """Delete one, when that is surely meant."""
    with connect(args.server) as client:
        if not args.yes:
            _ask(args.name, client.count(args.name))
        entries = client.drop_collection(args.name)
    if args.json:
        output.print_json({"collection": args.name, "entries": entries})
    else:
        print(f"dropped {args.name} with {output.plural(entries, 'entry')}")
    return 0


def config_of(args: Namespace) -> CollectionConfig | None:
    """The config that the flags ask for; None when there were none. InvalidArgument for a bad phrases file."""
    dimension: int = getattr(args, "dimension", 0)
    if args.encoder is None and args.inverse is None and args.phrases is None and not dimension:
        return None
    default = CollectionConfig()
    inverse: Any = args.inverse or default.inverse
    if inverse not in ("none", "all"):
        inverse = frozenset(relation.strip() for relation in inverse.split(",") if relation.strip())
    phrases = {} if args.phrases is None else _phrases(args.phrases)
    return CollectionConfig(args.encoder or default.encoder, dimension, phrases, inverse)


def _phrases(path: Path) -> dict[str, str]:
    try:
        phrases = json.loads(path.read_text("utf-8-sig"))
    except FileNotFoundError:
        raise NotFound(f"there is no file {path}") from None
    except OSError as error:
        raise FailedPrecondition(f"can't read {path}: {error.strerror}") from None
    except ValueError as error:
        raise InvalidArgument(f"{path} is not JSON: {error}") from None
    if not isinstance(phrases, dict) or not all(isinstance(phrase, str) for phrase in phrases.values()):
        raise InvalidArgument(f'{path} is not an object of texts, such as {{"born in": "place of birth"}}')
    return phrases


def _ask(name: str, entries: int) -> None:
    if not sys.stdin.isatty():
        raise FailedPrecondition(f"dropping {name} deletes {output.plural(entries, 'entry')}; add --yes if you mean it")
    print(f"Drop {name} with {output.plural(entries, 'entry')}? This can't be undone. [y/N] ", end="", flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise FailedPrecondition(f"{name} was not dropped")


def _json(collection: Collection) -> dict[str, Any]:
    config = collection.config
    inverse = config.inverse if isinstance(config.inverse, str) else sorted(config.inverse)
    return {
        "name": collection.name,
        "entries": collection.entries,
        "generation": collection.generation,
        "encoder": config.encoder,
        "dimension": config.dimension,
        "inverse": inverse,
        "phrases": dict(config.phrases),
        "created": collection.created,
        "max_entries": collection.quota.entries,
        "max_bytes": collection.quota.bytes,
    }


def _inverse(collection: Collection) -> str:
    inverse = collection.config.inverse
    return inverse if isinstance(inverse, str) else ", ".join(sorted(inverse))


def _quota(collection: Collection) -> str:
    quota = collection.quota
    parts = [output.plural(quota.entries, "entry")] if quota.entries else []
    return ", ".join([*parts, size(quota.bytes)] if quota.bytes else parts) or "none"


def _date(collection: Collection) -> str:
    return time.strftime("%Y-%m-%d %H:%M", time.localtime(collection.created))
