"""Triples packed by the compiled loop, against msgpack, triple by triple."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from atlasdb.engine.packing import packed
from atlasdb.format import entry_text
from atlasdb.store.identity import Facts, facts_of
from atlasdb_contract.columns import TripleColumns

parts = st.text(max_size=40) | st.sampled_from(
    [" ", "\t\u3000", "x" * 31, "y" * 32, "z" * 255, "\u00e9" * 128, "w" * 70_000]
)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(parts, parts, parts), max_size=8))
def test_columns_are_stored_as_triples_are(triples: list[tuple[str, str, str]]) -> None:
    columns = TripleColumns.of(triples)
    text = np.frombuffer(columns.text or b"\0", np.uint8)
    texts, ends, stops, blank = packed(text, columns.lengths)
    stored = [entry_text(*triple, "", {}) for triple in triples]
    assert texts.tobytes() == b"".join(text for text, _ in stored)
    assert ends.tolist() == np.cumsum([len(text) for text, _ in stored]).tolist()
    assert (stops - np.concatenate([[0], ends[:-1]])[: len(stops)]).tolist() == [size for _, size in stored]
    assert blank.tolist() == [not all(part.strip() for part in triple) for triple in triples]
    if triples:
        again, direct = facts_of(texts, ends, (1, 2)), Facts.packed(stored, (1, 2))
        assert again.stops.tolist() == stops.tolist()
        assert again.hashes.tolist() == direct.hashes.tolist()
