"""The engine as a library: `Engine.open("cells").generate("cyt_mast", n=10_000)`."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from engine.backends.select import AUTO, choose_backend, open_backend, settled
from engine.backends.short import first_rows
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import settings_of
from engine.errors import CytosynthError, RequestError
from engine.output.chunks import Chunks
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.rescue import Rescue
from engine.runs.line import ahead

__all__ = ["Batch", "ChunkMaker", "Engine", "picture_failed"]


@dataclass(frozen=True)
class Batch:
    """Pictures of one class: images (B, H, W, 3) uint8 RGB, and the seed of each."""

    images: NDArray[np.uint8]
    seeds: tuple[int, ...]
    class_name: str
    failures: Mapping[int, str] = field(default_factory=dict)
    """Maps the index of each failed picture to the reason: blank, or not finite even in float32."""


class Engine:
    """A bundle and a backend. No model is opened until pictures are made."""

    def __init__(self, bundle: Bundle, *, backend: str = AUTO, precision: str | None = None, threads: int = 0) -> None:
        self.bundle = bundle
        self._hardware: dict[str, Any] = {
            "backend": choose_backend(backend, precision or AUTO)[0],
            "precision": precision,
            "threads": threads,
        }

    @classmethod
    def open(
        cls, bundle: str = "cells", *, backend: str = AUTO, precision: str | None = None, threads: int = 0
    ) -> Self:
        """Open a bundle, and choose the backend that computes its pictures.

        Args:
            bundle: Name of an embedded bundle, or path of a bundle's folder.
            backend: "auto", "openvino", "onnxruntime" or "tensorrt".
            precision: "auto", "f32" or "int8" (default: the precision of each request's preset, or "auto").
            threads: Processor threads; 0 uses every core available to the process.

        Raises RequestError.
        """
        return cls(open_bundle(bundle), backend=backend, precision=precision, threads=threads)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the bundle."""
        return tuple(self.bundle.manifest.classes)

    def job(self, class_name: str, n: int, **options: Any) -> Job:
        """Return the checked job of n pictures of a class. It takes the options of `generate`. Raises RequestError."""
        job = make_job(self.bundle, [class_name], n, settings_of(**self._hardware, **options))
        for words in job.warnings:
            warnings.warn(words, UserWarning, stacklevel=2)
        return settled(job, job.request.backend, self._hardware["precision"])

    def generate(self, class_name: str, n: int, *, seed: int = 0, **options: Any) -> Iterator[Batch]:
        """Yield n pictures of a class, batch by batch, each batch when it is asked for.

        The pictures equal, byte for byte, those that `engine generate` writes with the same settings. The request and
        the hashes of the bundle are checked at once. A picture that stays blank or non-finite is left out of its
        batch, with a warning.

        Args:
            class_name: A class of the bundle.
            n: Number of pictures.
            seed: Seed of the first picture; picture i has seed + i.
            options: Fields of SamplingSettings, GuidanceSettings and PictureSettings in engine.bundle.settings, such as
                `num_inference_steps`, `guidance_scale`, `prompt` or `width`; of InitialSettings in
                engine.initial.settings, such as `init` and `strength`; and `batch_size`.

        Raises RequestError.
        """
        job = self.job(class_name, n, seed=seed, **options)
        self.bundle.verify_for(job.request.class_names, job.request.preset)
        return self._batches(job)

    def _batches(self, job: Job) -> Iterator[Batch]:
        with ExitStack() as opened:
            maker = opened.enter_context(closing(ChunkMaker(job)))
            for batch in opened.enter_context(closing(ahead(maker.make(chunk) for chunk in range(maker.count)))):
                yield _without_failures(batch)


def picture_failed(batch: Batch, place: int) -> CytosynthError:
    """Return the error of a failed picture, given by its index in the batch."""
    return CytosynthError(
        f"The picture of {batch.class_name}, seed {batch.seeds[place]}",
        found=batch.failures[place],
        expected="a picture, at least in float32",
        fix="use a smaller guidance_scale, or leave out this seed",
    )


def _without_failures(batch: Batch) -> Batch:
    if not batch.failures:
        return batch
    for place in batch.failures:
        warnings.warn(str(picture_failed(batch, place)), RuntimeWarning, stacklevel=3)
    kept = [i for i in range(len(batch.seeds)) if i not in batch.failures]
    return Batch(batch.images[kept], tuple(batch.seeds[i] for i in kept), batch.class_name)


def _expect_equal_sizes(job: Job, class_name: str) -> None:
    """Raise RequestError if the finished pictures cannot lie in one array: those of a masked area keep their sizes."""
    initial = job.request.initial
    if initial is None or job.initial is None or initial.inpaint_area != "masked":
        return
    sizes = sorted({picture.size for picture in job.initial.by_class[class_name]})
    if len(sizes) > 1:
        raise RequestError(
            "inpaint_area masked",
            found=f"initial pictures of {len(sizes)} sizes, such as {sizes[0]} and {sizes[1]}",
            expected="initial pictures of one size, because a batch is one array",
            fix="make them one size, or use the command `engine generate`",
        )


class ChunkMaker:
    """Makes the chunks of a job for one class, in any order."""

    def __init__(self, job: Job) -> None:
        self._request = job.request
        self._chunks = Chunks(job.request.counts, job.request.batch_size)
        self.count = self._chunks.count
        self._class_name = job.request.class_names[0]
        backend = first_rows(open_backend(job), max(job.request.counts), job.request.batch_size)
        self._pipeline = Pipeline(job, self._class_name, backend)
        self._rescue = Rescue(job, self._class_name)
        _expect_equal_sizes(job, self._class_name)

    def make(self, chunk: int) -> Batch:
        """Return the pictures of a chunk. The last chunk of a job may be short."""
        start, size = self._chunks.start(chunk), self._chunks.size(chunk)
        seeds = [self._request.seed + start + i for i in range(self._request.batch_size)]
        images, finite = self._pipeline.decode(self._pipeline.generate_latents(seeds), seeds)
        checked = self._rescue.check(seeds, images[:size], finite[:size])
        failures = {i: trouble for i, trouble in enumerate(checked.troubles) if trouble}
        finished = np.stack(self._pipeline.finish(checked.images, seeds[:size]))
        return Batch(finished, tuple(seeds[:size]), self._class_name, failures)

    def close(self) -> None:
        """Close the models."""
        self._pipeline.close()
        self._rescue.close()
