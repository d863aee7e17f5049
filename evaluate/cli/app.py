"""The command line `python -m evaluate`: how good synthetic pictures are, one command per question."""

from __future__ import annotations

import typer

from engine.terminal import run_command_line
from evaluate.cli.blind import blind_command
from evaluate.cli.copies import copies_command
from evaluate.cli.curve import curve_command
from evaluate.cli.judge import judge_command
from evaluate.cli.morphology import morphology_command
from evaluate.cli.probe import probe_command
from evaluate.cli.report import report_command
from evaluate.cli.score import score_command
from evaluate.cli.utility import utility_command
from evaluate.cli.weights import weights_command

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def evaluate() -> None:
    """Honest figures for folders of pictures."""


app.command("score")(score_command)
app.command("probe")(probe_command)
app.command("blind")(blind_command)
app.command("copies")(copies_command)
app.command("morphology")(morphology_command)
app.command("utility")(utility_command)
app.command("judge")(judge_command)
app.command("curve")(curve_command)
app.command("report")(report_command)
app.command("weights")(weights_command)


def main() -> None:
    """Run the command line. A wrong request exits 2; a failure exits 1."""
    run_command_line(app)
