"""How every command line of the project is built: `-h`, `--version`, shell completion, and commands that are imported
when they run."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable, Mapping
from types import CodeType
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from engine.version import __version__

__all__ = ["DeferredCommand", "new_command_line"]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"cytosynth {__version__}")
        raise typer.Exit


def new_command_line(
    help_text: str, commands: Mapping[str, str] | None = None, *, completion: bool = False
) -> typer.Typer:
    """Return a command line.

    Args:
        help_text: What `--help` shows first.
        commands: Where the function of each command is, such as "engine.cli.generate:generate". Its module is imported
            when the command runs or shows its own help. The list of commands needs no import.
        completion: Offer `--install-completion`. A shell completes programs, not `python -m`.
    """
    app = typer.Typer(
        no_args_is_help=True,
        add_completion=completion,
        pretty_exceptions_enable=False,
        help=help_text,
        context_settings={"help_option_names": ["-h", "--help"]},
    )

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", is_eager=True, callback=_print_version, help="Show the version and exit.")
        ] = False,
    ) -> None:
        """Take the options that come before a command."""

    for name, place in (commands or {}).items():
        module, _, function = place.partition(":")
        app.command(name, cls=DeferredCommand, help=_docstring(module, function))(_importer(module, function))
    return app


class DeferredCommand(TyperCommand):
    """A command that shows its name and help in a list. Whatever else is asked of it, `load` answers."""

    def load(self) -> TyperCommand:
        """Import the command's module. Return the command with its parameters."""
        assert self.callback is not None, "every command has an importer"
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        app.command(self.name)(self.callback())
        command = typer.main.get_command(app)
        assert isinstance(command, TyperCommand), "an app of one command is that command"
        return command

    def make_context(self, *arguments: Any, **options: Any) -> Any:
        """Parse the arguments of the command, whose module is imported now."""
        return self.load().make_context(*arguments, **options)


def _importer(module: str, function: str) -> Callable[[], Callable[..., None]]:
    def load() -> Callable[..., None]:
        found: Callable[..., None] = getattr(importlib.import_module(module), function)
        return found

    return load


def _docstring(module: str, function: str) -> str:
    """Return the docstring of a function. It is read from the compiled module, which is not executed."""
    spec = importlib.util.find_spec(module)
    assert spec is not None, f"no module {module}"
    loader: Any = spec.loader
    codes = [code for code in loader.get_code(module).co_consts if isinstance(code, CodeType)]
    # Python puts the docstring of a function first. It is None if Python runs with -OO.
    return next(code.co_consts[0] for code in codes if code.co_name == function) or ""
