"""Every command line that the documentation shows exists, and docs/cli.md shows every command and flag."""

import argparse
import importlib
import importlib.util
import re
import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from atlasdb_client.cli import extensions
from atlasdb_client.cli.parser import build_parser

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```.*?\n(.*?)^```", re.DOTALL | re.MULTILINE)
SPAN = re.compile(r"`([^`\n]+)`")
PROGRAMS = ("atlasdb", "atlas-llm")
ENDS = ("|", "||", "&&", ";", "&", ">", ">>", "2>", "<", "#")


class Shown(NamedTuple):
    """A command line in a page: its words after the program's name."""

    page: str
    program: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {self.program} {' '.join(self.words)}"


def commands_in(text: str, page: str) -> Iterator[Shown]:
    """Lines of fenced blocks, with `$ ` and `\\` line ends, and code spans."""
    for block in FENCE.findall(text):
        for line in block.replace("\\\n", " ").splitlines():
            yield from shown(line, page)
    for span in SPAN.findall(FENCE.sub("", text)):
        yield from shown(span, page)


def shown(line: str, page: str) -> Iterator[Shown]:
    try:
        words = shlex.split(line.strip().removeprefix("$ ").replace("[", "").replace("]", ""))
    except ValueError:
        return
    while words and re.fullmatch(r"[A-Z_]+=.*", words[0]):
        words.pop(0)
    if words and words[0] in PROGRAMS:
        end = next((i for i, word in enumerate(words) if word.startswith("#") or word in ENDS), len(words))
        yield Shown(page, words[0], tuple(words[1:end]))


def parser_of(program: str, words: tuple[str, ...]) -> argparse.ArgumentParser:
    made: Callable[[], argparse.ArgumentParser] = build_parser
    if program == "atlas-llm":
        made = importlib.import_module("llm_runtime.cli").build_parser
    elif words and (extension := extensions.find(words[0])) is not None:
        made = importlib.import_module(extension.value.partition(":")[0]).parser
    return made()


def below(parser: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            return dict(action.choices)
    return {}


def unknown_in(command: Shown) -> list[str]:
    """The words that name no command or flag."""
    parser = parser_of(command.program, command.words)
    words = list(command.words)
    if parser.prog == f"atlasdb {words[0]}" if words else False:
        words.pop(0)
    unknown = []
    flags = dict(parser._option_string_actions)
    while words:
        word = words.pop(0)
        if word.startswith("-") and len(word) > 1 and word != "--":
            name, equals, _ = word.partition("=")
            if name not in flags:
                unknown.append(name)
            elif flags[name].nargs is None and not equals and words:
                words.pop(0)
        elif choices := below(parser):
            named = word.split("|")
            unknown += [name for name in named if name not in choices]
            parser = choices.get(named[0], parser)
            flags |= parser._option_string_actions
            if named[0] not in choices:
                break
    return unknown


SHOWN = [command for page in PAGES for command in commands_in(page.read_text("utf-8"), page.name)]


@pytest.mark.parametrize("command", [c for c in SHOWN if c.program == "atlasdb"], ids=str)
def test_every_atlasdb_command_shown_exists(command: Shown) -> None:
    assert unknown_in(command) == []


def test_every_atlas_llm_command_shown_exists() -> None:
    if importlib.util.find_spec("llm_runtime.cli") is None:
        pytest.skip("llm_runtime.cli is not written yet")
    assert [f"{c}: {unknown_in(c)}" for c in SHOWN if c.program == "atlas-llm" and unknown_in(c)] == []


def test_wrong_command_lines_are_found() -> None:
    block = "$ A=b atlasdb --json lod x | less\natlasdb load x \\\n  --colection y # comment"
    page = f"```sh\n{block}\n```\nand `atlasdb serve --port 1`"
    assert [unknown_in(command) for command in commands_in(page, "page")] == [["lod"], ["--colection"], ["--port"]]


def leaves(parser: argparse.ArgumentParser, path: str = "") -> Iterator[tuple[str, argparse.ArgumentParser]]:
    children = below(parser)
    if not children:
        yield path.strip(), parser
    for name, child in children.items():
        yield from leaves(child, f"{path} {name}")


def all_commands() -> list[tuple[str, argparse.ArgumentParser]]:
    return [*leaves(build_parser()), *((name, parser_of("atlasdb", (name,))) for name in extensions.names())]


@pytest.mark.parametrize(("path", "parser"), all_commands(), ids=lambda value: value if isinstance(value, str) else "")
def test_every_command_and_flag_is_in_the_reference(path: str, parser: argparse.ArgumentParser) -> None:
    reference = (ROOT / "docs" / "cli.md").read_text("utf-8")
    assert f"atlasdb {path}" in reference
    for flag in parser._option_string_actions:
        assert re.search(rf"(?<![\w-]){re.escape(flag)}(?![\w-])", reference) or flag == "-h", flag
