"""The command line `python -m evaluate`: how good synthetic pictures are, one command per question."""

from __future__ import annotations

from engine.command_line import new_command_line
from engine.terminal import run_command_line

__all__ = ["app", "main"]

COMMANDS = {
    "score": "evaluate.cli.score:score_command",
    "probe": "evaluate.cli.probe:probe_command",
    "blind": "evaluate.cli.blind:blind_command",
    "copies": "evaluate.cli.copies:copies_command",
    "morphology": "evaluate.cli.morphology:morphology_command",
    "masks": "evaluate.cli.masks:masks_command",
    "utility": "evaluate.cli.utility:utility_command",
    "judge": "evaluate.cli.judge:judge_command",
    "curve": "evaluate.cli.curve:curve_command",
    "report": "evaluate.cli.report:report_command",
    "weights": "evaluate.cli.weights:weights_command",
}
app = new_command_line(__doc__, COMMANDS)


def main() -> None:
    """Run the command line. A wrong request exits 2; a failure exits 1."""
    run_command_line(app)
