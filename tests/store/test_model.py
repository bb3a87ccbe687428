"""A store beside a dict: whatever is done to both, they agree."""

import tempfile
from pathlib import Path

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from worlds import BARE, MAP_BYTES, damage, unit, vectors

from atlasdb.engine.database import Database
from atlasdb_contract.codec import quantise
from atlasdb_contract.types import Triple

names = st.sampled_from(["a", "b", "c"])
triples = st.lists(st.builds(Triple, names, names, names), min_size=1, max_size=12)


class StoreModel(RuleBasedStateMachine):
    """`held`: triple -> id, as the store should have it."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.open()
        self.database.create_collection("facts", BARE)
        self.held: dict[tuple[str, str, str], int] = {}
        self.next = 1
        self.generation = 0

    def open(self) -> None:
        self.database = Database.open(Path(self.folder.name), MAP_BYTES)

    @rule(given=triples)
    def insert(self, given: list[Triple]) -> None:
        expected, created = [], 0
        for triple in given:
            if triple.identity not in self.held:
                self.held[triple.identity] = self.next
                self.next += 1
                created += 1
            expected.append(self.held[triple.identity])
        ack = self.database.insert("facts", given, *vectors(given)).result()
        assert (list(ack.ids), ack.created, ack.existing) == (expected, created, len(given) - created)

    @rule(given=triples)
    def delete_triples(self, given: list[Triple]) -> None:
        doomed = {triple.identity for triple in given} & set(self.held)
        missing = sum(triple.identity not in self.held for triple in given)
        for identity in doomed:
            del self.held[identity]
        assert self.database.delete("facts", [], given).result() == (len(doomed), missing)

    @rule(data=st.data())
    @precondition(lambda self: self.held)
    def delete_ids(self, data: st.DataObject) -> None:
        ids = set(data.draw(st.lists(st.integers(1, self.next), max_size=6)))
        doomed = {identity for identity, number in self.held.items() if number in ids}
        for identity in doomed:
            del self.held[identity]
        assert self.database.delete("facts", sorted(ids)).result() == (len(doomed), len(ids) - len(doomed))

    @rule()
    def build(self) -> None:
        self.generation += 1
        assert self.database.build("facts") == self.generation

    @rule()
    def reopen(self) -> None:
        self.database.close()
        self.open()

    @rule(triple=st.builds(Triple, names, names, names))
    def fetch(self, triple: Triple) -> None:
        rows = quantise(unit(f"the {triple.relation} of {triple.head}")[None])
        block = self.database.fetch("facts", rows, 4096, exact=True)
        assert sorted(block.ids.tolist()) == sorted(self.held.values())

    @invariant()
    def agree(self) -> None:
        stored = {entry.triple.identity: entry.id for chunk in self.database.scan("facts") for entry in chunk}
        assert stored == self.held
        assert self.database.count("facts") == len(self.held)

    def teardown(self) -> None:
        self.database.close()
        self.open()
        assert damage(self.database) == []
        self.database.close()
        self.folder.cleanup()


SETTINGS = settings(
    stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True, database=None
)


def test_a_store_agrees_with_a_dict() -> None:
    run_state_machine_as_test(StoreModel, settings=settings(SETTINGS, max_examples=12))
