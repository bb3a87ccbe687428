"""Random operations on a store and on a dictionary beside it: whatever is done to both, they agree.

Hypothesis chooses the operations, from the episode's seed, and shrinks what fails. Two kinds of collections: one whose
vectors are given, one that is encoded from texts and has inverse entries.
"""

import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import hypothesis
import numpy as np
from hypothesis import HealthCheck
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from atlasdb.engine.build import fold
from atlasdb.engine.database import Database
from atlasdb.engine.read import EntryFields
from atlasdb_contract.codec import quantise
from atlasdb_contract.errors import AlreadyExists, InvalidArgument, NotFound
from atlasdb_contract.types import Beams, CollectionConfig, Entry, Floats, Triple, Vectors
from tests.store.worlds import BARE, MAP_BYTES, D, HashEncoder, unit

from .tally import STOPPED, Tally

STEPS = 60
"""Of one example."""
EXAMPLES = 10
"""Of one episode."""
WORDED = CollectionConfig("hash", 0, {"a": "alpha"}, frozenset({"b"}))
"""Its relation b has inverse entries."""
CONFIGS = {"facts": BARE, "words": WORDED}
ALL = EntryFields(texts=True, keys=True, values=True)
SHARPNESS = 8.0
"""Length of the rows of fetches: between a flat softmax and one that only sees the best."""
TOLERANCE = 1e-4

names = st.sampled_from(["a", "b", "c", "d"])
collections = st.sampled_from(sorted(CONFIGS))
triples = st.lists(st.builds(Triple, names, names, names), min_size=1, max_size=12)
rows = st.lists(st.sampled_from([unit(f"row {i}") for i in range(12)]), min_size=1, max_size=3)


@dataclass
class Kept:
    """One entry as it must be. `inverse`: it points back."""

    triple: Triple
    inverse: bool
    key: Floats
    value: Floats


@dataclass
class Plain:
    """One collection, as a dictionary of its ids."""

    entries: dict[int, Kept] = field(default_factory=dict)
    forward: dict[tuple[str, str, str], int] = field(default_factory=dict)
    next: int = 1

    def insert(self, triple: Triple, key: Floats, value: Floats) -> bool:
        """Whether it is new."""
        if triple.identity in self.forward:
            return False
        self.forward[triple.identity] = self.next
        self.entries[self.next] = Kept(triple, False, key, value)
        self.next += 1
        return True

    def insert_worded(self, triple: Triple) -> int:
        """How many entries are new: 2 with an inverse one."""
        relation = WORDED.phrases.get(triple.relation, triple.relation)
        if not self.insert(triple, unit(f"the {relation} of {triple.head}"), unit(triple.tail)):
            return 0
        if triple.relation != "b":
            return 1
        self.entries[self.next] = Kept(triple, True, np.zeros(0, np.float32), unit(triple.head))
        self.next += 1
        return 2

    def delete(self, ids: set[int]) -> tuple[int, int]:
        """(Entries that go, those of `ids` that are not there)."""
        there = ids & self.entries.keys()
        doomed = set(there)
        for number in there:
            partner = number - 1 if self.entries[number].inverse else number + 1
            if partner in self.entries and (self.entries[number].inverse or self.entries[partner].inverse):
                doomed.add(partner)
        for number in doomed:
            kept = self.entries.pop(number)
            if not kept.inverse:
                del self.forward[kept.triple.identity]
        return len(doomed), len(ids - there)


