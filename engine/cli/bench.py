"""The commands that measure: `engine bench`, and `engine reference` for cpp_bench."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from engine.backends.select import choose_backend, distinct_precisions, probe
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import AUTO, GuidanceSettings, HardwareSettings, RequestSettings, SamplingSettings
from engine.cli.options import BundleArgument, JsonOption
from engine.cli.settings import ComparedSettings
from engine.errors import RequestError
from engine.files import expect_folder_of, write_json
from engine.locks import locked_folder_of
from engine.options import Without, parse_each, with_options

__all__ = ["bench", "reference"]

Steps = Annotated[
    SamplingSettings,
    Without("seed", "rng", "preset", "sampler", "schedule", "langevin_step_size", "langevin_steps_per_level"),
]
SamplerAndSteps = Annotated[
    SamplingSettings, Without("seed", "rng", "schedule", "langevin_step_size", "langevin_steps_per_level")
]
"""The sampler of a reference. Without one it is DPM++ 2M, or the table of the preset."""
Scale = Annotated[GuidanceSettings, Without("guidance_interval")]


@with_options
def bench(
    compared: ComparedSettings,
    sampling: Steps,
    guidance: Scale,
    hardware: Annotated[HardwareSettings, Without("batch_size", "backend", "precision")],
    bundle: BundleArgument = "cells",
    class_name: Annotated[
        str | None, typer.Option("--class", help="Class (default: the first class of the bundle).")
    ] = None,
    record: Annotated[Path | None, typer.Option(help="File for the record with the raw samples.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Measure the time per picture on this machine, stage by stage, for each backend and batch size."""
    opened = open_bundle(bundle)
    if record is not None:
        expect_folder_of(record)
    settings = RequestSettings(sampling, guidance, hardware=hardware)
    jobs = list(_jobs(opened, class_name or next(iter(opened.manifest.classes)), compared, settings))
    from engine.measure.bench import bench as measure

    with nullcontext() if record is None else locked_folder_of(record):
        found = measure(jobs, rounds=compared.rounds)
        if record is not None:
            write_json(record, found)
    if as_json:
        print(json.dumps(found))
    else:
        Console().print(_table(found))


def _jobs(bundle: Bundle, class_name: str, compared: ComparedSettings, settings: RequestSettings) -> Iterator[Job]:
    """Yield the job of each batch size, backend and precision. settings: what all jobs share."""
    wanted = compared.backend or [status.name for status in probe() if status.usable and status.name != "tensorrt"]
    backends = [choose_backend(name)[0] for name in wanted]

    def job(**options: Any) -> Job:
        hardware = replace(settings.hardware, **options)
        return make_job(bundle, [class_name], 1, replace(settings, hardware=hardware))

    for size in compared.batch_size:
        for name in backends:
            precisions = [AUTO]
            if name == "openvino":
                precisions = compared.precision or [*distinct_precisions(job(backend=name))]
            for precision in precisions:
                yield job(backend=name, batch_size=size, precision=precision)


def _table(found: dict[str, Any]) -> Table:
    columns = ("backend", "precision", "batch", "ms/picture", "pictures/s", "denoise", "decode", "PNG", "host share")
    table = Table(*columns, title="Medians. denoise, decode and PNG are in ms per picture.")
    for row in found["measured"]:
        stages = [median(row[name]) / row["batch_size"] for name in ("denoise_ms", "decode_ms", "png_ms")]
        figures = [f"{row['picture_ms']:.1f}", f"{1000 / row['picture_ms']:.2f}", *(f"{stage:.1f}" for stage in stages)]
        share = "" if row["host_share"] is None else f"{row['host_share']:.1%}"
        table.add_row(row["backend"], row["precision"], str(row["batch_size"]), *figures, share)
    return table


@with_options
def reference(
    sampling: SamplerAndSteps,
    guidance: Scale,
    bundle: BundleArgument = "cells",
    class_name: Annotated[
        list[str] | None,
        typer.Option("--class", help="Class, or classes separated by commas (default: all classes). May be repeated."),
    ] = None,
    backend: Annotated[
        str, typer.Option(help="Runtime: openvino (float32), or tensorrt (in the format of its plans).")
    ] = "openvino",
    batch_size: Annotated[int, typer.Option(help="Batch size. TensorRT needs plans for this size.")] = 1,
    out: Annotated[
        Path | None,
        typer.Option(help="Output file, for one class (default: the place in which cyto_bench looks for it)."),
    ] = None,
) -> None:
    """Write the sampler's table, noise, latents and picture of seed 0, which cpp_bench repeats and compares."""
    opened = open_bundle(bundle)
    from engine.measure.reference import default_path, reference_jobs, write_reference

    jobs = reference_jobs(
        opened,
        parse_each(class_name) or ["all"],
        backend=backend,
        sampler=sampling.sampler,
        num_inference_steps=sampling.num_inference_steps,
        guidance_scale=guidance.guidance_scale,
        batch_size=batch_size,
        preset=sampling.preset,
    )
    paths = [out or default_path(job) for job in jobs]
    if len(set(paths)) < len(paths):
        found, fix = f"{len(paths)} classes", "name one class with --class, or leave out --out"
        raise RequestError("--out", found=found, expected="one class", fix=fix)
    expect_folder_of(paths[0])
    choose_backend(backend, jobs[0].request.precision, jobs[0])
    for job, path in zip(jobs, paths, strict=True):
        with locked_folder_of(path):
            write_reference(job, path)
        print(path)
