"""The bytes on disk, held still: a record that these tests do not recognise needs a new format version."""

import numpy as np
import pytest

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Triple, Vectors

KEYS = Vectors(np.array([[1, -2, 127], [4, 5, -6]], np.int8), np.array([0.5, 0.25], np.float32))
IDS = np.array([7, 258], np.uint64)
COLUMNS = fmt.EntryColumns(IDS, np.array([2, 1], np.uint8), IDS * np.uint64(2), IDS * np.uint64(3), KEYS)
TEXTS = [fmt.entry_text("h", "r", "t", "s", {"k": "v"}), fmt.entry_text("a", "b", "c", "", {})]


def golden() -> dict[str, tuple[bytes, bytes]]:
    """One (key, record) of each kind."""
    key = fmt.POSTING_KEY.pack(1, 4096)
    node_key = fmt.NODE_KEY.pack(1, fmt.Level.INTER, 9)
    code = np.array([[1 << 40]], np.uint64), np.array([0.75], np.float32)
    node = matrices.NodeColumns(KEYS.take([0]), *code, np.array([5, 260], np.uint64), np.array([[6, -1]], np.int32))
    pairs_key = fmt.INDEX_KEY.pack(1, fmt.IndexKind.LEAF, 0xABCDEF)
    return {
        "format": (fmt.FORMAT_KEY, fmt.format_record()),
        "entry": fmt.entry_records(COLUMNS, TEXTS)[0],
        "values": (fmt.id_key(7), matrices.seal_values(fmt.id_key(7), 7, b"0123456789abcdef" + b"x" * 16, KEYS)),
        "pairs": (pairs_key, fmt.seal_pairs(pairs_key, IDS, IDS * np.uint64(5))),
        "posting": (key, matrices.seal_slots(key, IDS, IDS * np.uint64(2), KEYS)),
        "node": (node_key, matrices.seal_nodes(node_key, node)),
        "tombstone": (fmt.id_key(7), fmt.seal(fmt.id_key(7), b"")),
    }


GOLDEN = {
    "entry": (
        "00000000 00000007",
        "d353c3cf 02000000 0e000000 00000000 15000000 00000000 0000003f 01fe7f95 a168a172 a174a173 81a16ba1 76",
    ),
    "format": ("666f726d 6174", "966fcbfa 41544c41 53444200 01000000 00000000"),
    "node": (
        "00000001 01000000 09",
        "f3a9803b 01000000 02000000 01000000 05000000 00000000 04010000 00000000 0000003f 0000403f 06000000 "
        "ffffffff 00000000 00010000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "
        "00000000 00000000 00000000 00000000 00000000 00000000 01fe7f",
    ),
    "pairs": (
        "01020000 000000ab cdef",
        "ba539052 02000000 07000000 00000000 02010000 00000000 23000000 00000000 0a050000 00000000",
    ),
    "posting": (
        "00000001 00000000 00001000",
        "c34daa92 02000000 03000000 00000000 07000000 00000000 02010000 00000000 0e000000 00000000 04020000 "
        "00000000 0000003f 0000803e 692cd386 da84f0fa 00000000 00000000 00000000 00000000 00000000 00000000 "
        "00000000 00000000 00000000 00000000 00000000 00000000 01fe7f04 05fa",
    ),
    "tombstone": ("00000000 00000007", "61d6e258"),
    "values": (
        "00000000 00000007",
        "e9fc384d 02000000 03000000 00000000 30313233 34353637 38396162 63646566 78787878 78787878 78787878 "
        "78787878 0000003f 0000803e df69c48b 89bcd558 00000000 00000000 00000000 00000000 00000000 00000000 "
        "00000000 00000000 00000000 00000000 00000000 00000000 01fe7f04 05fa",
    ),
}


@pytest.mark.parametrize("kind", sorted(golden()))
def test_records_are_as_they_were(kind: str) -> None:
    key, record = golden()[kind]
    assert (key.hex(" ", -4), record.hex(" ", -4)) == GOLDEN[kind]


def test_entries_come_back_one_by_one_and_as_columns() -> None:
    records = fmt.entry_records(COLUMNS, TEXTS)
    first, second = (fmt.open_entry(3, key, record) for key, record in records)
    assert first.triple == Triple("h", "r", "t", "s", {"k": "v"})
    assert (second.id, second.flags, second.value_id, second.subject) == (258, 1, 516, 774)
    np.testing.assert_array_equal(second.key.floats(), KEYS.floats()[1:])
    columns = fmt.open_columns(3, records)
    for name in ("ids", "flags", "value_ids", "subjects"):
        np.testing.assert_array_equal(getattr(columns, name), getattr(COLUMNS, name))
    np.testing.assert_array_equal(columns.keys.floats(), KEYS.floats())


@pytest.mark.parametrize("count", range(9))
def test_a_postings_matrix_begins_on_a_cache_line(count: int) -> None:
    keys = Vectors(np.arange(3 * count, dtype=np.int8).reshape(count, 3), np.ones(count, np.float32))
    ids = np.arange(count, dtype=np.uint64)
    key = fmt.POSTING_KEY.pack(1, 0)
    record = matrices.seal_slots(key, ids, ids + np.uint64(1), keys)
    assert (len(record) - keys.data.size + 16) % 64 == 0
    got_ids, value_ids, got = matrices.open_slots(3, key, record)
    np.testing.assert_array_equal(got_ids, ids)
    np.testing.assert_array_equal(value_ids, ids + np.uint64(1))
    np.testing.assert_array_equal(got.data, keys.data)


@pytest.mark.parametrize("size", [0, 10, 20_000])
def test_every_flipped_byte_is_found(size: int) -> None:
    key = fmt.id_key(5)
    record = fmt.seal(key, bytes(size))
    fmt.check("entries", key, record)
    for at in range(0, len(record), max(1, len(record) // 50)):
        broken = bytearray(record)
        broken[at] ^= 0x40
        with pytest.raises(DataLoss, match="table entries fails its checksum: key id 5"):
            fmt.check("entries", key, bytes(broken))


def test_a_record_under_another_key_or_cut_short_is_found() -> None:
    record = fmt.seal(fmt.id_key(5), b"body")
    for key, cut in ((fmt.id_key(6), record), (fmt.id_key(5), record[:-1]), (fmt.id_key(5), record[:3])):
        with pytest.raises(DataLoss):
            fmt.check("values", key, cut)


def test_damage_names_the_table_and_the_key() -> None:
    assert "table postings fails its checksum: key generation 1, slot 2;" in str(
        fmt.damaged("postings", fmt.POSTING_KEY.pack(1, 2))
    )
    assert "key generation 1, level 1, node 9;" in str(fmt.damaged("nodes", fmt.NODE_KEY.pack(1, 1, 9)))
    assert "key space 1, kind 2, 0xff;" in str(fmt.damaged("index", fmt.INDEX_KEY.pack(1, 2, 255)))
    assert "key 'collection/x';" in str(fmt.damaged("main", b"collection/x"))
