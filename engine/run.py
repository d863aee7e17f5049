"""A whole run: classes, chunks of batch-size pictures by absolute index, files, and the record."""

from __future__ import annotations

import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from engine.backends.openvino import OpenVINOBackend
from engine.bundle import Bundle
from engine.formats import write_png
from engine.journal import Journal
from engine.pipeline import Pipeline
from engine.provenance import describe
from engine.request import GenerateRequest
from engine.sheet import write_sheet

__all__ = ["RunResult", "generate"]


@dataclass(frozen=True)
class RunResult:
    """What a run left behind; `made` counts the pictures of this call, `total` those in the folder."""

    folder: Path
    sheet: Path
    made: int
    total: int
    seconds: float


def generate(
    bundle: Bundle,
    request: GenerateRequest,
    out: Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int, str], None] = lambda done, total, class_name: None,
) -> RunResult:
    """Write the run's pictures, metadata.jsonl, run.json and sheet.png into `out`.

    Everything is checked, every hash included, before a model loads or `out` is touched. A run that was cut off is
    continued by the same request; the last chunk is padded, so no picture depends on where a run stopped.
    Raises RequestError for a wrong request, CytosynthError for a failure while running.
    """
    identity = {"bundle_sha256": bundle.sha256, **request.as_json()}
    journal = Journal(out, identity, overwrite=overwrite)
    for name in request.class_names:
        bundle.verify_class(name)
    chunks = [(name, start) for name in request.class_names for start in range(0, request.n, request.batch_size)]
    sizes = [min(request.batch_size, request.n - start) for _, start in chunks]
    lines = journal.lines()
    done = 0
    while done < len(chunks) and sum(sizes[: done + 1]) <= len(lines):
        done += 1
    made = kept = sum(sizes[:done])
    total = sum(sizes)
    began = time.monotonic()
    journal.start()
    journal.keep(lines[:kept])
    backend = OpenVINOBackend(precision=request.precision, threads=request.threads)
    progress(made, total, request.class_names[0])
    for class_name in request.class_names:
        todo = [start for name, start in chunks[done:] if name == class_name]
        if not todo:
            continue
        (out / class_name).mkdir(exist_ok=True)
        with Pipeline(bundle, class_name, request, backend) as pipeline:
            for start in todo:
                rows = _write_chunk(pipeline, bundle, request, class_name, start, out)
                journal.append(rows)
                made += len(rows)
                progress(made, total, class_name)
    seconds = time.monotonic() - began
    sheet = write_sheet(out)
    journal.write_run(
        complete=True,
        seconds=round(seconds, 3),
        pictures_in_this_call=made - kept,
        versions={"cytosynth": _own_version(), "runtime": backend.version, "python": platform.python_version()},
    )
    return RunResult(out, sheet, made - kept, total, seconds)


def _write_chunk(
    pipeline: Pipeline, bundle: Bundle, request: GenerateRequest, class_name: str, start: int, out: Path
) -> list[dict[str, object]]:
    """Make and write the pictures from index `start`; returns their metadata lines."""
    seeds = [request.seed + start + i for i in range(request.batch_size)]
    pictures = pipeline.decode(pipeline.generate_latents(seeds), seeds)
    rows = []
    for index in range(start, min(start + request.batch_size, request.n)):
        description = describe(bundle, request, class_name, request.seed + index)
        file_name = f"{class_name}/{index:06d}.png"
        write_png(out / file_name, pictures[index - start], description)
        rows.append({"file_name": file_name, **description})
    return rows


def _own_version() -> str:
    try:
        return version("cytosynth")
    except PackageNotFoundError:
        return "not installed"
