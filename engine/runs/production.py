"""The production of the chunks of a run in this process."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend
from engine.backends.kept import KeptBackend
from engine.backends.short import first_rows
from engine.bundle.job import Job
from engine.output.chunks import Chunks
from engine.output.formats import encode_png
from engine.output.provenance import describe, facts_of_picture
from engine.pipeline.loops import Stopped
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.rescue import Checked, Rescue
from engine.runs.line import ahead, opened

__all__ = ["ClassWorker", "Finished", "produce"]


EARLY_BYTES = 32 * 2**20
"""Largest weights of a UNet of which two are opened at once. Open graphs take more than ten times the memory of their
weights on disk."""
OPENED_AT_ONCE = 2
"""Number of graphs of a class that are opened at the same time."""


def produce(job: Job, chunks: Chunks, first: int, backend: Backend, stop: threading.Event) -> Generator[Finished]:
    """Yield the finished chunks from `first` to the last, in order, class by class. End early if `stop` is set.

    Classes that have a graph in common open it once. If no class has a full batch, only the rows of its pictures are
    computed. Unless graphs are large or on a GPU, two are opened at once, the first steps do not wait for the graphs
    that later ones need, and the next class is opened while a class is drawn.
    """
    backend = first_rows(backend, max(job.request.counts), job.request.batch_size)
    positions = range(chunks.position(first), chunks.position(chunks.stop - 1) + 1) if first < chunks.stop else ()
    early = not backend.on_gpu and _are_small(job)
    with (
        ThreadPoolExecutor(OPENED_AT_ONCE, "cytosynth opening") as pool,
        closing(KeptBackend(backend, most=None, opening=pool if early else None)) as kept,
    ):
        openings = [partial(_open, job, position, chunks, kept, stop) for position in positions]
        with closing(opened(openings, early=early)) as workers:
            for position, worker in zip(positions, workers, strict=True):
                if stop.is_set():
                    return
                here = range(max(first, chunks.end(position - 1)), min(chunks.stop, chunks.end(position)))
                with closing(worker.produce(here)) as produced:
                    yield from produced


def _open(job: Job, position: int, chunks: Chunks, kept: KeptBackend, stop: threading.Event) -> ClassWorker:
    """Open the models of a class. Models that no class in hand needs are closed before."""
    class_name, manifest = job.request.class_names[position], job.bundle.manifest
    kept.free(
        keep=[job.bundle.path(name) for name in manifest.graphs(class_name, job.request.precision, job.request.preset)]
    )
    return ClassWorker(job, position, chunks, kept, stop)


def _are_small(job: Job) -> bool:
    """Return whether the memory for two UNets is no concern."""
    manifest = job.bundle.manifest
    sizes = [
        sum(manifest.files[name].size_bytes for name in manifest.classes[class_name].weights)
        for class_name in job.request.class_names
    ]
    return max(sizes) <= EARLY_BYTES


@dataclass(frozen=True)
class Finished:
    """A chunk that is ready to be written.

    pictures: index in the chunk, PNG file and description of each picture. failures: one line per failed seed.
    """

    chunk: int
    pictures: list[tuple[int, bytes, dict[str, Any]]]
    failures: list[dict[str, Any]]


class ClassWorker:
    """The production line of one class. It opens the models, and denoises, decodes and encodes in parallel."""

    def __init__(self, job: Job, position: int, chunks: Chunks, backend: Backend, stop: threading.Event) -> None:
        self._job, self._request, self._chunks, self._stop = job, job.request, chunks, stop
        self._class_name = job.request.class_names[position]
        self._description = describe(job, self._class_name)
        self._pipeline = Pipeline(job, self._class_name, backend)
        self._rescue = Rescue(job, self._class_name)

    def close(self) -> None:
        """Close the models."""
        self._pipeline.close()
        self._rescue.close()

    def produce(self, chunks: Iterable[int]) -> Generator[Finished]:
        """Yield the finished chunks in order. End early if `stop` is set.

        If this generator is closed early, the stages that run ahead are stopped too.
        """
        with ExitStack() as opened:
            denoised = opened.enter_context(closing(ahead(self._denoise(chunks))))
            checked = opened.enter_context(closing(ahead(self._decode(denoised))))
            encoded = opened.enter_context(closing(ahead(self._encode(checked))))
            try:
                yield from encoded
            except BaseException:
                self._stop.set()
                raise

    def _seeds(self, chunk: int) -> list[int]:
        first = self._request.seed + self._chunks.start(chunk)
        return [first + i for i in range(self._request.batch_size)]

    def _denoise(self, chunks: Iterable[int]) -> Iterator[tuple[int, NDArray[np.float32]]]:
        with suppress(Stopped):
            for chunk in chunks:
                yield chunk, self._pipeline.generate_latents(self._seeds(chunk), self._stop)

    def _decode(
        self, denoised: Iterator[tuple[int, NDArray[np.float32]]]
    ) -> Iterator[tuple[int, Checked, Sequence[NDArray[np.uint8]]]]:
        with suppress(Stopped):
            for chunk, latents in denoised:
                size, seeds = self._chunks.size(chunk), self._seeds(chunk)
                images, finite = self._pipeline.decode(latents, seeds)
                checked = self._rescue.check(seeds, images[:size], finite[:size], self._stop)
                yield chunk, checked, self._pipeline.finish(checked.images, seeds[:size])

    def _encode(self, checked: Iterator[tuple[int, Checked, Sequence[NDArray[np.uint8]]]]) -> Iterator[Finished]:
        for chunk, found, images in checked:
            finished = Finished(chunk, [], [])
            for place, (seed, image, trouble, rescued) in enumerate(
                zip(self._seeds(chunk), images, found.troubles, found.rescued, strict=False)
            ):
                if trouble:
                    failure = {"chunk": chunk, "class": self._class_name, "seed": seed, "reason": trouble}
                    finished.failures.append(failure)
                    continue
                description = {**self._description, "seed": seed, **({"rescued": rescued} if rescued else {})}
                description |= facts_of_picture(self._job, self._class_name, seed, image.shape)
                finished.pictures.append((place, encode_png(image, description), description))
            yield finished
