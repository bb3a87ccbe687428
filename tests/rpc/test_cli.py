"""The `atlasdb` command against a running server, as people type it."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from serving import Served, Spawned, serving

from atlasdb.service.encoder import LazyEncoder
from atlasdb_client import CollectionConfig, Triple, connect
from atlasdb_client.cli import admin, extensions, main, output
from atlasdb_client.readers import TripleFile

PEOPLE = """head\trelation\ttail
Ada Lovelace\tprofession\tmathematician
Ada Lovelace\tplace of birth\tLondon
Marie Curie\tplace of birth\tWarsaw
Marie Curie\tprofession\tphysicist
France\thas capital\tParis
"""


class Done(NamedTuple):
    status: int
    out: str
    err: str

    @property
    def json(self) -> object:
        return json.loads(self.out)


Run = Callable[..., Done]


@pytest.fixture
def server(tmp_path: Path, encoder: LazyEncoder) -> Iterator[Served]:
    """A server with the encoder, empty."""
    (tmp_path / "server").mkdir()
    yield from serving(tmp_path / "server", encoder)


@pytest.fixture
def run(server: Served, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """`atlasdb ARGUMENTS` with ATLASDB_SERVER set."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("ATLASDB_SERVER", server.targets["unix"])

    def run(*arguments: object) -> Done:
        status = main([str(argument) for argument in arguments])
        return Done(status, *capsys.readouterr())

    return run


@pytest.fixture
def people(run: Run, tmp_path: Path) -> str:
    (tmp_path / "people.tsv").write_text(PEOPLE)
    assert run("load", tmp_path / "people.tsv", "--collection", "people").status == 0
    return "people"


def test_a_verification_that_was_cut_off_is_resumed(run: Run, server: Served, people: str) -> None:
    failed(run("verify", "--resume"), "no verification was cut off")
    with connect(server.targets["unix"]) as client:
        cursor = [step.cursor for step in client.verify()][-1]
    kept = admin._kept(server.targets["unix"], "")
    kept.parent.mkdir(parents=True)
    kept.write_text(json.dumps({"cursor": cursor.hex(), "damage": ["found before"]}))
    done = run("verify", "--resume", "--json")
    assert (done.status, done.json) == (1, {"collection": None, "damage": ["found before"]})
    assert not kept.exists()
    kept.write_text("{}")
    failed(run("verify", "--resume"), "leave out --resume")


def failed(done: Done, *said: str, status: int = 1) -> None:
    assert (done.status, done.out) == (status, "")
    assert re.fullmatch(r"atlasdb: error: .*\n", done.err), done.err
    for words in said:
        assert words in done.err


def test_load_says_what_it_did_and_a_second_load_changes_nothing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "people.tsv"
    file.write_text(PEOPLE)
    done = run("load", file, "--collection", "people")
    assert done.status == 0
    assert re.match(r"people: 5 triples in .* 5 entries new, 0 triples there already; 5 entries in all", done.out)
    again = run("load", file, "--collection", "people", "--json").json
    assert isinstance(again, dict)
    assert {k: again[k] for k in ("lines", "acked", "created", "existing", "bad", "refused", "entries")} == {
        "lines": 5, "acked": 5, "created": 0, "existing": 5, "bad": 0, "refused": 0, "entries": 5
    }  # fmt: skip


def test_load_makes_the_collection_as_told_and_builds(run: Run, tmp_path: Path) -> None:
    (tmp_path / "people.tsv").write_text(PEOPLE)
    (tmp_path / "phrases.json").write_text('{"profession": "calling"}')
    flags = ("--inverse", "has capital, place of birth", "--phrases", tmp_path / "phrases.json", "--build")
    assert run("load", tmp_path / "people.tsv", "--collection", "made", *flags).status == 0
    [made] = run("collections", "list", "--json").json
    assert (made["entries"], made["generation"]) == (8, 1)
    assert (made["inverse"], made["phrases"]) == (["has capital", "place of birth"], {"profession": "calling"})
    assert "calling of Ada Lovelace" in run("get", "--collection", "made", 1).out


