"""The command line `python -m exporter`: onnx, int8, preset, tensorrt, verify."""

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

from engine.bundle.folder import open_bundle
from engine.errors import CytosynthError, RequestError

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
    guidance_interval: Annotated[
        tuple[float, float] | None, typer.Option(help="LO HI: guidance between these sigmas; everywhere for a new one.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Its batch size; 8 for a new one.")] = None,
    vae_encoder: Annotated[bool, typer.Option(help="The VAE's encoder too, for pictures into latents.")] = False,
) -> None:
    """Write merged folders as classes of a bundle of ONNX graphs."""
    from exporter.onnx_bundle import write_bundle

    write_bundle(
        merged,
        out,
        name=name,
        base=base,
        defaults={
            "num_inference_steps": steps,
            "guidance_scale": guidance_scale,
            "guidance_interval": guidance_interval and list(guidance_interval),
            "batch_size": batch_size,
        },
        vae_encoder=vae_encoder,
        progress=lambda what: print(what, file=sys.stderr),
    )
    bundle = open_bundle(str(out))
    size_bytes = sum(entry.size_bytes for entry in bundle.manifest.files.values())
    print(f"{out}: {', '.join(bundle.manifest.classes)}; {size_bytes / 1e6:.1f} MB")


@app.command()
def int8(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="An embedded bundle's name, or a folder.")],
) -> None:
    """Add 8-bit graphs of every class to a bundle, for engine generate --precision int8. Its hash changes."""
    from exporter.int8 import write_int8

    opened = open_bundle(bundle)
    for made in write_int8(opened, progress=lambda what: print(what, file=sys.stderr)):
        unit = "of its norm" if made.output == "eps" else "grey levels, root mean square"
        print(f"{made.graph}: {made.output} differs by {made.error:.2g} {unit}")
    print(f"{opened.folder}: --precision int8. SHA-256 of the bundle: {open_bundle(bundle).sha256}")


@app.command()
def preset(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="An embedded bundle's name, or a folder.")],
    name: Annotated[str, typer.Argument(help="What engine generate --preset will take, such as fast.")],
    steps: Annotated[int | None, typer.Option(help="Sampling steps; by default the bundle's.")] = None,
    sampler: Annotated[str | None, typer.Option(help="By default the bundle's.")] = None,
    schedule: Annotated[str | None, typer.Option(help="By default the sampler's own.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="By default the bundle's.")] = None,
    guidance_interval: Annotated[
        tuple[float, float] | None, typer.Option(help="LO HI: no guidance outside these sigmas.")
    ] = None,
    precision: Annotated[str | None, typer.Option(help="int8 for the bundle's 8-bit graphs, on the CPU.")] = None,
) -> None:
    """Give settings of a bundle a name, or give that name others. The bundle's hash changes with them."""
    from engine.bundle.request import make_request
    from exporter.presets import write_preset

    opened = open_bundle(bundle)
    request = make_request(
        opened.manifest,
        class_names=["all"],
        n=1,
        backend="openvino",
        sampler=sampler,
        schedule=schedule,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        guidance_interval=guidance_interval,
        precision=precision,
    )
    write_preset(opened, name, request)
    print(f"{opened.folder}: --preset {name}. SHA-256 of the bundle: {open_bundle(bundle).sha256}")


@app.command()
def tensorrt(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="An embedded bundle's name, or a folder.")],
    class_name: Annotated[list[str] | None, typer.Option("--class", help="By default all; may be repeated.")] = None,
    gpu: Annotated[str, typer.Option(help="a6000, rtx4090, ..., or smXX.")] = "a6000",
    flavour: Annotated[str, typer.Option(help="rtx needs no GPU; tensorrt is built on the GPU itself.")] = "rtx",
    batch: Annotated[str, typer.Option(help="Pictures at a time, separated by commas.")] = "1,8,16",
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels; by default the bundle's.")] = None,
    refit: Annotated[bool, typer.Option(help="Plans whose weights can be replaced; only on the GPU itself.")] = False,
) -> None:
    """Build TensorRT plans of a bundle for a GPU, into BUNDLE/plans."""
    from engine.bundle.plans import FLAVOURS
    from engine.bundle.request import make_request
    from exporter.gpus import compute_capability
    from exporter.tensorrt_plans import PlanRequest, build_plans

    opened = open_bundle(bundle)
    if flavour not in FLAVOURS:
        raise RequestError("--flavour", found=flavour, expected=f"one of {', '.join(FLAVOURS)}", fix="choose one")
    words = (size or "x".join(map(str, opened.manifest.picture_size))).lower().split("x")
    numbers = [*batch.split(","), *words]
    if len(words) != 2 or not all(word.strip().isascii() and word.strip().isdecimal() for word in numbers):
        raise RequestError(
            "--batch and --size",
            found=f"{batch}, {size}",
            expected="numbers separated by commas, and WIDTHxHEIGHT",
            fix="write them as in --batch 1,8 --size 512x512",
        )
    width, height = (int(word) for word in words)
    batch_sizes = tuple(sorted({int(word) for word in batch.split(",")}))
    for batch_size in batch_sizes:
        checked = make_request(
            opened.manifest,
            class_names=class_name or ["all"],
            n=1,
            backend="tensorrt",
            batch_size=batch_size,
            width=width,
            height=height,
        )
    request = PlanRequest(compute_capability(gpu), flavour, batch_sizes, width, height, refit)
    folder = build_plans(opened, checked.class_names, request, progress=lambda what: print(what, file=sys.stderr))
    total = sum(path.stat().st_size for path in folder.glob("*.plan"))
    print(f"{folder}: {', '.join(checked.class_names)}; {total / 1e6:.1f} MB")


@app.command()
def verify(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="An embedded bundle's name, or a folder.")],
    merged: Annotated[Path, typer.Option(help="The merged folder of one of its classes, the reference.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")] = False,
) -> None:
    """Compare each runtime with torch float32: the UNet at every sigma of the default table, a trajectory, the
    picture. Exits 1 where a limit is broken."""
    from exporter.parity import compare

    rows, without_tensorrt = compare(open_bundle(bundle), merged)
    if as_json:
        shown = [{**asdict(row), "limits": row.limits, "passed": row.passed} for row in rows]
        print(json.dumps({"rows": shown}))
    else:
        table = Table("against torch f32", "UNet RMSE", "UNet largest", "trajectory rel. L2", "PSNR dB", "")
        for row in rows:
            limits = row.limits
            table.add_row(
                row.runtime,
                f"{row.unet_rmse:.2g} (<= {limits['unet_rmse']:g})",
                f"{row.unet_largest:.2g} (<= {limits['unet_largest']:g})",
                f"{row.trajectory_relative_l2:.2g} (<= {limits['trajectory_relative_l2']:g})",
                f"{row.psnr_db:.1f} (>= {limits['psnr_db']:g})",
                "ok" if row.passed else "FAILED",
            )
        Console().print(table)
        if without_tensorrt:
            print(f"TensorRT was not compared: {without_tensorrt}.")
    if not all(row.passed for row in rows):
        sys.exit(1)


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
    except OSError as error:
        print(f"error: {error.strerror or error}: {error.filename or 'a file'}", file=sys.stderr)
        sys.exit(1)
