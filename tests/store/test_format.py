"""The bytes on disk, held still: a record that these tests do not recognise needs a new format version."""

import numpy as np
import pytest

from atlasdb import format as fmt
from atlasdb import matrices
from atlasdb.tree.image import node_rows
from atlasdb.tree.slots import Slots
from atlasdb_contract.errors import DataLoss
from atlasdb_contract.types import Triple, Vectors

KEYS = Vectors(np.array([[1, -2, 127], [4, 5, -6]], np.int8), np.array([0.5, 0.25], np.float32))
IDS = np.array([7, 258], np.uint64)
TEXTS = [fmt.entry_text("h", "r", "t", "s", {"k": "v"})[0], fmt.entry_text("a", "b", "c", "", {})[0]]
ROWS = matrices.EntryRows(
    np.array([2, 1], np.uint8),
    IDS * np.uint64(2),
    np.arange(4, dtype=np.uint64).reshape(2, 2),
    np.frombuffer(b"".join(TEXTS), np.uint8),
    np.cumsum([len(text) for text in TEXTS]),
)
SLOTS = Slots(
    IDS * np.uint64(3), KEYS, np.array([0, 1, 3]), np.array([7, 8, 258], np.uint64), np.arange(3, dtype=np.uint64)
)


def golden() -> dict[str, tuple[bytes, bytes]]:
    """One (key, record) of each kind."""
    key = fmt.POSTING_KEY.pack(1, 4096)
    node_key = fmt.NODE_KEY.pack(1, fmt.Level.INTER, 9)
    node = np.zeros(1, node_rows(1, 2))
    node[0] = (1 << 40, 5, 0.5, 0.75, 255, 0, np.arange(44), [6, -1])
    identities = np.frombuffer(b"0123456789abcdef" + b"x" * 16, "<u8").reshape(2, 2)
    root_key = fmt.NODE_KEY.pack(1, fmt.Level.ROOT, 0)
    places_key = fmt.NODE_KEY.pack(1, fmt.Level.PLACES, 3)
    summary_key = fmt.NODE_KEY.pack(1, fmt.Level.SUMMARY, 0)
    pairs_key = fmt.INDEX_KEY.pack(1, fmt.IndexKind.LEAF, 0xABCDEF)
    return {
        "format": (fmt.FORMAT_KEY, fmt.format_record()),
        "entries": (fmt.id_key(7), matrices.seal_entries(fmt.id_key(7), 7, ROWS)),
        "values": (fmt.id_key(7), matrices.seal_values(fmt.id_key(7), 7, identities, KEYS)),
        "pairs": (pairs_key, fmt.seal_pairs(pairs_key, IDS, IDS * np.uint64(5))),
        "posting": (key, matrices.seal_slots(key, SLOTS)),
        "node": (node_key, matrices.seal_nodes(node_key, node, KEYS.data[:1])),
        "roots": (root_key, matrices.seal_vectors(root_key, KEYS, np.array([0, 300]))),
        "summary": (summary_key, fmt.seal_map(summary_key, (2, (0, 1, 300), 9, IDS.astype("<u8").tobytes()))),
        "places": (places_key, matrices.seal_places(places_key, np.array([5, (1 << 32) - 1], np.uint32))),
    }


