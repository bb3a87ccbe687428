"""Makes the golden store of this format version: `python make.py FILE.tar.gz`, once for each version that is released.

It holds a collection whose vectors are given and one of an encoder with inverse entries, each with trees, a delta and
deleted entries, and beside the store what it must answer. A golden store of a released version never changes.
"""

import io
import json
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1] / "store"))
from worlds import BARE, HashEncoder, facts, vectors

from atlasdb.engine.database import Database
from atlasdb.engine.read import EntryFields
from atlasdb_contract.types import CollectionConfig, Quota, Triple

EVERYTHING = EntryFields(texts=True, keys=True, values=True)
ASKED = vectors(facts(6, 30))[0]


def fill(database: Database) -> None:
    """In parts, so that there are trees, a delta and tombstones in both."""
    database.create_collection("given", BARE, quota=Quota(entries=5000))
    database.create_collection("texts", CollectionConfig("hash", inverse=frozenset(["relation 1"])))
    for name, given in (("given", True), ("texts", False)):
        for start, count in ((0, 180), (180, 50)):
            triples = facts(count, start)
            database.insert(name, triples, *(vectors(triples) if given else ())).result()
            if start == 0:
                database.build(name)
        told = Triple("Ada Łovelace", "relation 1", "∑", "a source", {"key": "value"})
        database.insert(name, [told], *(vectors([told]) if given else ())).result()
        database.delete(name, [5, 6, 7, 190]).result()


def answers(database: Database) -> dict[str, Any]:
    """What a store says, as JSON has it."""
    said = {}
    for collection in database.list_collections():
        name = collection.name
        [stats] = database.stats(name).collections
        entries = [entry for chunk in database.scan(name, fields=EVERYTHING) for entry in chunk]
        fetched = [database.fetch(name, ASKED, 24, exact=exact).ids.tolist() for exact in (True, False)]
        said[name] = {
            "setsum": stats.setsum,
            "counts": [stats.entries, stats.inverse_entries, stats.distinct_values, stats.trees],
            "delta and tombstones": [stats.delta_entries, stats.tombstones],
            "quota": [collection.quota.entries, collection.quota.bytes],
            "entries": [
                [e.id, e.inverse, *e.triple.identity, e.triple.source, dict(e.triple.metadata)] for e in entries
            ],
            "texts": [[e.key_text, e.value_text] for e in entries],
            "keys": [[e.key.data.tolist(), e.value.data.tolist()] for e in entries[:20] if e.key and e.value],
            "fetched": fetched,
        }
    return said


def main(out: Path) -> None:
    encoder = HashEncoder()
    with tempfile.TemporaryDirectory() as folder:
        with Database.open(Path(folder) / "data", 1 << 30, encoder) as database:
            fill(database)
            said = json.dumps(answers(database), ensure_ascii=False).encode()
        with tarfile.open(out, "w:gz") as archive:
            archive.add(Path(folder) / "data" / "atlas.mdb", "atlas.mdb")
            entry = tarfile.TarInfo("answers.json")
            entry.size = len(said)
            archive.addfile(entry, io.BytesIO(said))
    encoder.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
