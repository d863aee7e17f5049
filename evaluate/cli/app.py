"""The command line `python -m evaluate`: score, copies, morphology, utility, judge, curve, report, weights."""

from __future__ import annotations

import sys

import typer

from engine.errors import CytosynthError
from evaluate.cli import copies as cli_copies
from evaluate.cli import curve as cli_curve
from evaluate.cli import judge as cli_judge
from evaluate.cli import morphology as cli_morphology
from evaluate.cli import report as cli_report
from evaluate.cli import score as cli_score
from evaluate.cli import utility as cli_utility
from evaluate.cli import weights as cli_weights

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.callback()
def evaluate() -> None:
    """Honest figures for folders of pictures."""


app.command("score")(cli_score.score_command)
app.command("copies")(cli_copies.copies_command)
app.command("morphology")(cli_morphology.morphology_command)
app.command("utility")(cli_utility.utility_command)
app.command("judge")(cli_judge.judge_command)
app.command("curve")(cli_curve.curve_command)
app.command("report")(cli_report.report_command)
app.command("weights")(cli_weights.weights_command)


def main() -> None:
    """Run the command line; wrong requests exit 2, failures exit 1."""
    try:
        app()
    except CytosynthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
