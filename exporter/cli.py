"""The command line `python -m exporter`: onnx, verify, bench."""

from __future__ import annotations

import json
import os
import sys
import warnings
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engine.bundle import open_bundle
from engine.errors import CytosynthError, RequestError
from engine.files import expect_folder_of

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def onnx(
    merged: Annotated[list[Path], typer.Argument(metavar="MERGED...", help="Folders that trainer merge wrote.")],
    out: Annotated[Path, typer.Option("--out", help="The bundle; classes are added to one that exists.")],
    name: Annotated[str | None, typer.Option(help="The bundle's name; by default its folder's.")] = None,
    base: Annotated[str | None, typer.Option(help="What the base is, in words.")] = None,
    steps: Annotated[int | None, typer.Option(help="The bundle's sampling steps; 20 for a new one.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="Its guidance scale; 7 for a new one.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Its batch size; 8 for a new one.")] = None,
) -> None:
    """Write merged folders as classes of a bundle of ONNX graphs."""
    from exporter.onnx_bundle import write_bundle

    write_bundle(
        merged,
        out,
        name=name,
        base=base,
        defaults={"num_inference_steps": steps, "guidance_scale": guidance_scale, "batch_size": batch_size},
        progress=lambda what: print(what, file=sys.stderr),
    )
    bundle = open_bundle(str(out))
    size_bytes = sum(entry.size_bytes for entry in bundle.manifest.files.values())
    print(f"{out}: {', '.join(bundle.manifest.classes)}; {size_bytes / 1e6:.1f} MB")


@app.command()
def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="An embedded bundle's name, or a folder.")],
    merged: Annotated[Path, typer.Option(help="The merged folder of one of its classes, the reference.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")] = False,
) -> None:
    """Compare OpenVINO and ONNX Runtime with torch float32; exits 1 where a limit is broken."""
    from exporter.parity import compare

    rows = compare(open_bundle(bundle), merged)
    if as_json:
        shown = [{**asdict(row), "limits": row.limits, "passed": row.passed} for row in rows]
        print(json.dumps({"rows": shown}))
    else:
        table = Table("against torch f32", "UNet rel. L2", "UNet largest", "trajectory rel. L2", "PSNR dB", "")
        for row in rows:
            limits = row.limits
            table.add_row(
                row.runtime,
                f"{row.unet_relative_l2:.2g} (<= {limits['unet_relative_l2']:g})",
                f"{row.unet_largest:.2g}",
                f"{row.trajectory_relative_l2:.2g} (<= {limits['trajectory_relative_l2']:g})",
                f"{row.psnr_db:.1f} (>= {limits['psnr_db']:g})",
                "ok" if row.passed else "FAILED",
            )
        Console().print(table)
    if not all(row.passed for row in rows):
        sys.exit(1)


@app.command()
def bench(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="An embedded bundle's name, or a folder.")],
    merged: Annotated[Path, typer.Option(help="The merged folder of one of its classes.")],
    batch_size: Annotated[int, typer.Option(help="Pictures at a time.")] = 8,
    guidance_scale: Annotated[float, typer.Option(help="For all alike.")] = 7.0,
    steps: Annotated[int, typer.Option(help="DPM++ 2M steps on Karras sigmas.")] = 20,
    rounds: Annotated[int, typer.Option(help="Rounds, interleaved.")] = 5,
    compiled: Annotated[bool, typer.Option(help="Also diffusers under torch.compile; needs a C++ compiler.")] = True,
    record: Annotated[Path | None, typer.Option(help="Write the record with the raw seconds to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")] = False,
) -> None:
    """Compare the engine's speed with diffusers', on the same merged weights."""
    from exporter.peers import compare_speed

    if rounds < 1 or batch_size < 1:
        words = f"{rounds} rounds, batch {batch_size}"
        raise RequestError("The comparison", found=words, expected="each above 0", mend="change these")
    if record is not None:
        expect_folder_of(record)
    found = compare_speed(
        open_bundle(bundle),
        merged,
        batch_size=batch_size,
        guidance_scale=guidance_scale,
        steps=steps,
        rounds=rounds,
        compiled=compiled,
    )
    if record is not None:
        record.write_text(json.dumps(found, indent=1) + "\n")
    if as_json:
        print(json.dumps(found))
        return
    table = Table("", "pictures/s", "times the best of diffusers", "PSNR dB against engine f32")
    for name, rate in found["pictures_per_second"].items():
        ratio, psnr = (found[key].get(name) for key in ("times_the_best_of_diffusers", "psnr_db_against_engine_f32"))
        shown = [f"{rate:.2f}", "" if ratio is None else f"{ratio:.2f}", "" if psnr is None else f"{psnr:.1f}"]
        table.add_row(name, *shown)
    Console().print(table)


def main() -> None:
    """Run the command line; wrong requests exit 2, failures exit 1."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    warnings.simplefilter("ignore", FutureWarning)
    warnings.simplefilter("ignore", UserWarning)
    try:
        app()
    except CytosynthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
