"""The contract keeps its own promises: generated code, round trips, quantisation, errors."""

import dataclasses
import filecmp
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from atlasdb_contract import codec, errors
from atlasdb_contract import types as t
from atlasdb_contract.codec_explanation import explanation_from_proto, explanation_to_proto
from atlasdb_contract.ids import EntryId, Generation
from atlasdb_contract.v1 import knowledge_pb2 as kpb
from atlasdb_contract.v1 import retrieval_pb2 as rpb

ROOT = Path(__file__).resolve().parents[2]

words = st.text(min_size=1, max_size=20).filter(str.strip)
maybe = st.text(max_size=20)
tables = st.dictionaries(words, maybe, max_size=3)
triples = st.builds(t.Triple, words, words, words, maybe, tables)
floats = hnp.arrays(
    np.float32,
    st.tuples(st.integers(0, 5), st.integers(1, 40)),
    elements=st.floats(-1e6, 1e6, width=32, allow_subnormal=False),
)
vectors = floats.map(codec.quantise)
inverses = st.one_of(st.sampled_from(["none", "all"]), st.frozensets(words, min_size=1, max_size=3))
configs = st.builds(t.CollectionConfig, words, st.integers(0, 4096), tables, inverses)


def same(a: t.Vectors | None, b: t.Vectors | None) -> bool:
    if a is None or b is None:
        return a is b
    return np.array_equal(a.data, b.data) and np.array_equal(a.scales, b.scales)


def test_committed_code_is_what_the_protos_generate(tmp_path: Path) -> None:
    subprocess.run([sys.executable, str(ROOT / "proto/generate.py"), str(tmp_path)], check=True)
    fresh = tmp_path / "atlasdb_contract/v1"
    committed = ROOT / "proto/atlasdb_contract/v1"
    names = sorted(path.name for path in fresh.iterdir())
    assert names == sorted(path.name for path in committed.glob("*_pb2*.py*") if path.suffix in (".py", ".pyi"))
    _, different, unreadable = filecmp.cmpfiles(fresh, committed, names, shallow=False)
    assert not different + unreadable, "run: python proto/generate.py"


@given(triples)
def test_a_triple_survives_the_wire(triple: t.Triple) -> None:
    assert codec.triple_from_proto(kpb.Triple.FromString(codec.triple_to_proto(triple).SerializeToString())) == triple


@given(configs)
def test_a_config_survives_the_wire(config: t.CollectionConfig) -> None:
    assert codec.config_from_proto(codec.config_to_proto(config)) == config


