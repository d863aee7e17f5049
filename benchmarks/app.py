"""The command line `python -m benchmarks`: peers, training."""

from __future__ import annotations

import json
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engine.bundle.folder import open_bundle
from engine.errors import CytosynthError, RequestError
from engine.files import expect_folder_of, write_json
from trainer.cli.options import BaseName, BatchSize, Device, Tokenizer

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)


@app.command()
def peers(
    bundle: Annotated[str, typer.Argument(metavar="BUNDLE", help="An embedded bundle's name, or a folder.")],
    merged: Annotated[Path, typer.Option(help="The merged folder of one of its classes.")],
    part: Annotated[
        list[str] | None, typer.Option(help="picture (the default), step or decode; may be repeated.")
    ] = None,
    batch_size: Annotated[str, typer.Option(help="Pictures at a time, separated by commas.")] = "8",
    guidance_scale: Annotated[float | None, typer.Option(help="For all alike; by default the bundle's.")] = None,
    steps: Annotated[int | None, typer.Option(help="DPM++ 2M steps on Karras sigmas; by default the bundle's.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads of each system; 0 is every core.")] = 0,
    rounds: Annotated[int, typer.Option(help="Rounds, interleaved.")] = 5,
    cap: Annotated[float, typer.Option(help="A system that takes longer, in seconds, is not asked again.")] = 120,
    system: Annotated[
        list[str] | None, typer.Option(help="The beginning of a system's name; by default all; may be repeated.")
    ] = None,
    cyto_bench: Annotated[Path | None, typer.Option(help="By default what make cpp-bench built.")] = None,
    record: Annotated[Path | None, typer.Option(help="Write the record with the raw seconds to this file.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")] = False,
) -> None:
    """Compare the speed of the engine, cyto_bench, diffusers, ONNX Runtime and stable-diffusion.cpp on the same merged
    weights."""
    from benchmarks.peers.cyto_bench import CYTO_BENCH
    from benchmarks.rounds import PARTS
    from benchmarks.systems import bench_systems

    sizes = [word.strip() for word in batch_size.split(",")]
    if rounds < 1 or not all(word.isascii() and word.isdecimal() and int(word) for word in sizes):
        words = f"{rounds} rounds, batch {batch_size}"
        raise RequestError("The comparison", found=words, expected="each above 0", fix="change these")
    parts = part or [PARTS[0]]
    if unknown := [name for name in parts if name not in PARTS]:
        raise RequestError("--part", found=unknown[0], expected=f"one of {', '.join(PARTS)}", fix="choose one")
    if record is not None:
        expect_folder_of(record)
    found = bench_systems(
        open_bundle(bundle),
        merged,
        parts=parts,
        batch_sizes=[int(word) for word in sizes],
        guidance_scale=guidance_scale,
        steps=steps,
        threads=threads,
        rounds=rounds,
        cap_s=cap,
        systems=system or [""],
        cyto_bench=cyto_bench or CYTO_BENCH,
    )
    if record is not None:
        write_json(record, found)
    if as_json:
        print(json.dumps(found))
        return
    table = Table("part", "batch", "", "a second", "times the best of diffusers", "deviation")
    for row in found["compared"]:
        place = [row["part"], str(row["batch_size"])]
        for name, rate in row["per_second"].items():
            deviation = row["deviation"].get(name, "")
            shown = deviation if isinstance(deviation, str) else f"{deviation:.3g}"
            table.add_row(*place, name, f"{rate:.3g}", f"{row['times_the_best_of_diffusers'][name]:.2f}", shown)
        for name, reason in {**row["refused"], **row["not_measured"]}.items():
            table.add_row(*place, name, "", "", reason)
    Console().print(table)


@app.command()
def training(
    base: BaseName,
    tokenizer: Tokenizer = None,
    batch_size: BatchSize = 1,
    rounds: Annotated[int, typer.Option(help="Rounds, interleaved.")] = 12,
    steps: Annotated[int, typer.Option(help="Steps a round.")] = 3,
    device: Device = "auto",
    compiled: Annotated[bool, typer.Option("--compile", help="Also ours under torch.compile.")] = False,
    record: Annotated[Path | None, typer.Option(help="Write the record with the raw seconds to this file.")] = None,
) -> None:
    """Compare fit's steps a second with loops as AUTOMATIC1111 and diffusers' training scripts run them."""
    from benchmarks.training import compare_loops
    from trainer.base.base import open_base

    if min(batch_size, rounds, steps) < 1:
        words = f"batch {batch_size}, {rounds} rounds, {steps} steps"
        raise RequestError("The comparison", found=words, expected="each above 0", fix="change these")
    if record is not None:
        expect_folder_of(record)
    found = compare_loops(
        lambda: open_base(base, tokenizer),
        batch_size=batch_size,
        rounds=rounds,
        steps=steps,
        device=device,
        compiled=compiled,
    )
    if record is not None:
        write_json(record, found)
    print(json.dumps({name: found[name] for name in ("steps_per_second", "times_peer")}, indent=1))


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
