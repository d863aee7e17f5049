"""The command line `python -m exporter`: onnx, int8, preset, tensorrt, verify, plans, inspect, drift."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.table import Table

from engine.bundle.folder import open_bundle
from engine.bundle.settings import GuidanceSettings, HardwareSettings, RequestSettings, SamplingSettings, settings_of
from engine.command_line import new_command_line
from engine.errors import RequestError
from engine.options import Without, flags_of, parse_each, with_options
from engine.terminal import run_command_line, silence_libraries
from exporter.cli.eight_bits import LOOK, show_comparisons
from exporter.cli.inspection import drift, inspect
from exporter.cli.options import BundleArgument, JsonOption, say
from exporter.cli.plans import plans
from exporter.settings import BundleSettings, Int8Settings, PlanSettings

if TYPE_CHECKING:
    from exporter.parity import ParityRow

__all__ = ["app", "main"]

app = new_command_line(__doc__)


NOT_IN_A_PRESET = ("seed", "rng", "shared_noise", "preset", "langevin_step_size", "langevin_steps_per_level")


@app.command()
@with_options
def onnx(
    merged: Annotated[list[Path], typer.Argument(metavar="MERGED...", help="Folders made by `trainer merge`.")],
    out: Annotated[Path, typer.Option("--out", help="Folder of the bundle. An existing bundle gets further classes.")],
    settings: BundleSettings,
    vae_encoder: Annotated[
        bool, typer.Option(help="Export the VAE's encoder, which `engine generate --init` needs.")
    ] = True,
) -> None:
    """Write merged folders as classes of a bundle of ONNX graphs."""
    from exporter.onnx_bundle import write_bundle

    write_bundle(merged, out, settings, vae_encoder=vae_encoder, progress=say)
    bundle = open_bundle(str(out))
    size_bytes = sum(entry.size_bytes for entry in bundle.manifest.files.values())
    print(f"{out}: {', '.join(bundle.manifest.classes)}; {size_bytes / 1e6:.1f} MB")


@app.command()
@with_options
def int8(
    bundle: BundleArgument,
    settings: Int8Settings,
    keep_unets: Annotated[
        bool, typer.Option("--keep-unets", help="Keep the 8-bit UNets of the bundle, for example after a new decoder.")
    ] = False,
) -> None:
    """Add 8-bit graphs of every class to a bundle, for `engine generate --precision int8`.

    Prints how pictures of the classes' prompts change. The bundle's hash changes, its default precision does not.
    """
    from exporter.int8 import write_int8

    opened = open_bundle(bundle)
    made = write_int8(opened, keep_unets=keep_unets, pictures=settings.pictures, progress=say)
    for graph in made.graphs:
        unit = "of its norm" if graph.output == "eps" else "grey levels, root mean square"
        print(f"{graph.graph}: {graph.output} differs by {graph.error:.2g} {unit}")
    show_comparisons(made.comparisons)
    print(LOOK)
    print(f"{opened.folder} has 8-bit graphs (--precision int8). SHA-256 of the bundle: {open_bundle(bundle).sha256}")


@app.command()
@with_options
def preset(
    bundle: BundleArgument,
    name: Annotated[str, typer.Argument(help="Name for `engine generate --preset`, for example fast.")],
    sampling: Annotated[SamplingSettings, Without(*NOT_IN_A_PRESET)],
    guidance: GuidanceSettings,
    hardware: Annotated[HardwareSettings, Without("batch_size", "backend", "threads")],
    merged: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[MERGED]...",
            help="Folders of `trainer merge` whose UNets were trained for the table, one per class. The preset draws "
            "these classes alone.",
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option(help="File of `trainer table`, in place of sampler, schedule, steps and guidance."),
    ] = None,
    decoder: Annotated[
        Path | None,
        typer.Option(
            help="Small decoder, a file of `trainer shrink`, which draws in place of the bundle's decoder. "
            "Needs MERGED and --table (default: the bundle's decoder)."
        ),
    ] = None,
) -> None:
    """Store settings in a bundle as a preset, or replace a preset.

    The bundle's hash changes.
    """
    from engine.bundle.request import make_request
    from exporter.presets import write_preset, write_table_preset

    opened = open_bundle(bundle)
    if table is not None:
        _expect_alone(sampling, guidance)
        write_table_preset(opened, name, table, hardware.precision, merged or (), decoder=decoder, progress=say)
    elif merged or decoder is not None:
        raise RequestError(
            f"The merged folder {merged[0]}" if merged else "--decoder",
            found="no --table",
            expected="the learned table for which the UNets were trained",
            fix="add --table and the merged folders, or leave out the folders and --decoder",
        )
    else:
        settings = RequestSettings(sampling, guidance, hardware=replace(hardware, backend="openvino"))
        write_preset(opened, name, make_request(opened.manifest, ["all"], 1, settings))
    print(
        f"{opened.folder} has the preset {name} (--preset {name}). SHA-256 of the bundle: {open_bundle(bundle).sha256}"
    )


def _expect_alone(*groups: SamplingSettings | GuidanceSettings) -> None:
    """Raise RequestError if an option that a learned table states itself was given beside it."""
    for group in groups:
        for name, flag in flags_of(type(group)).items():
            if getattr(group, name) != getattr(type(group)(), name):
                raise RequestError(
                    "--table",
                    found=f"{flag}, too",
                    expected="a table alone, because it states its levels, steps and guidance itself",
                    fix=f"leave out {flag}, or the table",
                )


@app.command()
@with_options
def tensorrt(
    bundle: BundleArgument,
    settings: PlanSettings,
    class_name: Annotated[
        list[str] | None,
        typer.Option(
            "--class", help="Class of the bundle, or classes separated by commas (default: all). May be repeated."
        ),
    ] = None,
    preset: Annotated[
        str | None, typer.Option(help="Build plans of the models of this preset (default: those of the classes).")
    ] = None,
) -> None:
    """Build TensorRT plans of a bundle for a GPU, in the folder BUNDLE/plans."""
    from engine.bundle.request import make_request
    from exporter.plans.building import PlanRequest, build_plans
    from exporter.plans.gpus import compute_capability

    opened = open_bundle(bundle)
    batch_sizes, width, height = settings.shapes(opened.manifest.picture_size)
    for batch_size in batch_sizes:
        options = settings_of(backend="tensorrt", batch_size=batch_size, width=width, height=height, preset=preset)
        checked = make_request(opened.manifest, parse_each(class_name) or ["all"], 1, options)
    capability = compute_capability(settings.gpu)
    request = PlanRequest(capability, settings.flavour, batch_sizes, width, height, settings.refit)
    folder = build_plans(opened, checked.class_names, request, progress=say, preset=checked.preset)
    total = sum(path.stat().st_size for path in folder.glob("*.plan"))
    print(f"{folder}: {', '.join(checked.class_names)}; {total / 1e6:.1f} MB")


@app.command()
def verify(
    bundle: BundleArgument,
    merged: Annotated[Path, typer.Option(help="Merged folder of one of the bundle's classes: the reference.")],
    preset: Annotated[
        str | None,
        typer.Option(help="Compare with the settings and the UNet of this preset (default: the bundle's defaults)."),
    ] = None,
    decoder: Annotated[
        Path | None, typer.Option(help="File of the preset's small decoder, if the preset has one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Compare each runtime with torch in float32.

    Compares the UNet at every sigma of the table, the final latents, the picture, and the encoder. Exits 1 if a
    limit is exceeded.
    """
    from exporter.parity import compare

    rows, without_tensorrt = compare(open_bundle(bundle), merged, preset=preset, decoder=decoder)
    if as_json:
        shown = [{**asdict(row), "limits": row.limits, "passed": row.passed} for row in rows]
        print(json.dumps({"rows": shown}))
    else:
        Console().print(_table_of(rows))
        if without_tensorrt:
            print(f"TensorRT was not compared: {without_tensorrt}.")
    if not all(row.passed for row in rows):
        sys.exit(1)


app.command()(inspect)
app.command()(drift)
app.add_typer(plans, name="plans")


def _table_of(rows: list[ParityRow]) -> Table:
    """Return the rows of `verify` as a table with their limits."""
    table = Table(
        "compared with torch f32", "UNet RMSE", "UNet largest", "latents rel. L2", "PSNR dB", "encoder rel. L2", ""
    )
    for row in rows:
        limits = row.limits
        table.add_row(
            row.runtime,
            f"{row.unet_rmse:.2g} (<= {limits['unet_rmse']:g})",
            f"{row.unet_largest:.2g} (<= {limits['unet_largest']:g})",
            f"{row.trajectory_relative_l2:.2g} (<= {limits['trajectory_relative_l2']:g})",
            f"{row.psnr_db:.1f} (>= {limits['psnr_db']:g})",
            "none"
            if row.encoder_relative_l2 is None
            else f"{row.encoder_relative_l2:.2g} (<= {limits['encoder_relative_l2']:g})",
            "ok" if row.passed else "FAILED",
        )
    return table


def main() -> None:
    """Run the command line. A wrong request exits 2, a failure exits 1."""
    silence_libraries(FutureWarning, UserWarning)
    run_command_line(app)
