"""Damage to the file: bits flipped, pages overwritten or exchanged, the end cut off.

An episode makes one store and DAMAGES damaged copies. Each is opened in a child, read, verified, repaired, written
to and built. What it serves must be right, whatever it refuses must be said in a DataLoss, `verify` must name the
damage, and a collection whose pages are not hit must be read as ever. Some are damaged while they are open; then
`verify` comes first, as the pages are looked at only now and then.
"""

import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from atlasdb.engine import build
from atlasdb.engine.database import Database
from atlasdb.engine.read import EntryFields
from atlasdb.store import pages
from atlasdb.store.claims import FREE
from atlasdb.store.environment import FILE
from atlasdb_contract.errors import AtlasError
from atlasdb_contract.types import Block, Entry

from .forked import Broken, Ended, Late, asked
from .ledger import CONFIG, MAIN, MAP_BYTES, Contents, Create, Delete, Insert, Ledger, Wrong, fact_of, triple, vectors
from .powercut import memory
from .tally import Tally

DAMAGES = 100
"""Of one store."""
OWN = (1, 2, 8)
"""Kinds of pages: inner ones, leaves, heads of the file."""
LIVE_SHARE = 0.2
"""Of the damages come while the store is open."""
SECONDS = 60.0
PAGE = 4096
ROWS, K = 6, 20
OTHER = "other"
ALL = EntryFields(keys=True, values=True)


def episode(seed: int, folder: Path, tally: Tally) -> None:
    """See the module."""
    store, rng = folder / "sound", np.random.default_rng(seed)
    contents = asked(partial(_make, store, seed))
    sound = (store / FILE).read_bytes()
    owners = _owners(store / FILE)
    with memory("damage") as scratch:
        for number in range(DAMAGES):
            if tally.over():
                return
            what, damaged = _damage(bytearray(sound), rng)
            live = len(damaged) == len(sound) and rng.random() < LIVE_SHARE
            what = f"{what}{' while it is open' if live else ''}"
            copy = scratch / str(number)
            copy.mkdir()
            (copy / FILE).write_bytes(sound if live else damaged)
            hit = _hit(sound, bytes(damaged))
            intact = _intact(owners, hit) if len(damaged) == len(sound) else frozenset()
            kind, told = _tried(copy, contents, intact, hit if live else {})
            tally.figures[kind if kind != "not opened" else f"{kind}, {what.split()[0]}"] += 1
            tally.figures["damaged while open"] += live
            if kind in BROKEN:
                tally.fail(f"damage {number}, {what}: {kind}: {told}")
                (folder / f"damage-{number}").mkdir()
                (folder / f"damage-{number}" / FILE).write_bytes(damaged)
            shutil.rmtree(copy)
            tally.count()


BROKEN = ("wrong result", "not named", "error without a name", "death", "hang", "too much refused")
"""What must not happen. Else damage is harmless (no record that is read is hit), named, or named by a store that is not
opened; of these the kind of damage is counted too."""


