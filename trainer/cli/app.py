"""The command line `python -m trainer`: adapt does everything; the other commands are its steps, and more."""

from __future__ import annotations

from collections.abc import Callable

import typer

from engine.terminal import run_command_line, silence_libraries
from trainer.cli.adapting import adapt
from trainer.cli.files import convert, inspect, merge
from trainer.cli.fitting import embed, fit
from trainer.cli.pictures import phantom, prepare
from trainer.cli.pretraining import encoder, pretrain

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)

COMMANDS: tuple[Callable[..., None], ...] = (
    adapt,
    phantom,
    prepare,
    pretrain,
    fit,
    embed,
    merge,
    convert,
    inspect,
    encoder,
)
for command in COMMANDS:
    app.command()(command)


def main() -> None:
    """Run the command line. A wrong request exits with 2, a failure with 1."""
    silence_libraries(DIFFUSERS_VERBOSITY="error", HF_HUB_DISABLE_TELEMETRY="1")
    run_command_line(app)
