"""Every command: its errors are one line on standard error, and its exit status is one of three."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

import atlasdb.__main__
import atlasdb.migrate
import atlasdb.planning.command
import atlasdb.restore
import atlasdb_client.cli
import llm_runtime.cli
from atlasdb_client.cli import extensions
from atlasdb_contract.command import FAILED, MISUSED, OK, command
from atlasdb_contract.errors import InvalidArgument, NotFound

Main = Callable[[Sequence[str]], int]
MAINS: dict[str, Main] = {
    "atlasdb": atlasdb_client.cli.main,
    "atlasdb serve": atlasdb.__main__.main,
    "atlasdb migrate": atlasdb.migrate.main,
    "atlasdb plan": atlasdb.planning.command.main,
    "atlasdb snapshot restore": atlasdb.restore.main,
    "atlas-llm": llm_runtime.cli.main,
}


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ATLASDB_DATA", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "1")  # as the commands would, for good


def said(capsys: pytest.CaptureFixture[str], program: str) -> str:
    """The one line of an error, after its beginning."""
    out, error = capsys.readouterr()
    assert (out, error.count("\n")) == ("", 1)
    assert error.startswith(f"{program}: error: ")
    return error.removeprefix(f"{program}: error: ").rstrip("\n")


def test_every_extension_is_among_them() -> None:
    assert {f"atlasdb {name}" for name in extensions.names()} <= set(MAINS)


@pytest.mark.parametrize("name", MAINS)
def test_help_is_status_0(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert MAINS[name](["--help"]) == OK
    assert capsys.readouterr().out.startswith(f"usage: {name} ")


@pytest.mark.parametrize(
    ("name", "flags", "complaint"),
    [
        ("atlasdb", [], "required: COMMAND"),
        ("atlasdb", ["lod"], "invalid choice: 'lod'"),
        ("atlasdb", ["count"], "required: --collection"),
        ("atlasdb", ["stats", "--nonsense\nof two lines"], "unrecognized arguments: --nonsense of two lines"),
        ("atlasdb serve", ["--dat", "x"], "unrecognized arguments: --dat"),
        ("atlasdb serve", ["--data", "x", "--map-bytes", "many"], "invalid int value: 'many'"),
        ("atlasdb serve", [], "give --data DIR"),
        ("atlasdb serve", ["--data", "x", "--listen", "7420"], "HOST:PORT"),
        ("atlasdb migrate", ["--nonsense"], "unrecognized arguments: --nonsense"),
        ("atlasdb migrate", [], "give --data DIR"),
        ("atlasdb plan", [], "required: --entries"),
        ("atlasdb plan", ["--entries", "many"], "not a number"),
        ("atlasdb plan", ["--entries", "1e3", "--dim", "0"], "the dimension is 0"),
        ("atlasdb snapshot restore", ["one"], "required: --data"),
        ("atlas-llm", ["ask", "--collectio", "x"], "required: --collection"),
    ],
    ids=str,
)
def test_wrong_usage_is_status_2(
    name: str, flags: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert MAINS[name](flags) == MISUSED
    line = said(capsys, name.partition(" ")[0])
    assert complaint in line
    assert line.endswith(" --help'")


def test_failures_are_status_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nowhere = str(tmp_path / "nowhere")
    for name, flags, complaint in (
        ("atlasdb migrate", ["--data", nowhere], "there is no store in"),
        ("atlasdb plan", ["--entries", "1e6", "--data", nowhere], "no folder that can be written"),
        ("atlasdb snapshot restore", ["one", "--data", nowhere], "one"),
        ("atlasdb", ["snapshot", "restore", "one", "--data", nowhere], "one"),
        ("atlasdb", ["migrate", "--data", nowhere], "there is no store in"),
    ):
        assert MAINS[name](flags) == FAILED
        assert complaint in said(capsys, "atlasdb")


@pytest.mark.parametrize(
    ("error", "line"),
    [(NotFound("of two\nlines"), "of two lines"), (InvalidArgument("bad"), "bad"), (KeyboardInterrupt(), "stopped")],
    ids=repr,
)
def test_however_a_command_ends_there_is_a_status(
    error: BaseException, line: str, capsys: pytest.CaptureFixture[str]
) -> None:
    @command("program")
    def main() -> int:
        raise error

    assert main() == FAILED
    assert said(capsys, "program") == line