def _owners(file: Path) -> list[str]:
    """Of each page of a sound file the table that it belongs to; "": of what the store as a whole hangs on."""
    owners = [""] * (file.stat().st_size // PAGE)
    for claim in pages.look(file).claims:
        for start, count in zip(claim.starts.tolist(), claim.counts.tolist(), strict=True):
            owners[start : start + count] = [claim.table] * count
    return owners


def _hit(sound: bytes, damaged: bytes) -> dict[int, bytes]:
    """The pages that the damage changes, and to what."""
    pages_of = ((at // PAGE, damaged[at : at + PAGE]) for at in range(0, len(damaged), PAGE))
    return {page: content for page, content in pages_of if sound[page * PAGE :][:PAGE] != content}


def _intact(owners: list[str], hit: Iterable[int]) -> frozenset[str]:
    """The collections that damage of these pages leaves as they were."""
    names = {1: MAIN, 2: OTHER}
    tables = {owners[page] for page in hit}
    return (
        frozenset()
        if "" in tables
        else frozenset(names.values()) - {names[int(table[:8], 16)] for table in tables if table != FREE}
    )


def _make(store: Path, seed: int) -> Contents:
    """A store with trees, a delta, tombstones and a second collection; what it holds."""
    rng, ledger = np.random.default_rng([seed, 1]), Ledger()

    def insert(name: str, count: int) -> None:
        facts = tuple(map(int, rng.integers(0, 3000, count)))
        ledger.apply(Insert(name, facts))
        database.insert(name, [triple(fact) for fact in facts], *vectors(facts)).result()

    with Database.open(store, MAP_BYTES) as database:
        for name in (MAIN, OTHER):
            ledger.apply(Create(name))
            database.create_collection(name, CONFIG)
            for _ in range(6):
                insert(name, 100)
            build.build(database._engine, name, 0, lambda: False, lambda _: None)
            insert(name, 150)
            ids = tuple(map(int, rng.integers(1, 500, 40)))
            ledger.apply(Delete(name, ids))
            database.delete(name, ids).result()
    return ledger.contents()


def _damage(file: bytearray, rng: np.random.Generator) -> tuple[str, bytearray]:
    """What was done, and the file. A third hits LMDB's own pages, of which there are few."""
    count = len(file) // PAGE
    kinds = np.frombuffer(file, np.uint8)[10::PAGE]
    page = int(rng.choice(np.flatnonzero(np.isin(kinds, OWN)))) if rng.random() < 1 / 3 else int(rng.integers(count))
    at = page * PAGE
    match str(rng.choice(["bit", "bit", "bit", "random page", "zero page", "exchanged pages", "cut"])):
        case "bit":
            place, bit = at + int(rng.integers(PAGE)), int(rng.integers(8))
            file[place] ^= 1 << bit
            return f"bit {bit} of byte {place} flipped", file
        case "random page":
            file[at : at + PAGE] = rng.bytes(PAGE)
            return f"page {page} overwritten", file
        case "zero page":
            file[at : at + PAGE] = bytes(PAGE)
            return f"page {page} zeroed", file
        case "exchanged pages":
            other = int(rng.integers(count)) * PAGE
            file[at : at + PAGE], file[other : other + PAGE] = file[other : other + PAGE], file[at : at + PAGE]
            return f"pages {page} and {other // PAGE} exchanged", file
    size = int(rng.integers(len(file)))
    return f"cut to {size} bytes", file[:size]


def _tried(copy: Path, contents: Contents, intact: frozenset[str], later: dict[int, bytes]) -> tuple[str, str]:
    """What kind of end it took, and what is to be said of it."""
    try:
        return asked(partial(_ask, copy, contents, intact, later), SECONDS)  # type: ignore[no-any-return]
    except Late:
        return "hang", f"no end after {SECONDS} s"
    except Ended as ended:
        return "death", str(ended)
    except Broken as error:
        return "error without a name", str(error)


@dataclass
class _Asked:
    """What a damaged store answered."""

    named: list[str] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    odd: list[str] = field(default_factory=list)
    """Answers that are right only where damage is named: less than all."""
    about: str = ""
    """The collection that is being asked."""
    spoiled: dict[str, str] = field(default_factory=dict)
    """Collections of which less than all was read, and what was said."""

    def of(self, question: Callable[[], Any]) -> Any:
        """The answer; None where it is refused."""
        try:
            return question()
        except AtlasError as error:
            self.refused.append(f"{type(error).__name__}: {error}")
            self.spoiled.setdefault(self.about, self.refused[-1])
            return None


def _ask(copy: Path, contents: Contents, intact: frozenset[str], later: dict[int, bytes]) -> tuple[str, str]:
    """Ask everything of a damaged store; of one that is damaged `later`, when all of it was read."""
    found = _Asked()
    try:
        database = Database.open(copy, MAP_BYTES)
    except AtlasError as error:
        kind = "too much refused" if intact else "not opened"
        return kind, f"{type(error).__name__}: {error}"
    try:
        if later:
            _read(database, contents, found)
            intact = _intact(_owners(copy / FILE), later)  # to open it may have written
            _spoil(copy / FILE, later)
            _verify(database, contents, found)
        _read(database, contents, found)
        spoiled = {name: told for name, told in found.spoiled.items() if name in intact}
        _verify(database, contents, found)
        _repair(database, found)
        _entries(database, contents, found)
        _write(database, contents, found)
        _entries(database, contents, found)
    except Wrong as wrong:
        return "wrong result", str(wrong)
    finally:
        found.of(database.close)
    if spoiled:
        return "too much refused", str(spoiled)
    if (found.odd or found.refused) and not found.named:
        lacking = [text for text in found.refused if not text.startswith("DataLoss")]
        if lacking or found.odd:
            return "not named", (found.odd + lacking)[0]
    return ("named", found.named[0]) if found.named else ("named by reads" if found.refused else "harmless", "")


def _spoil(file: Path, later: dict[int, bytes]) -> None:
    """Overwrite pages of a file."""
    with open(file, "r+b") as opened:
        for page, content in later.items():
            os.pwrite(opened.fileno(), content, page * PAGE)


def _verify(database: Database, contents: Contents, found: _Asked) -> None:
    for name in contents:
        found.about = name
        found.named += found.of(partial(_verified, database, name)) or []


def _repair(database: Database, found: _Asked) -> None:
    """What can be put right is put right; what can't is named."""
    found.about = ""
    for _, step in found.of(lambda: list(database.repair())) or []:
        found.named += step.lost


def _verified(database: Database, name: str) -> list[str]:
    return [damage for _, progress in database.verify(name) for damage in progress.damage]


def _read(database: Database, contents: Contents, found: _Asked) -> None:
    found.about = ""
    listed = found.of(database.list_collections)
    if listed is not None and {one.name for one in listed} != set(contents):
        raise Wrong(f"the collections are {[one.name for one in listed]}")
    for name, held in contents.items():
        found.about = name
        count = found.of(partial(database.count, name))
        if count is not None and count != len(held):
            raise Wrong(f"{name}: the count is {count}, not {len(held)}")
        scanned = found.of(partial(_scanned, database, name))
        if scanned is not None and scanned != held:
            raise Wrong(f"{name}: a scan gives {len(scanned)} entries, not those {len(held)}")
    _entries(database, contents, found)
    for name, held in contents.items():
        found.about = name
        for block in _blocks(database, name, found):
            _check_block(block, name, held, found)


def _scanned(database: Database, name: str) -> dict[int, int]:
    return {int(entry.id): fact_of(entry) for chunk in database.scan(name) for entry in chunk}


def _entries(database: Database, contents: Contents, found: _Asked) -> None:
    """All entries by their ids; one by one where they are refused together."""
    for name, held in contents.items():
        found.about = name
        ids = list(range(1, max(held) + 1))
        try:
            _check_got(name, ids, database.get(name, ids, ALL), held)
        except AtlasError:
            for number in ids:
                got = found.of(partial(database.get, name, [number], ALL))
                if got is not None:
                    _check_got(name, [number], got, held)


def _check_got(name: str, ids: list[int], got: list[Entry], held: dict[int, int]) -> None:
    there = {int(entry.id) for entry in got}
    for number in ids:
        if (number in held) != (number in there):
            raise Wrong(f"{name}: entry {number} is {'lost' if number in held else 'back, though it was deleted'}")
    for entry in got:
        number = int(entry.id)
        if fact_of(entry) != held[number]:
            raise Wrong(f"{name}: entry {number} is the fact {fact_of(entry)}, not {held[number]}")
        for part, whole in zip((entry.key, entry.value), vectors([held[number]]), strict=True):
            if part is None or not np.array_equal(part.data, whole.data) or part.scales[0] != whole.scales[0]:
                raise Wrong(f"{name}: entry {number} has a vector that is not its own")


def _blocks(database: Database, name: str, found: _Asked) -> Iterator[Block]:
    for row in range(ROWS):
        for exact in (True, False):
            rows = vectors([100 * row])[0]
            block = found.of(partial(database.fetch, name, rows, K, exact=exact))
            if block is not None:
                yield block


def _check_block(block: Block, name: str, held: dict[int, int], found: _Asked) -> None:
    """Right entries with their own vectors, K of them."""
    ids = block.ids.tolist()
    for at, number in enumerate(ids):
        if number not in held:
            raise Wrong(f"{name}: a block has the entry {number}, which is not there")
        key, value = vectors([held[number]])
        if not (np.array_equal(block.keys.data[at], key.data[0]) and block.keys.scales[at] == key.scales[0]):
            raise Wrong(f"{name}: a block has the entry {number} with another key")
        if not (np.array_equal(block.values.data[at], value.data[0]) and block.values.scales[at] == value.scales[0]):
            raise Wrong(f"{name}: a block has the entry {number} with another value")
    if len(ids) != K:
        found.odd.append(f"{name}: a block of {len(ids)} entries")
        found.spoiled.setdefault(name, found.odd[-1])


def _write(database: Database, contents: Contents, found: _Asked) -> None:
    """Writes and builds end, one way or the other. What they do is taken up in `contents`, in this child."""
    for name, held in contents.items():
        found.about = name
        facts = list(range(3100, 3110))
        ack = found.of(lambda: database.insert(name, [triple(fact) for fact in facts], *vectors(facts)).result())  # noqa: B023
        if ack is not None:
            held.update(zip(map(int, ack.ids), facts, strict=True))
        doomed = sorted(held)[5:8]
        deleted = found.of(lambda: database.delete(name, doomed).result())  # noqa: B023
        if deleted is not None:
            if deleted != (3, 0):
                raise Wrong(f"{name}: of three entries {deleted[0]} were deleted")
            for number in doomed:
                del held[number]
        found.of(partial(database.build, name))