def test_bad_lines_are_reported_with_their_numbers(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "bad.csv"
    file.write_text("a,b,c\nonly two,columns\nd,e,f\n")
    done = run("load", file, "--collection", "facts")
    assert done.status == 0
    assert f"{file}:2: 2 columns instead of 3" in done.err
    assert "not loaded: 1 line" in done.out
    done = run("load", file, "--collection", "strict", "--on-bad", "fail")
    assert (done.status, done.out) == (1, "")
    assert done.err.splitlines()[-1].startswith(f"atlasdb: error: {file}:2: 2 columns instead of 3")
    assert run("count", "--collection", "strict").out == "1\n"


def test_errors_are_one_line_that_says_what_to_do(run: Run, people: str, tmp_path: Path) -> None:
    (tmp_path / "empty.tsv").touch()
    (tmp_path / "facts.nt").touch()
    failed(run("load", tmp_path / "empty.tsv", "--collection", "x"), "empty.tsv holds no triples")
    failed(run("load", tmp_path / "facts.nt", "--collection", "x"), ".tsv, .csv, .jsonl")
    failed(run("load", tmp_path / "none.tsv", "--collection", "x"), "there is no file")
    failed(
        run("load", tmp_path / "empty.tsv", "--collection", "x", "--encoder", "none"),
        "give their vectors with --keys and --values",
    )
    failed(run("load", tmp_path / "empty.tsv", "--collection", "x", "--phrases", tmp_path / "p.json"), "no")
    for command in ("count", "export", "build", "stats", "verify"):
        failed(run(command, "--collection", "nowhere"), "nowhere", people)
    failed(run("search", "x", "--collection", "nowhere"), "nowhere", people)
    failed(run("search", " ", "--collection", people), "empty")
    failed(run("collections", "create", "Not A Name"), "Not A Name")
    failed(run("collections", "create", people), "people")
    failed(run("delete", "--collection", people), "--triple HEAD RELATION TAIL")
    failed(run("get", "--collection", people, 99), "no entry 99")


def test_a_server_that_is_not_there_is_told_with_what_to_do(run: Run, tmp_path: Path) -> None:
    (tmp_path / "facts.tsv").write_text("a\tb\tc\n")
    for arguments in (
        ("stats",),
        ("count", "--collection", "x"),
        ("load", tmp_path / "facts.tsv", "--collection", "x"),
    ):
        failed(
            run(*arguments, "--server", f"unix:{tmp_path}/none"), "atlasdb serve --data DIR", f"unix:{tmp_path}/none"
        )
    failed(run("--server", "localhost", "stats"), "HOST:PORT")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "COMMAND"),
        (["lod"], "invalid choice: 'lod'"),
        (["load", "x.tsv"], "--collection"),
        (["search", "x", "--collection", "y", "-k", "0"], "0 is too small"),
        (["get", "--collection", "y", "seven"], "'seven' is not a whole number"),
        (["stats", "--colour"], "--colour"),
        (["verify", "--rate", "fast"], "megabytes a second"),
        (["load", "x.tsv", "--coll", "y"], "--coll"),
    ],
)
def test_wrong_usage_is_one_line_and_status_2(run: Run, arguments: Sequence[str], said: str) -> None:
    failed(run(*arguments), said, status=2)


