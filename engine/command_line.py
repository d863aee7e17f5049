"""How every command line of the project is built: `-h`, `--version` and shell completion."""

from __future__ import annotations

from typing import Annotated

import typer

from engine.version import __version__

__all__ = ["new_command_line"]


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"cytosynth {__version__}")
        raise typer.Exit


def new_command_line(help_text: str, *, completion: bool = False) -> typer.Typer:
    """Return a command line without commands.

    Args:
        help_text: What `--help` shows first.
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

    return app
