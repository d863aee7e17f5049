"""The command line `python -m trainer`: adapt does everything; the other commands are its steps, and more."""

from __future__ import annotations

from engine.command_line import new_command_line
from engine.terminal import run_command_line, silence_libraries

__all__ = ["app", "main"]

COMMANDS = {
    "adapt": "trainer.cli.adapting:adapt",
    "phantom": "trainer.cli.pictures:phantom",
    "prepare": "trainer.cli.pictures:prepare",
    "pretrain": "trainer.cli.pretraining:pretrain",
    "fit": "trainer.cli.fitting:fit",
    "embed": "trainer.cli.fitting:embed",
    "merge": "trainer.cli.files:merge",
    "merge-checkpoints": "trainer.cli.checkpoints:merge_checkpoints",
    "extract-lora": "trainer.cli.checkpoints:extract_lora",
    "convert": "trainer.cli.files:convert",
    "inspect": "trainer.cli.files:inspect",
    "encoder": "trainer.cli.pretraining:encoder",
    "likelihood": "trainer.cli.likelihood:likelihood",
    "table": "trainer.cli.tables:table",
    "distill": "trainer.cli.distillation:distill",
    "match": "trainer.cli.distillation:match",
    "refine": "trainer.cli.distillation:refine",
    "shrink": "trainer.cli.distillation:shrink",
    "match-decoder": "trainer.cli.distillation:match_decoder",
}
app = new_command_line(__doc__, COMMANDS)


def main() -> None:
    """Run the command line. A wrong request exits with 2, a failure with 1."""
    silence_libraries(DIFFUSERS_VERBOSITY="error")
    run_command_line(app)
