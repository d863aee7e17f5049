"""The command line `engine`: generate, info, verify, doctor, bench, reference, sheet, png-info."""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from engine.backends.select import AUTO, BACKENDS, choose_backend, probe
from engine.bundle import Bundle, open_bundle
from engine.errors import CytosynthError, RequestError
from engine.files import expect_folder_of, write_json
from engine.formats import FORMATS, make_output
from engine.journal import Chunks, Journal, previous_identity
from engine.request import PRECISIONS, GenerateRequest, make_request
from engine.samplers import SAMPLERS
from engine.schedules import SCHEDULES
from engine.terminal import ProgressBar, printable, stopped_by_signals

if TYPE_CHECKING:
    from engine.run import RunResult

__all__ = ["app", "main"]

app = typer.Typer(no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False, help=__doc__)
BundleArgument = Annotated[str, typer.Argument(metavar="[BUNDLE]", help="An embedded bundle's name, or a folder.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object to stdout.")]


@app.command()
def generate(
    class_name: Annotated[list[str], typer.Option("--class", help="A class of the bundle, or all; may be repeated.")],
    n: Annotated[int, typer.Option("--n", help="Pictures of each class.")],
    out: Annotated[Path, typer.Option(help="The output folder.")] = Path("out"),
    seed: Annotated[int, typer.Option(help="Picture i has seed + i; -1 draws one.")] = 0,
    rng: Annotated[str, typer.Option(help="numpy, or nv for the noise of CUDA's randn.")] = "numpy",
    bundle: Annotated[str, typer.Option(help="An embedded bundle's name, or a folder.")] = "cells",
    steps: Annotated[int | None, typer.Option(help="Sampling steps; by default the bundle's.")] = None,
    sampler: Annotated[str | None, typer.Option(help=f"One of {', '.join(SAMPLERS)}.")] = None,
    schedule: Annotated[str | None, typer.Option(help=f"One of {', '.join(SCHEDULES)}.")] = None,
    langevin_step_size: Annotated[float | None, typer.Option(help="m of the sampler langevin.")] = None,
    langevin_steps_per_level: Annotated[int | None, typer.Option(help="Steps a level of the sampler langevin.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="1 is no guidance; by default the bundle's.")] = None,
    guidance_interval: Annotated[
        tuple[float, float] | None, typer.Option(help="LO HI: no guidance outside these sigmas.")
    ] = None,
    prompt: Annotated[str | None, typer.Option(help="In place of the class's own.")] = None,
    negative_prompt: Annotated[str | None, typer.Option(help="In place of the empty one.")] = None,
    width: Annotated[int | None, typer.Option(help="Pixels; by default the bundle's.")] = None,
    height: Annotated[int | None, typer.Option(help="Pixels; by default the bundle's.")] = None,
    batch_size: Annotated[
        str | None, typer.Option(help="Pictures at a time, or auto to measure; by default the bundle's.")
    ] = None,
    backend: Annotated[str, typer.Option(help=f"auto, {', '.join(BACKENDS)}.")] = AUTO,
    threads: Annotated[int, typer.Option(help="Processor threads; 0 lets the runtime choose.")] = 0,
    precision: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(PRECISIONS)}; f32 is exact; a continued run keeps its own.")
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = FORMATS[0],
    shard_pictures: Annotated[
        int | None, typer.Option(help="Pictures of a webdataset shard; by default about 1 GB.")
    ] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace another run in the output folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make n pictures of each class. The same command again continues a run that was cut off."""
    opened = open_bundle(bundle)
    previous = None if overwrite else previous_identity(out)
    request = make_request(
        opened.manifest,
        class_names=class_name,
        n=n,
        backend=backend,
        seed=seed,
        rng=rng,
        sampler=sampler,
        schedule=schedule,
        num_inference_steps=steps,
        langevin_step_size=langevin_step_size,
        langevin_steps_per_level=langevin_steps_per_level,
        guidance_scale=guidance_scale,
        guidance_interval=guidance_interval,
        prompt=prompt,
        negative_prompt=negative_prompt,
        width=width,
        height=height,
        batch_size=_batch_size(batch_size, previous),
        precision=precision,
        threads=threads,
        previous=previous,
    )
    output = make_output(out, file_format, request.width, request.height, shard_pictures, overwrite=overwrite)
    # Runtimes are imported from here on, so that a wrong request costs nothing and needs none.
    chosen_backend, why = choose_backend(backend, request.precision, opened, request)
    request = replace(request, backend=chosen_backend)
    print(f"Backend: {why}.", file=sys.stderr)
    from engine import run

    if batch_size == AUTO and not previous:
        # Nothing is measured for a folder that will be refused.
        Journal(out, {}, Chunks([1], 1), overwrite=overwrite)
        from engine.batch_size import measure_batch_size

        chosen, words = measure_batch_size(opened, request)
        print(f"Batch size: {words}.", file=sys.stderr)
        request = replace(request, batch_size=chosen)
    with ProgressBar() as progress, stopped_by_signals() as stop:
        result = run.generate(opened, request, output, stop=stop, progress=progress)
    _report(opened, request, result, as_json)
    if result.failed or result.stopped:
        sys.exit(1)


@app.command()
def info(bundle: BundleArgument = "cells", as_json: JsonOption = False) -> None:
    """Say what a bundle holds: base, classes, where their pictures came from, defaults."""
    opened = open_bundle(bundle)
    manifest = opened.manifest
    width, height = manifest.picture_size
    size_bytes = sum(entry.size_bytes for entry in manifest.files.values())
    classes = {
        name: {
            "trained_on": entry.origin,
            "pictures": entry.pictures,
            "licence": entry.licence,
            "attribution": entry.attribution,
            "base": manifest.base,
        }
        for name, entry in manifest.classes.items()
    }
    defaults = manifest.defaults
    if as_json:
        facts = {"name": manifest.name, "base": manifest.base, "sha256": opened.sha256, "bytes": size_bytes}
        print(json.dumps({**facts, "width": width, "height": height, "classes": classes, "defaults": vars(defaults)}))
        return
    print(f"{manifest.name} ({opened.folder})\n{manifest.base}")
    print(f"{width} x {height} pixels, {size_bytes / 1e6:.1f} MB, SHA-256 {opened.sha256}")
    print(
        f"Defaults: {defaults.sampler}, {defaults.schedule}, {defaults.num_inference_steps} steps, "
        f"guidance {defaults.guidance_scale:g}, batch {defaults.batch_size}"
    )
    table = Table("class", "trained on", "licence", "attribution")
    for name, entry in manifest.classes.items():
        words = (name, f"{entry.pictures} {_origin_words(entry.origin)}", entry.licence, entry.attribution)
        table.add_row(*map(escape, words))
    Console().print(table)


@app.command()
def verify(bundle: BundleArgument = "cells", as_json: JsonOption = False) -> None:
    """Check the size and SHA-256 of every file of a bundle."""
    opened = open_bundle(bundle)
    opened.verify(opened.manifest.files)
    count = len(opened.manifest.files)
    if as_json:
        print(json.dumps({"ok": True, "files": count, "sha256": opened.sha256}))
        return
    print(f"{count} files of {opened.manifest.name} are whole. SHA-256 of the bundle: {opened.sha256}")


@app.command()
def sheet(folder: Annotated[Path, typer.Argument(metavar="DIR", help="A folder that generate wrote.")]) -> None:
    """Draw the contact sheet of a run again."""
    from engine.sheet import write_sheet

    print(write_sheet(folder))


@app.command()
def doctor(as_json: JsonOption = False) -> None:
    """Say which runtimes are usable here, why the others are not, and how to install them."""
    found = probe()
    usable = any(status.usable for status in found)
    if as_json:
        auto = choose_backend(AUTO)[0] if usable else None
        print(json.dumps({"backends": [asdict(status) for status in found], "auto": auto}))
        return
    table = Table("backend", "usable", "what, or why not", "how to install it")
    for status in found:
        table.add_row(status.name, "yes" if status.usable else "no", escape(status.detail), escape(status.install))
    Console().print(table)
    print(f"--backend auto takes {choose_backend(AUTO)[1]}." if usable else "No backend is usable.")


@app.command()
def bench(
    bundle: BundleArgument = "cells",
    class_name: Annotated[str | None, typer.Option("--class", help="By default the first of the bundle.")] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="By default every usable one but TensorRT, whose plans limit sizes; may be repeated."),
    ] = None,
    precision: Annotated[list[str] | None, typer.Option(help="Of openvino; by default all; may be repeated.")] = None,
    batch_size: Annotated[str, typer.Option(help="Sizes, separated by commas.")] = "1,4,8",
    steps: Annotated[int | None, typer.Option(help="Sampling steps; by default the bundle's.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="By default the bundle's.")] = None,
    threads: Annotated[int, typer.Option(help="Processor threads; 0 lets the runtime choose.")] = 0,
    rounds: Annotated[int, typer.Option(help="Rounds, interleaved over everything that is compared.")] = 5,
    record: Annotated[Path | None, typer.Option(help="Write the record with the raw samples to this file.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure what a picture costs here, stage by stage, on each backend and batch size."""
    opened = open_bundle(bundle)
    sizes = [_batch_size(size.strip(), None) for size in batch_size.split(",")]
    asked = backend or [status.name for status in probe() if status.usable and status.name != "tensorrt"]
    backends = [choose_backend(name)[0] for name in asked]
    if rounds < 1:
        raise RequestError("--rounds", found=str(rounds), expected="at least 1", mend="change the value")
    if record is not None:
        expect_folder_of(record)
    requests = [
        make_request(
            opened.manifest,
            class_names=[class_name or next(iter(opened.manifest.classes))],
            n=1,
            backend=name,
            num_inference_steps=steps,
            guidance_scale=guidance_scale,
            batch_size=size,
            precision=chosen,
            threads=threads,
        )
        for size in sizes
        for name in backends
        for chosen in ((precision or PRECISIONS) if name == "openvino" else ("auto",))
    ]
    from engine import bench as room

    found = room.bench(opened, requests, rounds=rounds)
    if record is not None:
        write_json(record, found)
    if as_json:
        print(json.dumps(found))
        return
    columns = ("backend", "precision", "batch", "ms a picture", "pictures/s", "denoise", "decode", "PNG", "host share")
    table = Table(*columns, title="medians; denoise, decode and PNG in ms a picture")
    for row in found["measured"]:
        stages = [median(row[name]) / row["batch_size"] for name in ("denoise_ms", "decode_ms", "png_ms")]
        figures = [f"{row['picture_ms']:.1f}", f"{1000 / row['picture_ms']:.2f}", *(f"{stage:.1f}" for stage in stages)]
        share = "" if row["host_share"] is None else f"{row['host_share']:.1%}"
        table.add_row(row["backend"], row["precision"], str(row["batch_size"]), *figures, share)
    Console().print(table)


@app.command()
def reference(
    bundle: BundleArgument = "cells",
    class_name: Annotated[list[str] | None, typer.Option("--class", help="By default all; may be repeated.")] = None,
    backend: Annotated[str, typer.Option(help="openvino in float32, or tensorrt in its plans' own.")] = "openvino",
    steps: Annotated[int | None, typer.Option(help="Sampling steps; by default the bundle's.")] = None,
    guidance_scale: Annotated[float | None, typer.Option(help="By default the bundle's.")] = None,
    batch_size: Annotated[int, typer.Option(help="One that TensorRT's plans were built for.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="The file, of one class; by default where cyto_bench looks for it.")
    ] = None,
) -> None:
    """Write the noise, latents and picture of seed 0 under DPM++ 2M, with which cpp_bench compares its own."""
    opened = open_bundle(bundle)
    from engine import reference as room

    requests = room.reference_requests(
        opened.manifest,
        class_name or ["all"],
        backend=backend,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        batch_size=batch_size,
    )
    paths = [out or room.default_path(opened, request) for request in requests]
    if len(set(paths)) < len(paths):
        found = f"{len(paths)} classes"
        raise RequestError("--out", found=found, expected="one class", mend="name one with --class, or no --out")
    expect_folder_of(paths[0])
    choose_backend(backend, requests[0].precision, opened, requests[0])
    for request, path in zip(requests, paths, strict=True):
        room.write_reference(opened, request, path)
        print(path)


@app.command("png-info")
def png_info(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A picture that generate wrote.")],
    as_json: JsonOption = False,
) -> None:
    """Say how a picture was made, and the command that makes it again."""
    from engine.png_info import read_png

    found = read_png(file)
    if as_json:
        facts = {"parameters": found.parameters, "cytosynth": found.description, "command": found.command}
        print(json.dumps(facts))
        return
    print(printable(found.parameters), end="\n\n")
    for name, value in found.description.items():
        print(printable(f"{name}: {value}"))
    bundle_hash = found.description.get("bundle_sha256", "unknown")
    print(printable(f"\nThis command makes it again, --bundle naming the one of SHA-256 {bundle_hash}:"))
    print(printable(found.command))


def main() -> None:
    """Run the command line; wrong requests exit 2, failures exit 1."""
    try:
        app()
    except CytosynthError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


def _origin_words(origin: str) -> str:
    return "phantom pictures (procedural, no patient data)" if origin == "phantom" else origin


def _batch_size(asked: str | None, previous: dict[str, Any] | None) -> int | None:
    """None is the bundle's own. A run that is continued keeps what was measured when it began."""
    if asked is None:
        return None
    if asked == AUTO:
        kept = (previous or {}).get("batch_size")
        return kept if isinstance(kept, int) else None
    if not (asked.isascii() and asked.isdecimal()):
        raise RequestError("--batch-size", found=asked, expected="a number above 0, or auto", mend="change the value")
    return int(asked)


def _report(bundle: Bundle, request: GenerateRequest, result: RunResult, as_json: bool) -> None:
    classes = bundle.manifest.classes
    if as_json:
        facts = {
            "made": result.made,
            "total": result.total,
            "failed": result.failed,
            "complete": not result.stopped,
            "seconds": round(result.seconds, 3),
            "seed": request.seed,
            "batch_size": request.batch_size,
            "out": str(result.folder),
            "sheet": None if result.sheet is None else str(result.sheet),
            "trained_on": {name: classes[name].origin for name in request.class_names},
        }
        print(json.dumps(facts))
        return
    rate = f", {result.made / result.seconds:.1f} a second" if result.made else ""
    print(f"{result.total} synthetic pictures, {result.made} of them new, in {result.seconds:.1f} s{rate}.")
    for name in request.class_names:
        print(f"{name}: trained on {classes[name].pictures} {_origin_words(classes[name].origin)}.")
    if result.failed:
        print(f"{result.failed} seeds gave no picture: see {result.folder / 'failed.jsonl'}.")
    print(f"Folder:        {result.folder}")
    if result.stopped:
        print("Stopped before the end; every picture and shard is whole. The same command continues the run.")
    else:
        print(f"Contact sheet: {result.sheet}")
