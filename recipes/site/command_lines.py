"""Markdown that describes a command line, read from its Typer app. The site and the tests of the guides use it."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Iterator
from typing import Any

import typer

from engine.command_line import DeferredCommand
from engine.options import help_of

__all__ = ["APPS", "command_of", "markdown_of", "settings_table"]

APPS = {
    "engine": "engine.cli.app",
    "trainer": "trainer.cli.app",
    "exporter": "exporter.cli.app",
    "evaluate": "evaluate.cli.app",
    "benchmarks": "benchmarks.app",
}
"""The module that holds `app` for each command line."""


def command_of(part: str) -> Any:
    """Return the click group of a part, for example "trainer", with the parameters of every command."""
    group: Any = typer.main.get_command(importlib.import_module(APPS[part]).app)
    for name, command in group.commands.items():
        if isinstance(command, DeferredCommand):
            group.commands[name] = command.load()
    return group


def markdown_of(part: str) -> str:
    """Return the reference of a part's command line: a section per command, a table per panel of options."""
    group = command_of(part)
    program = part if part == "engine" else f"python -m {part}"
    sections = [text for name, command in group.commands.items() for text in _sections(program, command, name)]
    return "\n\n".join([f"## {program}", *sections])


def settings_table(module: str, name: str) -> str:
    """Return a table of the fields of a settings dataclass: name, default, meaning."""
    rows = []
    for field in dataclasses.fields(getattr(importlib.import_module(module), name)):
        default = "required" if field.default is dataclasses.MISSING else f"`{field.default!r}`"
        rows.append([f"`{field.name}`", default, _text(help_of(field))])
    return "\n".join(_table(["name", "default", "meaning"], rows))


def _sections(program: str, command: Any, name: str) -> Iterator[str]:
    """Yield the section of a command, and those of its commands if it has any."""
    members = getattr(command, "commands", None)
    if members is None:
        yield _command(program, command, name)
        return
    yield f"### {program} {name}\n\n{_text(command.help)}"
    for member in members:
        yield _command(f"{program} {name}", members[member], member)


def _command(program: str, command: Any, name: str) -> str:
    arguments = [one for one in command.params if one.param_type_name == "argument"]
    options = [one for one in command.params if one.param_type_name == "option" and one.name != "help"]
    usage = " ".join([f"{program} {name}", *map(_metavar, arguments), "[OPTIONS]"])
    lines = [f"### {program} {name}", "", _text(command.help), "", "```console", f"$ {usage}", "```"]
    if arguments:
        rows = [[f"`{_metavar(one)}`", _text(one.help)] for one in arguments]
        lines += ["", *_table(["argument", "meaning"], rows)]
    for panel, members in _by_panel(options).items():
        rows = [[_names(one), _default(one), _text(one.help)] for one in members]
        lines += ["", *([f"**{panel}**", ""] if panel else []), *_table(["option", "default", "meaning"], rows)]
    return "\n".join(lines)


def _metavar(argument: Any) -> str:
    return str(argument.metavar or argument.name.upper())


def _by_panel(options: list[Any]) -> dict[str, list[Any]]:
    """Group options by the panel that shows them in the help, in the order of their first option."""
    panels: dict[str, list[Any]] = {}
    for one in options:
        panels.setdefault(getattr(one, "rich_help_panel", None) or "", []).append(one)
    return panels


def _names(option: Any) -> str:
    names = ", ".join(f"`{name}`" for name in option.opts)
    if option.secondary_opts:
        names += "".join(f" / `{name}`" for name in option.secondary_opts)
    return names


def _default(option: Any) -> str:
    if option.required:
        return "required"
    value = option.default
    if value is None or callable(value):
        return ""
    if isinstance(value, bool):
        return ("yes" if value else "no") if option.secondary_opts else ""
    if isinstance(value, list | tuple):
        return ", ".join(f"`{one}`" for one in value)
    return f"`{value}`"


def _text(words: str | None) -> str:
    # Help texts mark brackets, which Typer would take for markup.
    return _one_paragraph(words or "").replace("\\[", "[").replace("|", "\\|").replace("<", "&lt;").replace("[", "\\[")


def _one_paragraph(words: str) -> str:
    return " ".join(words.split())


def _table(header: list[str], rows: list[list[str]]) -> Iterator[str]:
    yield f"| {' | '.join(header)} |"
    yield f"| {' | '.join('---' for _ in header)} |"
    for row in rows:
        yield f"| {' | '.join(row)} |"