class Machine(RuleBasedStateMachine):
    """`plain`: the collections as they must be."""

    def __init__(self, tally: Tally) -> None:
        super().__init__()
        self.tally = tally
        self.folder = Path(mkdtemp(prefix="atlasdb-soak-model-"))
        self.encoder = HashEncoder()
        self.plain: dict[str, Plain] = {}
        self.begun = False
        self.open()
        for name in CONFIGS:
            self.make(name)

    def open(self) -> None:
        self.database = Database.open(self.folder, MAP_BYTES, self.encoder)

    def teardown(self) -> None:
        self.database.close()
        self.open()
        assert [damage for _, progress in self.database.verify() for damage in progress.damage] == []
        self.database.close()
        self.encoder.close()
        shutil.rmtree(self.folder)

    # ---- collections ----

    @rule(name=collections)
    def create(self, name: str) -> None:
        if name in self.plain:
            self.refused(AlreadyExists, partial(self.database.create_collection, name, CONFIGS[name]))
        else:
            self.make(name)

    def make(self, name: str) -> None:
        assert self.database.create_collection(name, CONFIGS[name]).entries == 0
        self.plain[name] = Plain()

    @rule(name=collections, sure=st.integers(0, 3))
    def drop(self, name: str, sure: int) -> None:
        if name not in self.plain:
            self.refused(NotFound, partial(self.database.drop_collection, name))
        elif sure == 0:
            assert self.database.drop_collection(name) == len(self.plain.pop(name).entries)

    def refused(self, error: type[Exception], call: Callable[[], Any]) -> None:
        try:
            call()
        except error:
            return
        raise AssertionError(f"{error.__name__} was to be raised")

    # ---- entries ----

    @precondition(lambda self: "facts" in self.plain)
    @rule(given=triples, salt=st.integers(0, 3))
    def insert_vectors(self, given: list[Triple], salt: int) -> None:
        plain = self.plain["facts"]
        keys = [unit(f"key {triple.head} {triple.relation} {salt}") for triple in given]
        values = [unit(f"value {triple.tail} {salt}") for triple in given]
        created = sum(plain.insert(*one) for one in zip(given, keys, values, strict=True))
        ack = self.database.insert("facts", given, quantise(np.stack(keys)), quantise(np.stack(values))).result()
        assert (ack.created, ack.existing, ack.refused) == (created, len(given) - created, ())
        assert list(ack.ids) == [plain.forward[triple.identity] for triple in given]

    @precondition(lambda self: "words" in self.plain)
    @rule(given=triples)
    def insert_texts(self, given: list[Triple]) -> None:
        plain = self.plain["words"]
        created = [plain.insert_worded(triple) for triple in given]
        ack = self.database.insert("words", given).result()
        assert (ack.created, ack.existing) == (sum(created), created.count(0))
        assert list(ack.ids) == [plain.forward[triple.identity] for triple in given]

    @precondition(lambda self: "facts" in self.plain)
    @rule(given=triples, odd=st.sampled_from(["none", "few", "narrow"]))
    def insert_refused(self, given: list[Triple], odd: str) -> None:
        if odd == "none":
            ack = self.database.insert("facts", given).result()
            fresh = [triple for triple in given if triple.identity not in self.plain["facts"].forward]
            assert (ack.created, len(ack.refused)) == (0, len(given)), (ack, fresh)
            return
        shape = (len(given) + 1, D) if odd == "few" else (len(given), D - 1)
        vectors = Vectors(np.ones(shape, np.int8), np.ones(shape[0], np.float32))
        self.refused(InvalidArgument, self.database.insert("facts", given, vectors, vectors).result)

    @rule(name=collections, given=triples)
    def delete_triples(self, name: str, given: list[Triple]) -> None:
        if name not in self.plain:
            self.refused(NotFound, self.database.delete(name, [], given).result)
            return
        plain = self.plain[name]
        ids = {plain.forward[triple.identity] for triple in given if triple.identity in plain.forward}
        missing = sum(triple.identity not in plain.forward for triple in given)
        deleted, _ = plain.delete(ids)
        assert self.database.delete(name, [], given).result() == (deleted, missing)

    @rule(name=collections, ids=st.sets(st.integers(0, 60), max_size=8))
    def delete_ids(self, name: str, ids: set[int]) -> None:
        if name in self.plain:
            assert self.database.delete(name, sorted(ids)).result() == self.plain[name].delete(ids)

    @rule(name=collections, ids=st.lists(st.integers(0, 60), max_size=8))
    def get(self, name: str, ids: list[int]) -> None:
        if name in self.plain:
            held = self.plain[name].entries
            found = self.database.get(name, ids, ALL)
            assert [entry.id for entry in found] == [number for number in ids if number in held]
            for entry in found:
                self.same(entry, held[entry.id])

    def same(self, entry: Entry, kept: Kept) -> None:
        assert (entry.triple, entry.inverse) == (kept.triple, kept.inverse)
        assert entry.key is not None
        assert entry.value is not None
        wanted = kept.key if len(kept.key) else unit(entry.key_text)
        for got, expected in ((entry.key, wanted), (entry.value, kept.value)):
            stored = quantise(expected[None])
            assert np.array_equal(got.data, stored.data)
            assert np.array_equal(got.scales, stored.scales)

    @rule(name=collections, after=st.integers(0, 40), limit=st.integers(0, 9), head=st.sampled_from(["", "a", "b"]))
    def scan(self, name: str, after: int, limit: int, head: str) -> None:
        if name not in self.plain:
            self.refused(NotFound, partial(list, self.database.scan(name)))
            return
        held = self.plain[name].entries
        wanted = [n for n, kept in sorted(held.items()) if n > after and head in ("", kept.triple.head)]
        found = [entry for chunk in self.database.scan(name, after, limit, ALL, head) for entry in chunk]
        assert [entry.id for entry in found] == list(islice(wanted, limit or None))
        for entry in found:
            self.same(entry, held[entry.id])

    # ---- trees ----

    @rule(name=collections, whole=st.booleans())
    def build(self, name: str, whole: bool) -> None:
        if name in self.plain and whole:
            self.database.build(name)
        elif name in self.plain:
            fold(self.database._engine, name, lambda: False)

    @rule()
    def restart(self) -> None:
        self.database.close()
        self.open()

    # ---- retrieval ----

    @rule(name=collections, some=rows, k=st.integers(1, 12), beam=st.integers(0, 3))
    def fetch(self, name: str, some: list[Floats], k: int, beam: int) -> None:
        if name not in self.plain:
            self.refused(NotFound, partial(self.database.fetch, name, quantise(np.stack(some)), k))
            return
        given = quantise(np.stack(some) * np.float32(SHARPNESS))
        ids, scores = self.reference(name, given)
        exact = self.database.fetch(name, given, k, exact=True)
        best = np.sort(scores)[::-1][:k]
        assert len(exact.ids) == min(k, len(ids))
        assert np.allclose(exact.scores, best, atol=TOLERANCE)
        by_id = dict(zip(ids, scores, strict=True))
        assert np.allclose([by_id[number] for number in exact.ids.tolist()], best, atol=TOLERANCE)
        pruned = self.database.fetch(name, given, k, Beams(beam, 4 * beam))
        assert set(pruned.ids.tolist()) <= set(ids)
        assert len(set(pruned.ids.tolist())) == len(pruned.ids) <= k
        assert (np.diff(pruned.scores) <= 0).all()
        for entry in self.database.get(name, pruned.ids.tolist(), ALL):
            at = pruned.ids.tolist().index(entry.id)
            assert entry.key is not None
            assert np.array_equal(pruned.keys.data[at], entry.key.data[0])
            self.same(entry, self.plain[name].entries[entry.id])
        self.tally.figures["pruned fetches"] += 1
        self.tally.figures["pruned fetches with the exact best"] += set(pruned.ids[:1]) <= set(exact.ids[:1])

    def reference(self, name: str, given: Vectors) -> tuple[list[int], Any]:
        """Scores by design (4) in float64, over all that is stored."""
        found = [entry for chunk in self.database.scan(name, fields=ALL) for entry in chunk]
        if not found:
            return [], np.zeros(0)
        keys = np.concatenate([entry.key.floats() for entry in found if entry.key]).astype(np.float64)
        logits = given.floats().astype(np.float64) @ keys.T
        shares = np.exp(logits - logits.max(axis=1, keepdims=True))
        return [int(entry.id) for entry in found], (shares / shares.sum(axis=1, keepdims=True)).sum(axis=0)

    # ---- always ----

    @invariant()
    def agree(self) -> None:
        self.tally.count(int(self.begun))
        self.begun = True
        assert [one.name for one in self.database.list_collections()] == sorted(self.plain)
        for name, plain in self.plain.items():
            assert self.database.count(name) == len(plain.entries)
            stored = {int(entry.id): entry.triple for chunk in self.database.scan(name) for entry in chunk}
            assert stored == {number: kept.triple for number, kept in plain.entries.items()}


def episode(seed: int, folder: Path, tally: Tally) -> None:
    """See the module. A failure leaves its shrunk operations in `folder`."""

    class Seeded(Machine):
        def __init__(self) -> None:
            super().__init__(tally)

    chosen = hypothesis.settings(
        max_examples=EXAMPLES,
        stateful_step_count=STEPS,
        deadline=None,
        database=None,
        print_blob=False,
        suppress_health_check=list(HealthCheck),
    )
    try:
        run_state_machine_as_test(hypothesis.seed(seed)(Seeded), settings=chosen)
    except Exception as error:  # noqa: BLE001 - whatever the store raised, it was not to
        if STOPPED.is_set():
            return
        notes = "\n".join(getattr(error, "__notes__", ()))
        (folder / "operations.txt").write_text(f"{error!r}\n{notes}\n")
        tally.fail(f"{type(error).__name__}: {error}; operations.txt has what led there")
