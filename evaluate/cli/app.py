"""The command line `python -m evaluate`: how good synthetic pictures are, one command per question."""

from __future__ import annotations

from engine.command_line import new_command_line
from engine.terminal import run_command_line
from evaluate.cli.blind import blind_command
from evaluate.cli.copies import copies_command
from evaluate.cli.curve import curve_command
from evaluate.cli.judge import judge_command
from evaluate.cli.masks import masks_command
from evaluate.cli.morphology import morphology_command
from evaluate.cli.probe import probe_command
from evaluate.cli.report import report_command
from evaluate.cli.score import score_command
from evaluate.cli.utility import utility_command
from evaluate.cli.weights import weights_command

__all__ = ["app", "main"]

app = new_command_line(__doc__)


app.command("score")(score_command)
app.command("probe")(probe_command)
app.command("blind")(blind_command)
app.command("copies")(copies_command)
app.command("morphology")(morphology_command)
app.command("masks")(masks_command)
app.command("utility")(utility_command)
app.command("judge")(judge_command)
app.command("curve")(curve_command)
app.command("report")(report_command)
app.command("weights")(weights_command)


def main() -> None:
    """Run the command line. A wrong request exits 2; a failure exits 1."""
    run_command_line(app)