@given(configs, words, st.integers(0, 2**63), st.integers(0, 2**31), st.floats(0, 1e11))
def test_a_collection_survives_the_wire(
    config: t.CollectionConfig, name: str, entries: int, generation: int, created: float
) -> None:
    quota = t.Quota(entries // 3, generation)
    collection = t.Collection(name, config, entries, Generation(generation), created, quota)
    assert codec.collection_from_proto(codec.collection_to_proto(collection)) == collection


@given(vectors)
def test_vectors_survive_the_wire(sent: t.Vectors) -> None:
    assert same(sent, codec.vectors_from_proto(codec.vectors_to_proto(sent)))


@given(st.lists(st.tuples(triples, st.booleans(), maybe, maybe), max_size=4), st.booleans(), st.booleans())
def test_entries_survive_the_wire(
    parts: list[tuple[t.Triple, bool, str, str]], with_keys: bool, with_values: bool
) -> None:
    def row(wanted: bool, i: int) -> t.Vectors | None:
        return codec.quantise(np.full((1, 3), i + 1.0)) if wanted else None

    sent = [
        t.Entry(EntryId(i + 1), triple, inverse, key_text, value_text, row(with_keys, i), row(with_values, i))
        for i, (triple, inverse, key_text, value_text) in enumerate(parts)
    ]
    stacked = {
        name: None if (rows := codec.entries_to_vectors(sent, name[:-1])) is None else codec.vectors_to_proto(rows)
        for name in ("keys", "values")
    }
    received = codec.entries_from_proto(kpb.GetReply(entries=map(codec.entry_to_proto, sent), **stacked))
    assert [(e.id, e.triple, e.inverse, e.key_text, e.value_text) for e in received] == [
        (e.id, e.triple, e.inverse, e.key_text, e.value_text) for e in sent
    ]
    assert all(same(a.key, b.key) and same(a.value, b.value) for a, b in zip(sent, received, strict=True))


@given(vectors, st.integers(0, 2**31), st.integers(0, 2**31))
def test_a_block_survives_the_wire(rows: t.Vectors, sequence: int, number: int) -> None:
    k = len(rows)
    sent = t.Block(
        np.arange(k, dtype=np.uint64) + np.uint64(2**63),
        rows,
        rows,
        np.linspace(0, 1, k, dtype=np.float32),
        Generation(number),
        t.FetchCost(1, 2, 3, 4, 5, number),
        sequence,
    )
    received = codec.block_from_proto(codec.block_to_proto(sent))
    assert np.array_equal(received.ids, sent.ids)
    assert np.array_equal(received.scores, sent.scores)
    assert same(received.keys, sent.keys)
    assert same(received.values, sent.values)
    assert (received.generation, received.cost, received.sequence) == (sent.generation, sent.cost, sent.sequence)


def nouns(kind: type, **given: object) -> st.SearchStrategy:
    """A noun of numbers, as they are on the wire; a field's own strategy where it is given."""
    own = {"float": st.floats(width=32, allow_nan=False), "bool": st.booleans()}
    return st.builds(
        kind,
        **{
            field.name: given.get(field.name, own.get(getattr(field.type, "__name__", ""), st.integers(0, 2**31)))
            for field in dataclasses.fields(kind)
        },
    )


def few(of: st.SearchStrategy) -> st.SearchStrategy:
    return st.lists(of, max_size=2).map(tuple)


met_nodes = nouns(t.MetNode)
walks = nouns(t.Walk, end=st.sampled_from(t.WalkEnd), nodes=few(met_nodes))
sightings = nouns(t.Sighting, fate=st.sampled_from(t.NodeFate), link=st.none() | met_nodes)
fates = st.sampled_from(t.Fate)
logits = few(st.floats(width=32, allow_nan=False))
verdicts = nouns(t.Verdict, fate=fates, logits=logits, sightings=few(sightings))
trees = nouns(t.TreeExplanation, walks=few(walks))
stages = nouns(t.Stage, name=maybe)


@given(nouns(t.Explanation, trees=few(trees), stages=few(stages), verdicts=few(verdicts)))
def test_an_explanation_survives_the_wire(sent: t.Explanation) -> None:
    message = rpb.Explanation.FromString(explanation_to_proto(sent).SerializeToString())
    assert explanation_from_proto(message) == sent
    nothing = t.Vectors(np.zeros((0, 4), np.int8), np.zeros(0, np.float32))
    block = t.Block(np.zeros(0, np.uint64), nothing, nothing, np.zeros(0, np.float32), Generation(0), t.FetchCost())
    assert codec.block_from_proto(codec.block_to_proto(block)).explanation is None
    told = dataclasses.replace(block, explanation=sent)
    assert codec.block_from_proto(codec.block_to_proto(told)).explanation == sent


@given(floats)
def test_quantisation_stays_below_half_a_step(given_floats: np.ndarray) -> None:
    """|x - q s| <= s / 2 for each number, so a dot with a unit vector errs by at most s sqrt(D) / 2."""
    quantised = codec.quantise(given_floats)
    exact = given_floats.astype(np.float64)
    restored = quantised.data.astype(np.float64) * quantised.scales.astype(np.float64)[:, None]
    steps = quantised.scales.astype(np.float64)[:, None]
    assert (np.abs(exact - restored) <= steps * (0.5 + 1e-4)).all()
    assert np.abs(quantised.data.astype(int)).max(initial=0) <= 127


@given(floats.filter(lambda x: len(x) > 0), st.integers(0, 2**31))
def test_dots_stay_within_the_documented_bound(given_floats: np.ndarray, seed: int) -> None:
    unit = np.random.default_rng(seed).standard_normal(given_floats.shape[1])
    unit /= np.linalg.norm(unit)
    quantised = codec.quantise(given_floats)
    restored = quantised.data.astype(np.float64) * quantised.scales.astype(np.float64)[:, None]
    bound = quantised.scales.astype(np.float64) * np.sqrt(given_floats.shape[1]) / 2
    assert (np.abs((given_floats.astype(np.float64) - restored) @ unit) <= bound * (1 + 1e-3)).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_vector_that_is_not_finite_is_named(bad: float) -> None:
    rows = np.ones((3, 4), np.float32)
    rows[1, 2] = bad
    with pytest.raises(errors.InvalidArgument, match="vector 1 "):
        codec.quantise(rows)


@pytest.mark.parametrize(
    "message",
    [
        kpb.Vectors(dimension=4, data=b"12345", scales=b"1234"),
        kpb.Vectors(dimension=4, data=b"1234", scales=b"123"),
        kpb.Vectors(dimension=1, data=b"1", scales=np.float32(np.nan).tobytes()),
    ],
)
def test_vectors_whose_lengths_do_not_fit_are_refused(message: kpb.Vectors) -> None:
    with pytest.raises(errors.InvalidArgument, match=r"^rows: "):
        codec.vectors_from_proto(message, "rows")


@pytest.mark.parametrize(("ids", "scores"), [(b"1234567", b""), (b"12345678", b"123"), (b"12345678", b"12345678")])
def test_a_block_whose_lengths_do_not_fit_is_refused(ids: bytes, scores: bytes) -> None:
    with pytest.raises(errors.InvalidArgument, match="bytes of ids"):
        codec.block_from_proto(rpb.Block(ids=ids, scores=scores))


@given(st.lists(triples, max_size=30))
def test_chunks_hold_every_triple_in_order(given_triples: list[t.Triple]) -> None:
    assert [triple for chunk in codec.chunked(given_triples) for triple in chunk] == given_triples


def test_chunks_keep_their_limits() -> None:
    short, long = t.Triple("h", "r", "t"), t.Triple("h", "r", "x" * 200_000)
    assert [len(chunk) for chunk in codec.chunked([short] * 2500)] == [1024, 1024, 452]
    assert all(sum(len(one.tail) * 4 for one in chunk) <= codec.CHUNK_BYTES for chunk in codec.chunked([long] * 9))


def descendants(kind: type[errors.AtlasError]) -> list[type[errors.AtlasError]]:
    return [kind, *(deeper for child in kind.__subclasses__() for deeper in descendants(child))]


def test_every_error_has_a_status_of_its_own_and_comes_back_as_itself() -> None:
    kinds = descendants(errors.AtlasError)[1:]
    assert {errors.by_status[kind.status] for kind in kinds} == set(kinds)
    assert all(kind.__name__ in (errors.__doc__ or "") for kind in kinds)
