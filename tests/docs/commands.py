"""The commands in the fenced blocks of the documents, and a check that each of them exists with its options."""

from __future__ import annotations

import importlib.util
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from recipes.site.command_lines import APPS, command_of
from tests.conftest import ROOT

PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs/guides").glob("*.md")),
    *sorted((ROOT / "docs/reference").glob("*.md")),
]
BLOCK = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
TOOLS = ("source", "apt", "pre-commit", "mlcroissant")
"""Commands of other projects, whose options are not checked."""


@dataclass(frozen=True)
class Command:
    """One command of a page, its words without comments and variables."""

    page: Path
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page.name}: {shlex.join(self.words)}"


def blocks(page: Path, language: str) -> list[str]:
    """Return the fenced blocks of a page in one language."""
    return [found[2] for found in BLOCK.finditer(page.read_text(encoding="utf-8")) if found[1] == language]


def commands(page: Path) -> list[Command]:
    """Return the commands of a page in their order, with each `for` loop unrolled."""
    return [Command(page, tuple(words)) for block in blocks(page, "bash") for words in _unrolled(_lines(block))]


def _lines(block: str) -> Iterator[list[str]]:
    for line in block.replace("\\\n", " ").splitlines():
        if words := shlex.split(line, comments=True):
            yield words


def _unrolled(lines: Iterator[list[str]]) -> Iterator[list[str]]:
    """`for NAME in WORDS...; do`, its body and `done` become the body once per word."""
    for words in lines:
        if words[0] != "for":
            yield words
            continue
        name, values = words[1], [word.rstrip(";") for word in words[3:-1]]
        body = list(itertools.takewhile(lambda line: line != ["done"], lines))
        for value in values:
            yield from ([word.replace(f"${name}", value) for word in line] for line in body)


def part_of(words: tuple[str, ...]) -> tuple[str, list[str]] | None:
    """Return the part and its arguments if the words call one of the project's command lines."""
    if words[0] == "engine":
        return "engine", list(words[1:])
    if words[:2] == ("python", "-m") and words[2] in APPS:
        return words[2], list(words[3:])
    return None


def check(command: Command) -> None:
    """Raise an error if the command, one of its options, a required argument, a target or a script does not exist."""
    words = command.words
    if called := part_of(words):
        check_arguments(*called)
    elif words[0] == "python":
        check_script(words[1:])
    elif words[0] == "make":
        check_make(words[1:])
    elif words[0] == "pip":
        check_extras(words[1:])
    elif words[0] == "cpp_bench/build/cyto_bench":
        source = (ROOT / "cpp_bench/src/options.cpp").read_text(encoding="utf-8")
        missing = [word for word in words[1:] if word.startswith("--") and f'"{word}"' not in source]
        assert missing in ([], ["--help"]), missing
    else:
        assert words[0] in TOOLS, f"unknown command {words[0]}"


def check_arguments(part: str, arguments: list[str]) -> None:
    """Let the part's own parser read the arguments, without running anything."""
    group = command_of(part)
    assert arguments[0] in group.commands, f"no command {arguments[0]}"
    group.commands[arguments[0]].make_context(arguments[0], arguments[1:])


def check_script(words: tuple[str, ...]) -> None:
    """Check that a script exists, and that its text names each option."""
    if words[0] == "-m":
        found = importlib.util.find_spec(words[1])
        assert found is not None, f"no module {words[1]}"
        path, arguments = Path(str(found.origin)), words[2:]
    else:
        path, arguments = ROOT / words[0], words[1:]
    text = path.read_text(encoding="utf-8")
    for word in arguments:
        name = word.removeprefix("--").replace("-", "_")
        assert not word.startswith("--") or word in text or re.search(rf"\b{name}\b", text), f"no option {word}"


def check_make(words: tuple[str, ...]) -> None:
    """Check targets, and that each variable is read."""
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    read = makefile + (ROOT / "benchmarks/bench.sh").read_text(encoding="utf-8")
    targets = re.search(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert targets is not None
    for word in words:
        name, given, _ = word.partition("=")
        assert name in read if given else name in targets[1].split(), f"no {word} in the Makefile"


def check_extras(words: tuple[str, ...]) -> None:
    """Check the extras in `cytosynth[...]` and `.[...]`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for word in words:
        if found := re.fullmatch(r"(?:cytosynth|\.)\[(.*)\]", word):
            assert set(found[1].split(",")) <= set(project["optional-dependencies"]), word
