"""A whole run: chunks of batch-size pictures by absolute index, files, and the record."""

from __future__ import annotations

import platform
import threading
import time
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend
from engine.backends.select import open_backend
from engine.bundle import Bundle
from engine.chunks import Chunks
from engine.errors import CytosynthError
from engine.formats import ImageFolder, Output, PictureWriter, WebDataset, encode_png, shard_counts
from engine.journal import METADATA, Journal
from engine.line import ahead
from engine.loops import Stopped
from engine.pipeline import Pipeline, check_opening, plan_of
from engine.provenance import describe, own_version
from engine.request import GenerateRequest
from engine.rescue import Checked, Rescue
from engine.sheet import write_sheet

__all__ = ["RunResult", "generate"]


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
    stop: threading.Event | None = None,
    progress: Callable[[int, int, str], None] = lambda done, total, class_name: None,
) -> RunResult:
    """Write the run's pictures, metadata.jsonl, run.json and sheet.png.

    Everything is checked, every hash included, before a model loads or the folder is touched. A run that was cut off
    is continued by the same request; the last chunk is padded, so no picture depends on where a run stopped.
    backend: in place of the one that the request names. When `stop` is set, what is finished is written and the run
    ends. Raises RequestError for a wrong request, CytosynthError for a failure while running.
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
        identity["shard"] = str(output.piece)
    chunks = Chunks(request.counts, request.batch_size, output.piece)
    journal = Journal(output.folder, identity, chunks, overwrite=output.overwrite)
    bundle.verify_for(request.class_names)
    check_opening(bundle, request, runtime)
    began = time.monotonic()
    done = journal.start()
    total, made = chunks.done_here(chunks.stop), 0
    progress(chunks.done_here(done), total, request.class_names[0])
    try:
        with _open_writer(bundle, output, chunks.pictures_before(done)) as writer:
            while done < chunks.stop and not stop.is_set():
                position = chunks.position(done)
                worker = _ClassWorker(bundle, request, position, chunks, runtime, stop)
                with closing(worker.produce(range(done, min(chunks.stop, chunks.end(position))))) as produced:
                    for finished in produced:
                        rows = worker.write(finished, writer)
                        writer.flush()
                        journal.append(rows, finished.failures)
                        done, made = finished.chunk + 1, made + len(rows)
                        progress(chunks.done_here(done), total, request.class_names[position])
            complete = done == chunks.stop
            if complete:
                writer.finish()
        failed = journal.failed_count()
        total_now = chunks.done_here(done) - failed
        seconds = time.monotonic() - began
        journal.write_run(
            complete=complete,
            seconds=round(seconds, 3),
            pictures_in_this_call=made,
            failed=failed,
            versions={"cytosynth": own_version(), "runtime": runtime.version, "python": platform.python_version()},
        )
        sheet = write_sheet(output.folder) if complete and total_now and output.piece is None else None
    except OSError as error:
        raise CytosynthError(
            f"Writing into {output.folder}",
            found=error.strerror or str(error),
            expected="room and permission to write; every picture and shard that is there is whole",
            mend="make room, then the same command goes on",
        ) from error
    finally:
        journal.close()
    return RunResult(output.folder, sheet, made, total_now, failed, not complete, seconds)


def _open_writer(bundle: Bundle, output: Output, done: int) -> PictureWriter:
    if output.format == "imagefolder":
        return ImageFolder(output.folder)
    assert output.shard_pictures is not None
    written = shard_counts(output.folder / METADATA)
    return WebDataset(output.folder, bundle.manifest.name, per_shard=output.shard_pictures, done=done, written=written)


@dataclass(frozen=True)
class _Finished:
    """A chunk that is ready to be written: PNG bytes and description by place, and the seeds that gave no picture."""

    chunk: int
    pictures: list[tuple[int, bytes, dict[str, Any]]]
    failures: list[dict[str, Any]]


class _ClassWorker:
    """The production line of one class: denoising, decoding and encoding, each ahead of the next."""

    def __init__(
        self,
        bundle: Bundle,
        request: GenerateRequest,
        position: int,
        chunks: Chunks,
        backend: Backend,
        stop: threading.Event,
    ) -> None:
        self._bundle, self._request, self._chunks = bundle, request, chunks
        self._backend, self._stop, self._position = backend, stop, position
        self._class_name = request.class_names[position]
        plan, scales = plan_of(bundle, request)
        self._description = describe(bundle, request, self._class_name, plan.sha256(scales))

    def produce(self, chunks: range) -> Generator[_Finished]:
        """Finished chunks in their order. It ends early when it is asked to stop; when it is closed early, what runs
        ahead is told to stop too."""
        with ExitStack() as opened:
            pipeline = opened.enter_context(Pipeline(self._bundle, self._class_name, self._request, self._backend))
            rescue = opened.enter_context(closing(Rescue(self._bundle, self._class_name, self._request)))
            denoised = opened.enter_context(closing(ahead(self._denoise(pipeline, chunks))))
            checked = opened.enter_context(closing(ahead(self._decode(pipeline, rescue, denoised))))
            encoded = opened.enter_context(closing(ahead(self._encode(checked))))
            try:
                yield from encoded
            except BaseException:
                self._stop.set()
                raise

    def _seeds(self, chunk: int) -> list[int]:
        first = self._request.seed + self._chunks.start(chunk)
        return [first + i for i in range(self._request.batch_size)]

    def _denoise(self, pipeline: Pipeline, chunks: range) -> Iterator[tuple[int, NDArray[np.float32]]]:
        with suppress(Stopped):
            for chunk in chunks:
                yield chunk, pipeline.generate_latents(self._seeds(chunk), self._stop)

    def _decode(
        self, pipeline: Pipeline, rescue: Rescue, denoised: Iterator[tuple[int, NDArray[np.float32]]]
    ) -> Iterator[tuple[int, Checked]]:
        with suppress(Stopped):
            for chunk, latents in denoised:
                size = self._chunks.size(chunk)
                images, finite = pipeline.decode(latents)
                yield chunk, rescue.check(self._seeds(chunk), images[:size], finite[:size], self._stop)

    def _encode(self, checked: Iterator[tuple[int, Checked]]) -> Iterator[_Finished]:
        for chunk, found in checked:
            finished = _Finished(chunk, [], [])
            for place, (seed, image, trouble, rescued) in enumerate(
                zip(self._seeds(chunk), found.images, found.troubles, found.rescued, strict=False)
            ):
                if trouble:
                    failure = {"chunk": chunk, "class": self._class_name, "seed": seed, "reason": trouble}
                    finished.failures.append(failure)
                    continue
                description = {**self._description, "seed": seed, **({"rescued": rescued} if rescued else {})}
                finished.pictures.append((place, encode_png(image, description), description))
            yield finished

    def write(self, finished: _Finished, writer: PictureWriter) -> list[dict[str, Any]]:
        """Write a chunk's pictures; returns their metadata lines."""
        start, before = self._chunks.start(finished.chunk), self._chunks.pictures_before(finished.chunk)
        rows = []
        for place, png, description in finished.pictures:
            name = writer.write(before + place, start + place, self._position, png, description)
            rows.append({"file_name": name, **description})
        return rows
