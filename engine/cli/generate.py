"""The command `generate`."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from engine.backends.select import AUTO, BACKENDS, choose_backend, settled
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.manifest import PRECISIONS
from engine.bundle.request import GenerateRequest, make_request
from engine.cli.options import JsonOption, origin_words, parse_batch_size
from engine.errors import RequestError
from engine.output.chunks import Chunks, parse_piece
from engine.output.formats import FORMATS, make_output
from engine.output.journal import Journal, previous_identity
from engine.runs.balance import missing_pictures
from engine.sampling.samplers import SAMPLERS
from engine.sampling.schedules import SCHEDULES
from engine.terminal import ProgressBar, stopped_by_signals

if TYPE_CHECKING:
    from engine.runs.generate import RunResult

__all__ = ["generate"]


def generate(
    context: typer.Context,
    class_name: Annotated[
        list[str] | None, typer.Option("--class", help="A class of the bundle, or all; may be repeated.")
    ] = None,
    n: Annotated[int | None, typer.Option("--n", help="Pictures of each class.")] = None,
    balance: Annotated[
        Path | None,
        typer.Option(help="Real pictures by class: make what each class lacks to --n, or to the largest class."),
    ] = None,
    out: Annotated[
        str,
        typer.Option(metavar="DIR|URL", help="The output folder, or a URL that fsspec can write to, such as s3://."),
    ] = "out",
    seed: Annotated[int, typer.Option(help="Picture i has seed + i; -1 draws one.")] = 0,
    rng: Annotated[str, typer.Option(help="numpy, or nv for the noise of CUDA's randn.")] = "numpy",
    bundle: Annotated[str, typer.Option(help="An embedded bundle's name, or a folder.")] = "cells",
    preset: Annotated[str | None, typer.Option(help="Of the bundle, such as fast; options beside it count.")] = None,
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
    threads: Annotated[int, typer.Option(help="Processor threads; 0 takes every core of this process.")] = 0,
    precision: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(PRECISIONS)}; f32 is exact; a continued run keeps its own.")
    ] = None,
    file_format: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = FORMATS[0],
    shard_pictures: Annotated[
        int | None, typer.Option(help="Pictures of a webdataset shard; by default about 1 GB.")
    ] = None,
    shard: Annotated[
        str | None, typer.Option(help="K/N: make one of N pieces, for array jobs; merge-runs joins them.")
    ] = None,
    ray: Annotated[
        str | None,
        typer.Option(metavar="ADDRESS", help="Make it on a Ray cluster: auto, host:port, or local to start one here."),
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Ray workers, a GPU or --threads cores each.")] = None,
    overwrite: Annotated[bool, typer.Option(help="Replace another run in the output folder.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Make n pictures of each class. The same command again continues a run that was cut off."""
    if workers is not None and ray is None:
        raise RequestError("--workers", found="no --ray", expected="--ray ADDRESS", fix="name a Ray cluster, or local")
    opened = open_bundle(bundle)
    class_names, counts = _wanted(opened, class_name or [], n, balance)
    if counts == {}:
        nothing = {"made": 0, "total": 0, "failed": 0, "complete": True}
        print(json.dumps(nothing) if as_json else f"No class of {balance} lacks a picture.")
        return
    piece = None if shard is None else parse_piece(shard)
    folder, remote = Path(out) if piece is None else piece.folder(Path(out)), None
    if "://" in out:
        for flag, given in (("--shard", piece is not None), ("--overwrite", overwrite)):
            if given:
                raise RequestError(
                    flag, found=f"--out {out}", expected="a folder", fix=f"leave {flag} out, or name a folder"
                )
        from engine.output.remote import open_remote

        remote = context.with_resource(open_remote(out))
        folder = remote.folder
    previous = None if overwrite else previous_identity(folder)
    request = make_request(
        opened.manifest,
        class_names=class_names,
        n=counts,
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
        batch_size=parse_batch_size(batch_size, previous),
        precision=precision,
        threads=threads,
        preset=preset,
        previous=previous,
    )
    output = make_output(folder, file_format, request.width, request.height, shard_pictures, piece, overwrite=overwrite)
    # Runtimes are imported from here on, so that a wrong request costs nothing and needs none.
    wanted = AUTO if precision is None and request.precision == "int8" else request.precision
    chosen_backend, why = choose_backend(backend, wanted, opened, request)
    request = settled(request, chosen_backend, precision)
    print(f"Backend: {why}.", file=sys.stderr)
    from engine.runs import generate as run
    from engine.runs.production import produce

    if batch_size == AUTO and not previous:
        # Nothing is measured for a folder that will be refused.
        Journal(folder, {}, Chunks([1], 1), overwrite=overwrite)
        from engine.measure.batch_size import measure_batch_size

        chosen, words = measure_batch_size(opened, request)
        print(f"Batch size: {words}.", file=sys.stderr)
        request = replace(request, batch_size=chosen)
    with ExitStack() as open_here:
        producer = produce
        if ray is not None:
            from engine.runs.distributed import open_cluster

            producer = open_here.enter_context(
                open_cluster(ray, 1 if workers is None else workers, request.threads)
            ).produce
        show, stop = open_here.enter_context(ProgressBar()), open_here.enter_context(stopped_by_signals())

        def progress(done: int, total: int, class_name: str) -> None:
            show(done, total, class_name)
            if remote is not None:
                remote.follow()

        result = run.generate(opened, request, output, produced_by=producer, stop=stop, progress=progress)
    if remote is not None and not result.stopped:
        remote.finish()
    _report(opened, request, result, str(folder) if remote is None else out.rstrip("/"), as_json)
    if result.failed or result.stopped:
        sys.exit(1)


def _wanted(
    bundle: Bundle, chosen: list[str], n: int | None, balance: Path | None
) -> tuple[list[str], int | dict[str, int]]:
    """The classes, and the pictures of each, or by class; nothing where nothing lacks. Raises RequestError."""
    if balance is not None:
        counts = missing_pictures(balance, list(bundle.manifest.classes), chosen, n)
        return list(counts), counts
    if n is None:
        raise RequestError("generate", found="no --n", expected="--n or --balance", fix="say how many pictures")
    return chosen, n


def _report(bundle: Bundle, request: GenerateRequest, result: RunResult, place: str, as_json: bool) -> None:
    """place: the folder or URL that the pictures are in."""
    classes = bundle.manifest.classes
    sheet = None if result.sheet is None else f"{place}/{result.sheet.name}"
    if as_json:
        facts = {
            "made": result.made,
            "total": result.total,
            "failed": result.failed,
            "complete": not result.stopped,
            "seconds": round(result.seconds, 3),
            "seed": request.seed,
            "batch_size": request.batch_size,
            "out": place,
            "sheet": sheet,
            "trained_on": {name: classes[name].origin for name in request.class_names},
        }
        print(json.dumps(facts))
        return
    rate = f", {result.made / result.seconds:.1f} a second" if result.made else ""
    print(f"{result.total} synthetic pictures, {result.made} of them new, in {result.seconds:.1f} s{rate}.")
    for name in request.class_names:
        print(f"{name}: trained on {classes[name].pictures} {origin_words(classes[name].origin)}.")
    if result.failed:
        print(f"{result.failed} seeds gave no picture: see {place}/failed.jsonl.")
    print(f"Folder:        {place}")
    if result.stopped:
        print("Stopped before the end; every picture and shard is whole. The same command continues the run.")
    elif sheet is not None:
        print(f"Contact sheet: {sheet}")
