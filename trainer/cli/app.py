"""The command line `python -m trainer`: adapt does everything; the other commands are its steps, and more."""

from __future__ import annotations

from collections.abc import Callable

from engine.command_line import new_command_line
from engine.terminal import run_command_line, silence_libraries
from trainer.cli.adapting import adapt
from trainer.cli.checkpoints import extract_lora, merge_checkpoints
from trainer.cli.distillation import distill
from trainer.cli.files import convert, inspect, merge
from trainer.cli.fitting import embed, fit
from trainer.cli.likelihood import likelihood
from trainer.cli.pictures import phantom, prepare
from trainer.cli.pretraining import encoder, pretrain
from trainer.cli.tables import table

__all__ = ["app", "main"]

app = new_command_line(__doc__)

COMMANDS: tuple[Callable[..., None], ...] = (
    adapt,
    phantom,
    prepare,
    pretrain,
    fit,
    embed,
    merge,
    merge_checkpoints,
    extract_lora,
    convert,
    inspect,
    encoder,
    likelihood,
    table,
    distill,
)
for command in COMMANDS:
    app.command(command.__name__.replace("_", "-"))(command)


def main() -> None:
    """Run the command line. A wrong request exits with 2, a failure with 1."""
    silence_libraries(DIFFUSERS_VERBOSITY="error")
    run_command_line(app)