def test_the_server_may_be_named_before_and_after_the_command(
    run: Run, people: str, server: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ATLASDB_SERVER", "unix:/nowhere")
    address = server.targets["tcp"]
    for arguments in (("--server", address, "count"), (f"--server={address}", "count"), ("count", "--server", address)):
        assert run(*arguments, "--collection", people).out == "5\n"
    assert run("--json", "count", "--collection", people, "--server", address).json == {
        "collection": people,
        "entries": 5,
    }


def test_search_finds_the_nearest_entries(run: Run, people: str) -> None:
    text = "place of birth of Marie Curie"
    done = run("search", text, "--collection", people, "-k", 2)
    title, first, _ = done.out.splitlines()
    assert title.split() == ["cosine", "id", "head", "relation", "tail"]
    assert "Warsaw" in first
    for exact in ((), ("--exact",)):
        [hit] = run("search", text, "--collection", people, "-k", 1, "--json", *exact).json
        assert (hit["head"], hit["relation"], hit["tail"], hit["id"]) == ("Marie Curie", "place of birth", "Warsaw", 3)
        assert hit["cosine"] > 0.9


def test_get_shows_what_is_there_and_names_what_is_not(run: Run, people: str) -> None:
    done = run("get", "--collection", people, 2, 1, 77, "--json")
    assert [entry["id"] for entry in json.loads(done.out)] == [2, 1]
    assert done.status == 1
    assert done.err == "atlasdb: error: people has no entry 77\n"
    assert "place of birth of Ada Lovelace" in run("get", "--collection", people, 2).out


def test_get_takes_triples_too(run: Run, people: str) -> None:
    ada, curie = ("Ada Lovelace", "profession", "mathematician"), ("Marie Curie", "profession", "physicist")
    done = run("get", "--collection", people, 2, "--triple", *curie, "--triple", *ada, "--json")
    assert [entry["id"] for entry in json.loads(done.out)] == [2, 4, 1]
    assert done.status == 0
    done = run("get", "--collection", people, 77, "--triple", "a", "b", "c", "--triple", *ada, "--json")
    assert [entry["id"] for entry in json.loads(done.out)] == [1]
    assert done.err == "atlasdb: error: people has no entry 77 and no triple (a, b, c)\n"
    failed(run("get", "--collection", people), "--triple HEAD RELATION TAIL")
    failed(run("get", "--collection", people, "--triple", "a", "", "c"), "the relation is empty")


def test_delete_goes_by_id_and_by_triple(run: Run, people: str) -> None:
    triple = ("--triple", "France", "has capital", "Paris")
    assert run("delete", "--collection", people, 1, 2, *triple).out == "deleted 3 entries\n"
    assert run("delete", "--collection", people, *triple, "--json").json == {"deleted": 0, "missing": 1}
    assert run("count", "--collection", people).out == "2\n"


def test_stats_count_exactly(run: Run, people: str) -> None:
    [one] = run("stats", "--json", "--collection", people).json["collections"]
    assert (one["entries"], one["triples"], one["inverse_entries"], one["distinct_values"]) == (5, 5, 0, 5)
    text = run("stats").out
    assert re.search(r"^entries +5$", text, re.MULTILINE)
    assert re.search(r"^server +atlasdb ", text, re.MULTILINE)


def test_build_and_verify_say_how_it_went(run: Run, people: str) -> None:
    assert re.match(r"built generation 1 of people in ", run("build", "--collection", people).out)
    assert run("build", "--collection", people, "--seed", 2, "--json").json["generation"] == 2
    assert run("verify").out == "no damage in any collection\n"
    assert run("verify", "--rate", "100").out == "no damage in any collection\n"
    assert run("repair").out == "nothing to repair\n"
    nothing = {"collection": people, "dry_run": True, "restored": [], "lost": []}
    assert run("repair", "--dry-run", "--collection", people, "--json").json == nothing
    assert run("verify", "--collection", people, "--json").json == {"collection": people, "damage": []}


def test_a_quota_is_set_shown_and_kept(run: Run, people: str, tmp_path: Path) -> None:
    assert run("collections", "create", "few", "--max-entries", 3, "--max-bytes", 10**9).status == 0
    (tmp_path / "four.tsv").write_text("".join(f"a\tb\t{n}\n" for n in range(4)))
    failed(run("load", tmp_path / "four.tsv", "--collection", "few"), "0 of at most 3 entries, and 4 more came", "set")
    assert "3 entries, 1.0 GB" in run("collections", "list").out
    assert "quota none" in run("collections", "set", "few", "--max-entries", 0, "--max-bytes", 0).out
    assert run("load", tmp_path / "four.tsv", "--collection", "few").status == 0
    made = run("collections", "set", "few", "--max-entries", 4, "--json").json
    assert (made["max_entries"], made["max_bytes"]) == (4, 0)
    assert "4 of 4" in run("stats", "--collection", "few").out
    failed(run("collections", "set", people), "nothing to set")


def test_collections_are_listed_made_and_dropped(run: Run, people: str) -> None:
    assert run("collections", "create", "bare", "--encoder", "none", "--dimension", 8).status == 0
    assert run("collections", "create", "bare", "--encoder", "none", "--dimension", 8, "--if-missing").status == 0
    listed = run("collections", "list").out.splitlines()
    assert [line.split()[0] for line in listed] == ["name", "bare", "people"]
    failed(run("collections", "drop", people), "5 entries", "--yes")
    assert run("collections", "drop", people, "--yes").out == "dropped people with 5 entries\n"
    assert [one["name"] for one in run("collections", "list", "--json").json] == ["bare"]


@pytest.mark.parametrize("name", ["out.tsv", "out.tsv.gz", "out.jsonl", "out.jsonl.gz"])
def test_an_export_loads_again_as_the_same_triples(run: Run, people: str, tmp_path: Path, name: str) -> None:
    (tmp_path / "more.jsonl").write_text(
        '["head", "relation", "tail"]\n{"head":"日本","relation":"r","tail":"t","source":"s"}\n'
    )
    assert run("load", tmp_path / "more.jsonl", "--collection", people).status == 0
    assert run("export", "--collection", people, "-o", tmp_path / name).out == f"wrote 7 triples to {tmp_path / name}\n"
    with TripleFile(tmp_path / name) as file:
        exported = list(file)
    assert exported[-1] == Triple("日本", "r", "t", "s")
    assert exported[-2] == Triple("head", "relation", "tail")
    assert run("load", tmp_path / name, "--collection", "again").status == 0
    kind = "jsonl" if "jsonl" in name else "tsv"
    first, second = (run("export", "--collection", c, "--format", kind).out for c in (people, "again"))
    assert first == second


def test_tsv_cant_hold_tabs_so_jsonl_is_suggested(run: Run, tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text(
        '["a\\tb", "c", "d\\ne"]\n{"head":"a","relation":"b","tail":"c","metadata":{"x":"y"}}\n'
    )
    assert run("load", tmp_path / "odd.jsonl", "--collection", "odd").status == 0
    done = run("export", "--collection", "odd", "-o", tmp_path / "out.tsv")
    failed(done, "tab or a line break", "--format jsonl")
    assert not list(tmp_path.glob("out.tsv*"))
    assert run("export", "--collection", "odd", "--format", "jsonl").out.count("\n") == 2
    assert run("delete", "--collection", "odd", 1).status == 0
    assert "metadata" in run("export", "--collection", "odd").err


def test_inverse_entries_are_not_exported_as_triples(run: Run, tmp_path: Path) -> None:
    (tmp_path / "people.tsv").write_text(PEOPLE)
    assert run("load", tmp_path / "people.tsv", "--collection", "both", "--inverse", "all").status == 0
    assert run("count", "--collection", "both").out == "10\n"
    assert run("export", "--collection", "both").out.count("\n") == 6


def test_stored_text_does_not_steer_the_terminal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "odd.jsonl").write_text(json.dumps(["a\x1b[31m", "b", "c\nd"]))
    assert run("load", tmp_path / "odd.jsonl", "--collection", "odd").status == 0
    out = run("get", "--collection", "odd", 1).out
    assert "\x1b" not in out
    assert len(out.splitlines()) == 2


def test_serve_is_found_by_its_entry_point_and_its_absence_is_explained(run: Run) -> None:
    assert run("serve", "--help").status == 0
    assert "--data" in run("serve", "--help").out
    assert "serve" in run("--help").out
    missing = extensions.Extension("serve", "a_package_that_is_not_here.module:main")
    with pytest.raises(extensions.FailedPrecondition, match=r"needs the server: pip install 'atlasdb\[server\]'"):
        missing.run([])


def test_tables_align(capsys: pytest.CaptureFixture[str]) -> None:
    output.print_table(("name", "entries"), [("日本", 7), ("people", 123456)])
    assert capsys.readouterr().out.splitlines() == ["name    entries", "日本          7", "people  123,456"]


def many_facts(folder: Path, count: int) -> Path:
    """Distinct facts of few distinct texts, so that encoding them is quick: 200 keys, count / 200 values."""
    lines = (f'["head {i % 40}", "relation {i // 40 % 5}", "tail {i // 200}"]\n' for i in range(count))
    (folder / "many.jsonl").write_text("".join(lines))
    return folder / "many.jsonl"


def atlasdb(address: str, *arguments: object) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "atlasdb_client.cli", "--server", address, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@contextlib.contextmanager
def loading(address: str, file: Path, entries: int) -> Iterator["subprocess.Popen[str]"]:
    """`atlasdb load` in a process of its own, once it has stored `entries`."""
    with atlasdb(address, "load", file, "--collection", "many") as process, connect(address) as client:
        try:
            while process.poll() is None and (not client.collections() or client.count("many") < entries):
                time.sleep(0.02)
            yield process
        finally:
            process.kill()


def test_ctrl_c_stops_a_load_safely_and_the_same_command_continues(server: Served, tmp_path: Path) -> None:
    address, file = server.targets["unix"], many_facts(tmp_path, 400_000)
    with loading(address, file, 1000) as process:
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode == 1
    assert "Traceback" not in err
    assert re.search(r"atlasdb: error: stopped; .* triples of the load are stored, and the same command continues", err)


def test_a_killed_load_started_again_ends_with_the_same_counts(server: Served, run: Run, tmp_path: Path) -> None:
    address, file = server.targets["unix"], many_facts(tmp_path, 20_000)
    with loading(address, file, 1) as process:
        os.kill(process.pid, signal.SIGKILL)
    assert run("load", file, "--collection", "many").status == 0
    [one] = run("stats", "--json").json["collections"]
    assert (one["entries"], one["triples"], one["distinct_values"]) == (20_000, 20_000, 100)


def test_a_load_outlives_a_killed_server(spawn: Callable[..., Spawned], tmp_path: Path) -> None:
    server = spawn(tmp_path / "data")
    file = many_facts(tmp_path, 40_000)
    with loading(server.address, file, 1) as process:
        server.stop(signal.SIGKILL)
        spawn(tmp_path / "data", listen=server.address)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert f"the server at {server.address} went away; trying for 60 s" in err
    assert f"the server at {server.address} is back" in err
    assert "40,000 triples" in out
    with connect(server.address) as client:
        assert client.count("many") == 40_000


def test_vectors_given_by_a_client_are_exported_without_them(run: Run, server: Served) -> None:
    with connect(server.targets["unix"]) as client:
        client.create_collection("bare", CollectionConfig("none", 4))
        list(client.insert("bare", [("a", "b", "c")], np.eye(1, 4), np.eye(1, 4)))
    assert run("export", "--collection", "bare").out == "head\trelation\ttail\tsource\na\tb\tc\t\n"
