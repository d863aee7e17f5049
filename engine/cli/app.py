"""The command line `engine`: generate, upscale, grid, serve, info, verify, doctor, bench, reference, sheet, merge-runs
and png-info."""

from __future__ import annotations

from engine.command_line import new_command_line
from engine.terminal import run_command_line

__all__ = ["app", "main"]

COMMANDS = {
    "generate": "engine.cli.generate:generate",
    "upscale": "engine.cli.upscale:upscale_command",
    "grid": "engine.cli.grid:grid",
    "serve": "engine.cli.serve:serve",
    "bench": "engine.cli.bench:bench",
    "reference": "engine.cli.bench:reference",
    "info": "engine.cli.bundle:info",
    "verify": "engine.cli.bundle:verify",
    "sheet": "engine.cli.folders:sheet",
    "merge-runs": "engine.cli.folders:merge_runs",
    "doctor": "engine.cli.doctor:doctor",
    "png-info": "engine.cli.png_info:png_info",
}
app = new_command_line(__doc__, COMMANDS, completion=True)


def main() -> None:
    """Run the command line. A wrong request exits 2, a failure exits 1."""
    run_command_line(app)
