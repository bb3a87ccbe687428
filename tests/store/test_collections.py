import threading
from collections.abc import Callable

import pytest
from worlds import BARE, D, Stores, facts, vectors

from atlasdb.engine.database import Database
from atlasdb_contract.errors import AlreadyExists, FailedPrecondition, InvalidArgument, NotFound, ResourceExhausted
from atlasdb_contract.types import CollectionConfig

Load = Callable[..., tuple[int, ...]]


def test_collections_are_listed_by_name_with_their_config(stores: Stores) -> None:
    database = stores.open()
    config = CollectionConfig("hash", 0, {"born": "place of birth"}, frozenset({"capital", "spouse"}))
    database.create_collection("b", BARE)
    made = database.create_collection("a", config)
    assert [collection.name for collection in database.list_collections()] == ["a", "b"]
    assert made.config == CollectionConfig("hash", D, config.phrases, config.inverse)
    assert stores.open().list_collections()[0] == made


@pytest.mark.parametrize("name", ["", "Facts", "a b", "-a", "_a", "a" * 65, "ä", "a/b", "a\n"])
def test_a_bad_name_is_refused(database: Database, name: str) -> None:
    with pytest.raises(InvalidArgument, match="is no collection name"):
        database.create_collection(name, BARE)


@pytest.mark.parametrize("name", ["a", "0", "a" * 64, "a-b_c9"])
def test_a_good_name_is_taken(database: Database, name: str) -> None:
    assert database.create_collection(name, BARE).name == name


def test_the_same_collection_again_is_an_error_unless_asked_for(database: Database) -> None:
    with pytest.raises(AlreadyExists, match="'facts' already"):
        database.create_collection("facts", BARE)
    assert database.create_collection("facts", BARE, if_missing=True).name == "facts"
    with pytest.raises(AlreadyExists, match="'facts' with another config"):
        database.create_collection("facts", CollectionConfig("none", D + 1), if_missing=True)


@pytest.mark.parametrize(
    ("config", "error", "message"),
    [
        (CollectionConfig("none"), InvalidArgument, "needs a dimension from 1 to 4096, not 0"),
        (CollectionConfig("none", D, inverse="all"), InvalidArgument, "a collection without encoder has none"),
        (CollectionConfig("hash", D + 1), InvalidArgument, f"'hash' has dimension {D}, not {D + 1}"),
        (CollectionConfig("other"), FailedPrecondition, "needs the encoder 'other'; this server runs 'hash'"),
        (CollectionConfig("hash", phrases={"born": " "}), InvalidArgument, "the phrase for relation 'born' is empty"),
    ],
)
def test_a_config_that_can_not_work_is_refused(
    database: Database, config: CollectionConfig, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        database.create_collection("other", config)


def test_drop_deletes_everything_and_tells_how_much(stores: Stores, database: Database, load: Load) -> None:
    load(facts(300))
    database.create_collection("other", BARE)
    load(facts(5), "other")
    assert database.drop_collection("facts") == 300
    with pytest.raises(NotFound, match="'facts'"):
        database.count("facts")
    assert database.create_collection("facts", BARE).entries == 0
    assert load(facts(2)) == (1, 2)
    again = stores.open()
    assert [collection.entries for collection in again.list_collections()] == [2, 5]


def test_drop_waits_for_open_views_and_an_interrupted_drop_is_finished(stores: Stores, database: Database) -> None:
    database.insert("facts", facts(50), *vectors(facts(50))).result()
    store = database._engine.store
    store._drop_tables = lambda _: None  # type: ignore[method-assign]  # the process ends here
    database.drop_collection("facts")
    again = stores.open()._engine.store
    with again.environment.reading() as txn:
        assert again.environment.table_names(txn) == []


def test_collections_come_and_go_without_end(monkeypatch: pytest.MonkeyPatch, stores: Stores) -> None:
    """LMDB's table handles are given back."""
    for module in ("environment", "errors"):
        monkeypatch.setattr(f"atlasdb.store.{module}.COLLECTIONS_LIMIT", 3)
    database = stores.open()
    for number in range(12):
        database.create_collection(f"c{number}", BARE)
        database.drop_collection(f"c{number}")
    for number in range(3):
        database.create_collection(f"d{number}", BARE)
    with pytest.raises(ResourceExhausted, match="at most 3 collections"):
        database.create_collection("d4", BARE)


def test_what_is_inserted_beside_a_drop_is_stored(stores: Stores, database: Database) -> None:
    """Tables that are gone count for no other collection."""
    over = threading.Event()

    def drop() -> None:
        while not over.is_set():
            database.create_collection("other", BARE)
            database.drop_collection("other")

    dropping = threading.Thread(target=drop)
    dropping.start()
    try:
        for start in range(0, 400, 2):
            database.insert("facts", facts(2, start), *vectors(facts(2, start))).result()
    finally:
        over.set()
        dropping.join()
    assert database.count("facts") == 400


@pytest.mark.parametrize("name", ["", "none-such"])
def test_what_is_not_there_is_not_found_at_once(database: Database, name: str) -> None:
    with pytest.raises(NotFound):
        database.drop_collection(name)
    with pytest.raises(NotFound):
        database.build(name)
