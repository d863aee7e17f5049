"""A whole run: chunks of batch-size pictures by absolute index, files, and the record."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Generator, Iterable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.backends.base import Backend
from engine.backends.select import open_backend
from engine.bundle.folder import Bundle
from engine.bundle.job import Job
from engine.errors import CytosynthError
from engine.output.chunks import Chunks
from engine.output.croissant import write_croissant
from engine.output.formats import ImageFolder, Output, PictureWriter, WebDataset, shard_counts
from engine.output.journal import METADATA, Journal, expect_same_run, previous_identity
from engine.output.sheet import SHEET, write_sheet
from engine.pipeline.pipeline import check_opening
from engine.progress import Progress, silent
from engine.runs.production import Finished, produce
from engine.version import __version__

__all__ = ["Producer", "RunResult", "generate"]


Producer = Callable[[Job, Chunks, int, Backend, threading.Event], Generator[Finished, None, None]]
"""The type of engine.runs.production.produce."""


@dataclass(frozen=True)
class RunResult:
    """The result of a run. `made` counts the pictures of this call, `total` the pictures in the folder."""

    folder: Path
    sheet: Path | None
    made: int
    total: int
    failed: int
    """Number of seeds that gave no picture, in the whole run."""
    stopped: bool
    """Whether the run was stopped before its end."""
    seconds: float


def generate(
    job: Job,
    output: Output,
    *,
    backend: Backend | None = None,
    produced_by: Producer = produce,
    stop: threading.Event | None = None,
    progress: Progress = silent,
) -> RunResult:
    """Write the run's pictures, metadata.jsonl, run.json, croissant.json and sheet.png.

    Everything, including every hash, is checked before a model loads or the folder is touched. The same job resumes
    an interrupted run. The last chunk of a class is padded, so that no picture depends on where a run stopped.

    Args:
        job: What to make.
        output: Where and in which format to write.
        backend: Used instead of the backend that the request names.
        produced_by: Makes the chunks, in order.
        stop: When it is set, the finished chunks are written and the run ends.
        progress: Called after each chunk with the class and the number of pictures in the folder.

    Raises RequestError for a wrong request, CytosynthError for a failure while running.
    """
    runtime = backend or open_backend(job)
    identity = _identity(job, output, runtime)
    if output.piece is not None:
        _expect_room_for_piece(output.folder.parent.parent, identity)
    chunks = Chunks(job.request.counts, job.request.batch_size, output.piece)
    journal = Journal(output.folder, identity, chunks, overwrite=output.overwrite)
    job.bundle.verify_for(job.request.class_names, job.request.preset)
    check_opening(job, runtime)
    began = time.monotonic()
    done = journal.start()
    try:
        progress(job.request.class_names[0], chunks.done_here(done), chunks.done_here(chunks.stop))
        if journal.complete and done == chunks.stop:
            sheet = output.folder / SHEET
            return _result(journal, done, 0, began, sheet if sheet.exists() else None)
        with closing(produced_by(job, chunks, done, runtime, stop or threading.Event())) as produced:
            done, made = _write_chunks(produced, job, output, journal, done, progress)
        return _finish(journal, output, done, made, began, runtime)
    except OSError as error:
        raise CytosynthError(
            f"Writing into {output.folder}",
            found=error.strerror or str(error),
            expected="a writable folder with free space (finished files are intact)",
            fix="free some space and run the same command again to resume",
        ) from error
    finally:
        journal.close()


def _identity(job: Job, output: Output, runtime: Backend) -> dict[str, Any]:
    """Return what must be equal for a run to be resumed."""
    identity = {
        "bundle_sha256": job.bundle.sha256,
        **job.request.as_json(),
        "runtime": runtime.version,
        "format": output.format,
    }
    if output.format == "webdataset":
        identity["shard_pictures"] = output.shard_pictures
    if output.piece is not None:
        identity["shard"] = str(output.piece)
    return identity


def _write_chunks(
    produced: Iterable[Finished], job: Job, output: Output, journal: Journal, done: int, progress: Progress
) -> tuple[int, int]:
    """Write chunks as they are produced. Return how many chunks are done, and how many pictures were written here."""
    chunks, made = journal.chunks, 0
    with _open_writer(job.bundle, output, chunks.pictures_before(done)) as writer:
        for finished in produced:
            rows = _write(finished, chunks, writer)
            writer.flush()
            journal.append(rows, finished.failures)
            done, made = finished.chunk + 1, made + len(rows)
            class_name = job.request.class_names[chunks.position(finished.chunk)]
            progress(class_name, chunks.done_here(done), chunks.done_here(chunks.stop))
        if done == chunks.stop:
            writer.finish()
    return done, made


def _finish(journal: Journal, output: Output, done: int, made: int, began: float, runtime: Backend) -> RunResult:
    """Write what describes the whole run: Croissant metadata and sheet if it is complete, and run.json."""
    complete, failed = done == journal.chunks.stop, journal.failed_count()
    sheet = None
    if complete and journal.chunks.done_here(done) > failed and output.piece is None:
        write_croissant(output.folder)
        sheet = write_sheet(output.folder)
    result = _result(journal, done, made, began, sheet)
    journal.write_run(
        complete=complete,
        seconds=round(result.seconds, 3),
        pictures_in_this_call=made,
        failed=failed,
        versions={"cytosynth": __version__, "runtime": runtime.version, "python": platform.python_version()},
    )
    return result


def _result(journal: Journal, done: int, made: int, began: float, sheet: Path | None) -> RunResult:
    failed = journal.failed_count()
    return RunResult(
        folder=journal.folder,
        sheet=sheet,
        made=made,
        total=journal.chunks.done_here(done) - failed,
        failed=failed,
        stopped=done < journal.chunks.stop,
        seconds=time.monotonic() - began,
    )


def _expect_room_for_piece(out: Path, identity: dict[str, Any]) -> None:
    """Raise RequestError if `out` holds another run, because the pieces could not be joined there."""
    if (previous := previous_identity(out)) is not None:
        whole = {key: value for key, value in identity.items() if key != "shard"}
        expect_same_run(out, previous, whole, "name another folder with --out")


def _open_writer(bundle: Bundle, output: Output, done: int) -> PictureWriter:
    if output.format == "imagefolder":
        return ImageFolder(output.folder)
    assert output.shard_pictures is not None
    written = shard_counts(output.folder / METADATA)
    return WebDataset(output.folder, bundle.manifest.name, per_shard=output.shard_pictures, done=done, written=written)


def _write(finished: Finished, chunks: Chunks, writer: PictureWriter) -> list[dict[str, Any]]:
    """Write the pictures of a chunk. Return their lines of metadata."""
    start, before = chunks.start(finished.chunk), chunks.pictures_before(finished.chunk)
    position = chunks.position(finished.chunk)
    return [
        {"file_name": writer.write(before + place, start + place, position, png, description), **description}
        for place, png, description in finished.pictures
    ]
