"""The reference of the command lines, as the site shows it."""

from __future__ import annotations

import re

import pytest

from recipes.site.command_lines import APPS, command_of, markdown_of, settings_table
from tests.conftest import ROOT


def commands_in(group):
    for name, command in group.commands.items():
        yield name, command
        yield from commands_in(command) if hasattr(command, "commands") else ()


@pytest.mark.parametrize("part", APPS)
def test_the_reference_names_every_option(part):
    """The page is made from the code when the site is built; here its text is compared with the parser."""
    text = markdown_of(part)
    for name, command in commands_in(command_of(part)):
        assert re.search(rf"^### .*{name}$", text, re.MULTILINE)
        for option in [] if hasattr(command, "commands") else command.params:
            if option.param_type_name == "option" and option.name != "help":
                assert all(f"`{flag}`" in text for flag in (*option.opts, *option.secondary_opts)), option.opts
    assert f"<!-- command line: {part} -->" in (ROOT / "docs/reference/command-lines.md").read_text(encoding="utf-8")


def test_a_table_of_settings_shows_defaults_choices_and_ranges():
    text = settings_table("engine.bundle.settings", "GuidanceSettings")
    assert text.startswith("| name | default | meaning |\n")
    assert (
        "| `guidance_scale` | `None` | Guidance scale; 1 is no guidance (default: from the bundle). Range: 0 to" in text
    )
