"""Explanations over the wire, and as the command prints them."""

import io
import json
from collections.abc import Callable, Iterator
from contextlib import redirect_stdout
from pathlib import Path

import grpc
import pytest
from serving import Served, Wire, random_vectors, serving, triple

from atlasdb.service.encoder import LazyEncoder
from atlasdb_client import Beams, connect
from atlasdb_client.cli import main, output
from atlasdb_client.cli.output import Branch
from atlasdb_contract import codec
from atlasdb_contract.codec_explanation import explanation_from_proto
from atlasdb_contract.errors import InvalidArgument
from atlasdb_contract.types import About, Fate
from atlasdb_contract.v1 import retrieval_pb2 as rpb

SAMPLE = Path(__file__).resolve().parents[2] / "examples" / "sample.tsv"
TEXT = "place of birth of Marie Curie"


def request(**more: object) -> rpb.FetchRequest:
    return rpb.FetchRequest(collection="facts", rows=codec.vectors_to_proto(random_vectors(1)), k=3, **more)


def fetched(wire: Wire, asked: rpb.FetchRequest) -> rpb.Block:
    [block] = wire.retrieval.Fetch(iter([asked]), timeout=60)
    return block


def test_a_block_is_explained_only_where_that_was_asked(wire: Wire) -> None:
    wire.create()
    wire.fill(50)
    plain = fetched(wire, request())
    assert not plain.HasField("explanation")
    message = fetched(wire, request(explain=True, about=[7, 99], about_triples=[triple(3)]))
    assert message.ids == plain.ids
    explanation = explanation_from_proto(message.explanation)
    assert [one.entry for one in explanation.verdicts] == [7, 99, 4]
    assert explanation.verdicts[1].fate is Fate.ABSENT
    assert (explanation.delta_slots, explanation.candidates) == (50, 50)


@pytest.mark.parametrize(
    ("bad", "said"),
    [
        ({"explain": True, "exact": True}, "ask for one of the two"),
        ({"about": [1]}, "explain is not set"),
        ({"explain": True, "about": range(1, 66)}, "at most 64"),
    ],
)
def test_an_explanation_that_there_is_not_is_refused(wire: Wire, bad: dict[str, object], said: str) -> None:
    wire.create()
    wire.fill(3)
    with pytest.raises(grpc.RpcError) as error:
        fetched(wire, request(**bad))
    assert error.value.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert said in error.value.details()


def test_the_client_explains_rows(served: Served, wire: Wire) -> None:
    wire.create()
    keys = wire.fill(200)
    with connect(served.targets["unix"]) as client:
        list(client.build("facts"))
        block, explanation = client.explain("facts", keys.take([41]), 1, ids=[42, 5], triples=[("no", "such", "fact")])
        assert block.ids.tolist() == [42]
        assert [one.fate for one in explanation.verdicts] == [Fate.CHOSEN, explanation.verdicts[1].fate, Fate.ABSENT]
        _, narrow = client.explain("facts", keys.take([41]), 1, beams=Beams(1, 1))
        assert narrow.trees[0].walks[0].opened == 1
        with client.fetch_stream("facts") as stream:
            assert stream.fetch(keys, 1).explanation is None
            assert stream.fetch(keys, 1, explain=About()).explanation is not None
        with pytest.raises(InvalidArgument, match="0 is no entry id"):
            client.explain("facts", keys, 1, ids=[0])
        with pytest.raises(InvalidArgument, match="the text to search for is empty"):
            client.explain("facts", " ")


# ---- the command ----

