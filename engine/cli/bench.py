"""The commands that measure: bench, and reference for cpp_bench."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from engine.backends.select import AUTO, choose_backend, distinct_precisions, probe
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.request import GenerateRequest, make_request
from engine.cli.options import BundleArgument, JsonOption, parse_batch_size
from engine.errors import RequestError
from engine.files import expect_folder_of, write_json

__all__ = ["bench", "reference"]


def bench(
    bundle: BundleArgument = "cells",
    class_name: Annotated[str | None, typer.Option("--class", help="By default the first of the bundle.")] = None,
    backend: Annotated[
        list[str] | None,
        typer.Option(help="By default every usable one but TensorRT, whose plans limit sizes; may be repeated."),
    ] = None,
    precision: Annotated[
        list[str] | None, typer.Option(help="Of openvino; by default all that differ here; may be repeated.")
    ] = None,
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
    sizes = [parse_batch_size(size.strip(), None) for size in batch_size.split(",")]
    asked = backend or [status.name for status in probe() if status.usable and status.name != "tensorrt"]
    backends = [choose_backend(name)[0] for name in asked]
    if rounds < 1:
        raise RequestError("--rounds", found=str(rounds), expected="at least 1", fix="change the value")
    if record is not None:
        expect_folder_of(record)
    request_of = partial(
        make_request,
        opened.manifest,
        class_names=[class_name or next(iter(opened.manifest.classes))],
        n=1,
        num_inference_steps=steps,
        guidance_scale=guidance_scale,
        threads=threads,
    )
    requests = [
        request_of(backend=name, batch_size=size, precision=chosen)
        for size in sizes
        for name in backends
        for chosen in _precisions(opened, request_of(backend=name), precision)
    ]
    from engine.measure import bench as room

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


def _precisions(bundle: Bundle, request: GenerateRequest, asked: list[str] | None) -> Sequence[str]:
    if request.backend != "openvino":
        return (AUTO,)
    return asked or distinct_precisions(bundle, request)


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
    from engine.measure import reference as room

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
        raise RequestError("--out", found=found, expected="one class", fix="name one with --class, or no --out")
    expect_folder_of(paths[0])
    choose_backend(backend, requests[0].precision, opened, requests[0])
    for request, path in zip(requests, paths, strict=True):
        room.write_reference(opened, request, path)
        print(path)
