"""What the README and the guides tell users to put into the checkout never reaches a commit."""

from __future__ import annotations

import subprocess
from pathlib import Path

from recipes.site.command_lines import command_of
from tests.conftest import ROOT
from tests.docs.commands import commands, part_of

PAGES = [ROOT / "README.md", *sorted((ROOT / "docs/guides").glob("*.md"))]
PLACES = ("out", "bundle", "base")
"""Parameters that are text, but may name a folder."""


def places_of(command):
    """Return the first folder of each relative path in a command, and each file beside the sources."""
    called = part_of(command.words)
    if called is None:
        return set()
    part, (name, *arguments) = called
    given = command_of(part).commands[name].make_context(name, arguments).params
    found = set()
    for parameter, value in given.items():
        for item in value if isinstance(value, list | tuple) else [value]:
            written = str(item) in command.words
            if written and (isinstance(item, Path) or parameter in PLACES) and "://" not in str(item):
                found.add(Path(item))
    return {path for path in found if not path.is_absolute() and not (ROOT / path).exists()}


def ignored(path):
    return subprocess.run(["git", "check-ignore", "-q", str(path)], cwd=ROOT).returncode == 0


def test_every_folder_and_file_of_the_guides_is_ignored():
    places = {path for page in PAGES for command in commands(page) for path in places_of(command)}
    assert {Path("mine"), Path("bundle"), Path("report.html")} <= places
    assert sorted(str(path) for path in places if not ignored(path / "x" if not path.suffix else path)) == []


def test_nothing_of_the_repository_is_ignored():
    names = ["ls-files", "--cached", "--ignored", "--exclude-standard"]
    assert subprocess.run(["git", *names], cwd=ROOT, capture_output=True, text=True, check=True).stdout == ""
