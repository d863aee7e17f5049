"""The command line `python -m benchmarks`: peers, training."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.settings import PeerSettings, RecordSettings, TrainingSettings
from engine.bundle.folder import open_bundle
from engine.command_line import new_command_line
from engine.files import expect_folder_of, write_json
from engine.options import Without, with_options
from engine.terminal import run_command_line, silence_libraries
from trainer.cli.options import BaseSource

__all__ = ["app", "main"]

app = new_command_line(__doc__)


@app.command()
@with_options
def peers(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="Name of an embedded bundle, or a bundle's folder.")],
    merged: Annotated[Path, typer.Option(help="Merged folder of one of the bundle's classes.")],
    comparison: PeerSettings,
    output: RecordSettings,
) -> None:
    """Compare the speed of the engine with its peers on the same merged weights.

    The peers are diffusers, ONNX Runtime, cyto_bench and stable-diffusion.cpp. Only systems whose results agree with
    diffusers in float32 are timed.
    """
    from benchmarks.systems import bench_systems

    if output.record is not None:
        expect_folder_of(output.record)
    found = bench_systems(open_bundle(bundle), merged, comparison)
    if output.record is not None:
        write_json(output.record, found)
    if output.as_json:
        print(json.dumps(found))
    else:
        Console().print(_table_of(found))


def _table_of(found: dict[str, Any]) -> Table:
    """Return a record of `peers` as a table."""
    table = Table("part", "batch", "system", "per second", "speed-up over best diffusers", "deviation")
    for row in found["compared"]:
        place = [row["part"], str(row["batch_size"])]
        for name, rate in row["per_second"].items():
            deviation = row["deviation"].get(name, "")
            shown = deviation if isinstance(deviation, str) else f"{deviation:.3g}"
            table.add_row(*place, name, f"{rate:.3g}", f"{row['times_the_best_of_diffusers'][name]:.2f}", shown)
        for name, reason in {**row["refused"], **row["not_measured"]}.items():
            table.add_row(*place, name, "", "", reason)
    return table


@app.command()
@with_options
def training(
    source: BaseSource, comparison: TrainingSettings, output: Annotated[RecordSettings, Without("as_json")]
) -> None:
    """Compare the training speed of `trainer fit` with loops like those of AUTOMATIC1111 and diffusers."""
    from benchmarks.training import compare_loops

    if output.record is not None:
        expect_folder_of(output.record)
    found = compare_loops(source.open, comparison)
    if output.record is not None:
        write_json(output.record, found)
    print(json.dumps({name: found[name] for name in ("steps_per_second", "times_peer")}, indent=1))


def main() -> None:
    """Run the command line. A wrong request exits 2, a failure exits 1."""
    silence_libraries(FutureWarning, UserWarning)
    run_command_line(app)