GOLDEN = {
    "entries": (
        "00000000 00000007",
        "2e8a32ec 02000000 17000000 00000000 0e000000 00000000 04020000 00000000 00000000 00000000 01000000 "
        "00000000 02000000 00000000 03000000 00000000 0e000000 17000000 269329fc f241703e 020195a1 68a172a1 "
        "74a17381 a16ba176 95a161a1 62a163a0 80000000 f515973d 0e0195a1 68a172a1 73a37381 a16ba176 9ba161a1 "
        "77a163a0 b09329fc 0754e703",
    ),
    "format": (
        "666f726d 6174",
        "ffe88f21 41544c41 53444200 02000000 00000000",
    ),
    "node": (
        "00000001 01000000 09",
        "6e9e114d 01000000 02000000 01000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "
        "00000000 00000000 00010000 05000000 00000000 0000003f 0000403f ff000000 00010203 04050607 08090a0b "
        "0c0d0e0f 10111213 14151617 18191a1b 1c1d1e1f 20212223 24252627 28292a2b 06000000 ffffffff 00000000 "
        "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "
        "01fe7f00 00000000 00000000 ede23ff0 14151628 19195a24 e11d1e1f 21202020 21de5f20 20212020 0f0d0e0f "
        "020cd21c",
    ),
    "pairs": (
        "01020000 000000ab cdef",
        "ba539052 02000000 07000000 00000000 02010000 00000000 23000000 00000000 0a050000 00000000",
    ),
    "places": (
        "00000001 02000000 03",
        "3ec15829 05000000 ffffffff",
    ),
    "posting": (
        "00000001 00000000 00001000",
        "939973fb 02000000 03000000 03000000 07000000 00000000 08000000 00000000 02010000 00000000 00000000 "
        "00000000 01000000 00000000 02000000 00000000 15000000 00000000 06030000 00000000 00000000 01000000 "
        "03000000 0000003f 0000803e eb755f20 af4855c2 047b41e8 8e69fe18 5a7d2323 00000000 00000000 00000000 "
        "00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 00000000 "
        "01fe7f04 05fa0000 00000000 2ce6d05d 1701803e e9755f20 aa4b55c2 077b41e8 8997811c 5e872323 09000000 "
        "2ce6d062",
    ),
    "roots": (
        "00000001 00000000 00",
        "0e62c0bf 02000000 03000000 00000000 00000000 00000000 2c010000 00000000 0000003f 0000803e 01fe7f04 "
        "05fa0000 00000000 00000000 00000000 afad35c2 0000003f 0200803e 02fe7f04 05fa0000 00000000 00000000 "
        "2c010000 afad35c2",
    ),
    "summary": (
        "00000001 04000000 00",
        "9fb1eadd 94029300 01cd012c 09c41007 00000000 00000002 01000000 000000",
    ),
    "values": (
        "00000000 00000007",
        "36ec8d1b 02000000 03000000 00000000 30313233 34353637 38396162 63646566 78787878 78787878 78787878 "
        "78787878 0000003f 0000803e df69c48b 89bcd558 00000000 00000000 00000000 00000000 00000000 00000000 "
        "00000000 00000000 00000000 00000000 00000000 00000000 01fe7f04 05fa0000 00000000 436511ab 78787878 "
        "7a787878 7b787878 78787878 31cf4d08 31cfb609 e750a5e9 a9bda195",
    ),
}


@pytest.mark.parametrize("kind", sorted(golden()))
def test_records_are_as_they_were(kind: str) -> None:
    key, record = golden()[kind]
    assert (key.hex(" ", -4), record.hex(" ", -4)) == GOLDEN[kind]


def test_entries_come_back() -> None:
    key = fmt.id_key(7)
    rows = matrices.open_entries(key, bytes(matrices.seal_entries(key, 7, ROWS)))
    for name in ("flags", "value_ids", "texts", "ends"):
        np.testing.assert_array_equal(getattr(rows, name), getattr(ROWS, name))
    second = rows.part(1, 2)
    assert fmt.open_text(second.texts.tobytes()) == Triple("a", "b", "c")
    assert (second.flags.tolist(), second.value_ids.tolist(), second.ends.tolist()) == ([1], [516], [len(TEXTS[1])])
    both = matrices.EntryRows.joined([rows.part(0, 1), second])
    np.testing.assert_array_equal(both.ends, ROWS.ends)


@pytest.mark.parametrize("count", range(9))
def test_a_postings_matrix_begins_on_a_cache_line(count: int) -> None:
    keys = Vectors(np.arange(3 * count, dtype=np.int8).reshape(count, 3), np.ones(count, np.float32))
    ids = np.arange(2 * count, dtype=np.uint64)
    slots = Slots(ids[:count] + np.uint64(9), keys, 2 * np.arange(count + 1), ids, ids + np.uint64(1))
    key = fmt.POSTING_KEY.pack(1, 0)
    record = matrices.seal_slots(key, slots)
    assert (matrices.slot_offsets(count, 2 * count).keys + 16) % 64 == 0
    got = matrices.open_slots(3, key, bytes(record))
    for name in ("subjects", "starts", "ids", "value_ids"):
        np.testing.assert_array_equal(getattr(got, name), getattr(slots, name))
    np.testing.assert_array_equal(got.keys.data, keys.data)


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


def test_a_record_of_nodes_that_begins_with_noise_is_damaged() -> None:
    with pytest.raises(DataLoss, match="table nodes is cut short"):
        matrices.node_shape(16, fmt.NODE_KEY.pack(1, 1, 0), b"\xff" * 4096)