Run = Callable[..., str]


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory, encoder: LazyEncoder) -> Iterator[Served]:
    """A server with some of the sample graph under a tree, and one fact in the delta."""
    folder = tmp_path_factory.mktemp("sample")
    lines = SAMPLE.read_text("utf-8").splitlines(keepends=True)
    (folder / "some.tsv").write_text("".join(lines[:1500]), "utf-8")
    for served in serving(folder, encoder):
        server = ("--server", served.targets["unix"])
        assert main([*server, "load", str(folder / "some.tsv"), "--collection", "sample", "--build"]) == 0
        (folder / "new.tsv").write_text("Ilsabe Quandtner\tprofession\tbotanist\n")
        assert main([*server, "load", str(folder / "new.tsv"), "--collection", "sample"]) == 0
        assert main([*server, "delete", "--collection", "sample", "900"]) == 0
        yield served


@pytest.fixture
def run(sample: Served, capsys: pytest.CaptureFixture[str]) -> Run:
    def run(*arguments: object) -> str:
        capsys.readouterr()
        words = ["explain", TEXT, "--collection", "sample", *map(str, arguments)]
        assert main(["--server", sample.targets["unix"], *words]) == 0
        return capsys.readouterr().out

    return run


def test_the_command_shows_the_descent_as_a_tree(run: Run) -> None:
    lines = run("-k", 5).splitlines()
    assert lines[0].startswith(f'"{TEXT}" in sample: 5 entries in ')
    shown = "\n".join(lines)
    for words in ("├─ generation 1: ", "│  ├─ ROOT: ", "│  ├─ INTER: ", "│  └─ LEAF: ", "├─ delta: 1 slot compared"):
        assert words in shown
    assert any("Marie Curie: opened" in line for line in lines)
    assert any(line.endswith("(Marie Curie, place of birth, Warsaw)") for line in lines)
    stages = [line.split()[-3].rstrip(":") for line in lines if line.endswith(" µs")]
    assert stages == ["view", "rows", "ROOT", "INTER", "LEAF", "delta", "scores", "block", "values"]
    assert lines[-1].startswith("   └─ values: ")


def test_the_command_says_of_an_entry_why_it_is_not_found(run: Run) -> None:
    triples = ("--triple", "Ilsabe Quandtner", "profession", "botanist", "--triple", "a", "b", "c")
    out = run("-k", 3, "--entry", 6, "--entry", 900, "--entry", 1400, "--entry", 99999, *triples)
    assert "entry 6 (Marie Curie, place of birth, Warsaw) is number 1 of the block, with the score " in out
    assert "entry 900 was deleted" in out
    assert "entry 99999 is not in the collection" in out
    assert "(Ilsabe Quandtner, profession, botanist) is not in the block: number " in out
    assert "the triple (a, b, c) is not in the collection" in out
    assert "and the last of the block has 0." in out


def test_the_command_gives_everything_as_json(run: Run) -> None:
    told = json.loads(run("-k", 2, "--json", *[word for entry in range(1, 61) for word in ("--entry", entry)]))
    assert told["block"][0]["tail"] == "Warsaw"
    explanation = told["explanation"]
    [tree] = explanation["trees"]
    [walk] = tree["walks"]
    assert walk["opened"] <= walk["compared"] <= walk["met"] == told["cost"]["inter_scored"] - walk["looked"]
    assert {one["fate"] for one in explanation["verdicts"]} <= {"chosen", "beaten", "passed"}
    assert walk["end"] in ("all", "depth", "beam")


def test_a_tree_is_plain_where_the_output_is_not_utf_8() -> None:
    tree = Branch("a", [Branch("b\x1b", [Branch("ç")]), Branch("d", [Branch("e")])])
    assert printed(tree, "utf-8") == ["a", "├─ b\\x1b", "│  └─ ç", "└─ d", "   └─ e"]
    for encoding in ("ascii", "latin-1"):
        assert printed(tree, encoding) == ["a", "|- b\\x1b", "|  `- \\xe7", "`- d", "   `- e"]


def printed(tree: Branch, encoding: str) -> list[str]:
    out = io.TextIOWrapper(io.BytesIO(), encoding)
    with redirect_stdout(out):
        output.print_tree(tree)
    out.seek(0)
    return out.read().splitlines()
