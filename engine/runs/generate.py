"""A whole run: chunks of batch-size pictures by absolute index, files, and the record."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Generator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.backends.base import Backend
from engine.backends.select import open_backend
from engine.bundle.folder import Bundle
from engine.bundle.request import GenerateRequest
from engine.errors import CytosynthError
from engine.output.chunks import Chunks
from engine.output.croissant import write_croissant
from engine.output.formats import ImageFolder, Output, PictureWriter, WebDataset, shard_counts
from engine.output.journal import METADATA, Journal, expect_same_run, previous_identity
from engine.output.provenance import own_version
from engine.output.sheet import SHEET, write_sheet
from engine.pipeline.pipeline import check_opening
from engine.runs.production import Finished, produce

__all__ = ["Producer", "RunResult", "generate"]


Producer = Callable[[Bundle, GenerateRequest, Chunks, int, Backend, threading.Event], Generator[Finished, None, None]]
"""As engine.runs.production.produce."""


@dataclass(frozen=True)
class RunResult:
    """What a run left behind; `made` counts the pictures of this call, `total` those in the folder."""

    folder: Path
    sheet: Path | None
    made: int
    total: int
    failed: int
    """Seeds that gave no picture, in the whole run."""
    stopped: bool
    """Whether it was asked to stop before its end."""
    seconds: float


def generate(
    bundle: Bundle,
    request: GenerateRequest,
    output: Output,
    *,
    backend: Backend | None = None,
    produced_by: Producer = produce,
    stop: threading.Event | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, class_name: None,
) -> RunResult:
    """Write the run's pictures, metadata.jsonl, run.json, croissant.json and sheet.png.

    Everything is checked, every hash included, before a model loads or the folder is touched. A run that was cut off
    is continued by the same request; the last chunk is padded, so no picture depends on where a run stopped.
    backend: in place of the one that the request names. produced_by: what makes the chunks, in order. When `stop` is
    set, what is finished is written and the run ends. Raises RequestError for a wrong request, CytosynthError for a
    failure while running.
    """
    stop = stop or threading.Event()
    runtime = backend or open_backend(bundle, request)
    identity = {
        "bundle_sha256": bundle.sha256,
        **request.as_json(),
        "runtime": runtime.version,
        "format": output.format,
    }
    if output.format == "webdataset":
        identity["shard_pictures"] = output.shard_pictures
    if output.piece is not None:
        _expect_room_for_piece(output.folder.parent.parent, identity)
        identity["shard"] = str(output.piece)
    chunks = Chunks(request.counts, request.batch_size, output.piece)
    journal = Journal(output.folder, identity, chunks, overwrite=output.overwrite)
    bundle.verify_for(request.class_names)
    check_opening(bundle, request, runtime)
    began = time.monotonic()
    done = journal.start()
    total, made = chunks.done_here(chunks.stop), 0
    try:
        progress(chunks.done_here(done), total, request.class_names[0])
        if journal.complete and done == chunks.stop:
            drawn, failed = output.folder / SHEET, journal.failed_count()
            seconds = time.monotonic() - began
            return RunResult(
                output.folder, drawn if drawn.exists() else None, 0, total - failed, failed, False, seconds
            )
        with (
            _open_writer(bundle, output, chunks.pictures_before(done)) as writer,
            closing(produced_by(bundle, request, chunks, done, runtime, stop)) as produced,
        ):
            for finished in produced:
                rows = _write(finished, chunks, writer)
                writer.flush()
                journal.append(rows, finished.failures)
                done, made = finished.chunk + 1, made + len(rows)
                progress(chunks.done_here(done), total, request.class_names[chunks.position(finished.chunk)])
            complete = done == chunks.stop
            if complete:
                writer.finish()
        failed = journal.failed_count()
        total_now = chunks.done_here(done) - failed
        sheet = None
        if complete and total_now and output.piece is None:
            write_croissant(output.folder)
            sheet = write_sheet(output.folder)
        seconds = time.monotonic() - began
        journal.write_run(
            complete=complete,
            seconds=round(seconds, 3),
            pictures_in_this_call=made,
            failed=failed,
            versions={"cytosynth": own_version(), "runtime": runtime.version, "python": platform.python_version()},
        )
    except OSError as error:
        raise CytosynthError(
            f"Writing into {output.folder}",
            found=error.strerror or str(error),
            expected="room and permission to write; every picture and shard that is there is whole",
            fix="make room, then the same command goes on",
        ) from error
    finally:
        journal.close()
    return RunResult(output.folder, sheet, made, total_now, failed, not complete, seconds)


def _expect_room_for_piece(out: Path, identity: dict[str, Any]) -> None:
    """Raise RequestError where the pieces could not be joined in the end, for another run is there."""
    if (previous := previous_identity(out)) is not None:
        expect_same_run(out, previous, identity, "name another with --out")


def _open_writer(bundle: Bundle, output: Output, done: int) -> PictureWriter:
    if output.format == "imagefolder":
        return ImageFolder(output.folder)
    assert output.shard_pictures is not None
    written = shard_counts(output.folder / METADATA)
    return WebDataset(output.folder, bundle.manifest.name, per_shard=output.shard_pictures, done=done, written=written)


def _write(finished: Finished, chunks: Chunks, writer: PictureWriter) -> list[dict[str, Any]]:
    """Write a chunk's pictures; returns their metadata lines."""
    start, before = chunks.start(finished.chunk), chunks.pictures_before(finished.chunk)
    position = chunks.position(finished.chunk)
    return [
        {"file_name": writer.write(before + place, start + place, position, png, description), **description}
        for place, png, description in finished.pictures
    ]
