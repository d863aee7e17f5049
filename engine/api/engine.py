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
from engine.bundle.folder import Bundle, open_bundle
from engine.bundle.request import GenerateRequest, make_request
from engine.errors import CytosynthError
from engine.output.chunks import Chunks
from engine.pipeline.pipeline import Pipeline
from engine.pipeline.rescue import Rescue
from engine.runs.line import ahead

__all__ = ["Batch", "ChunkMaker", "Engine", "picture_failed"]


@dataclass(frozen=True)
class Batch:
    """Some pictures of one class: images (B, H, W, 3) uint8 RGB, and the seed of each."""

    images: NDArray[np.uint8]
    seeds: tuple[int, ...]
    class_name: str
    failures: Mapping[int, str] = field(default_factory=dict)
    """Why a picture is none (blank, or not finite even in float32), by its place in the batch."""


class Engine:
    """A bundle and a backend. Nothing is opened before pictures are asked for."""

    def __init__(self, bundle: Bundle, *, backend: str = AUTO, precision: str | None = None, threads: int = 0) -> None:
        self.bundle = bundle
        self._settings: dict[str, Any] = {
            "backend": choose_backend(backend, precision or AUTO, bundle)[0],
            "precision": precision,
            "threads": threads,
        }

    @classmethod
    def open(
        cls, bundle: str = "cells", *, backend: str = AUTO, precision: str | None = None, threads: int = 0
    ) -> Self:
        """Open an embedded bundle by its name, or one by its folder. precision: auto, f32 or int8; by default the
        preset's of each request, or auto. Raises RequestError."""
        return cls(open_bundle(bundle), backend=backend, precision=precision, threads=threads)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes of the bundle."""
        return tuple(self.bundle.manifest.classes)

    def request(self, class_name: str, n: int, **options: Any) -> GenerateRequest:
        """A checked request. options: those of engine.bundle.request.make_request. Raises RequestError."""
        request = make_request(self.bundle.manifest, class_names=[class_name], n=n, **self._settings, **options)
        return settled(request, request.backend, self._settings["precision"])

    def generate(self, class_name: str, n: int, *, seed: int = 0, **options: Any) -> Iterator[Batch]:
        """Pictures of seeds seed .. seed + n - 1, batch by batch as they are asked for; the same pictures, byte for
        byte, as `engine generate` writes. options: those of engine.bundle.request.make_request.

        The request and the bundle's hashes are checked at once. A picture that stays blank or non-finite is left out
        of its batch, with a warning. Raises RequestError.
        """
        request = self.request(class_name, n, seed=seed, **options)
        self.bundle.verify_for(request.class_names)
        return self._batches(request)

    def _batches(self, request: GenerateRequest) -> Iterator[Batch]:
        with ExitStack() as opened:
            maker = opened.enter_context(closing(ChunkMaker(self.bundle, request)))
            for batch in opened.enter_context(closing(ahead(maker.make(chunk) for chunk in range(maker.count)))):
                yield _without_failures(batch)


def picture_failed(batch: Batch, place: int) -> CytosynthError:
    """The error of a picture that is none."""
    return CytosynthError(
        f"The picture of {batch.class_name}, seed {batch.seeds[place]}",
        found=batch.failures[place],
        expected="a picture, at least in float32",
        fix="use a smaller guidance_scale, or leave this seed out",
    )


def _without_failures(batch: Batch) -> Batch:
    if not batch.failures:
        return batch
    for place in batch.failures:
        warnings.warn(str(picture_failed(batch, place)), RuntimeWarning, stacklevel=3)
    kept = [i for i in range(len(batch.seeds)) if i not in batch.failures]
    return Batch(batch.images[kept], tuple(batch.seeds[i] for i in kept), batch.class_name)


class ChunkMaker:
    """Makes any chunk of a request for one class, at any time."""

    def __init__(self, bundle: Bundle, request: GenerateRequest) -> None:
        self._request = request
        self._chunks = Chunks(request.counts, request.batch_size)
        self.count = self._chunks.count
        self._class_name = request.class_names[0]
        backend = open_backend(bundle, request)
        self._pipeline = Pipeline(bundle, self._class_name, request, backend)
        self._rescue = Rescue(bundle, self._class_name, request)

    def make(self, chunk: int) -> Batch:
        """The chunk's pictures; the last of a request may be short."""
        start, size = self._chunks.start(chunk), self._chunks.size(chunk)
        seeds = [self._request.seed + start + i for i in range(self._request.batch_size)]
        images, finite = self._pipeline.decode(self._pipeline.generate_latents(seeds))
        checked = self._rescue.check(seeds, images[:size], finite[:size])
        failures = {i: trouble for i, trouble in enumerate(checked.troubles) if trouble}
        return Batch(checked.images, tuple(seeds[:size]), self._class_name, failures)

    def close(self) -> None:
        """Close the models."""
        self._pipeline.close()
        self._rescue.close()
