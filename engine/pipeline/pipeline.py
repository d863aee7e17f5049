"""The pipeline of one class: from seeds to pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend
from engine.bundle.job import Job
from engine.pipeline.initial import Beginning
from engine.pipeline.loops import LoopSpec, half_bytes, open_loop
from engine.pipeline.prompt_table import expect_context, read_prompt_table
from engine.pipeline.prompts import read_embeddings
from engine.sampling.noise import DECODER, LATENTS, NoiseSource, Stream
from engine.sampling.signal_leak import read_signal_leak

__all__ = ["Pipeline", "check_opening", "decode_batch_size", "decoder_noise_of", "noise_of"]

DECODE_PIXELS = 2**19
"""Largest number of pixels of a decoder batch. The decoder's activations take most of the memory."""


def decode_batch_size(batch_size: int, width: int, height: int) -> int:
    """Return the number of pictures that the decoder takes at a time."""
    return max(1, min(batch_size, DECODE_PIXELS // (width * height)))


def noise_of(job: Job, class_name: str) -> Callable[[Sequence[int]], NoiseSource]:
    """Return the function that makes the sampler's noise of given seeds.

    The first noise carries the signal leak of the class if the bundle has one for this size. Initial pictures take
    the place of the leak, because they have their own trace.
    """
    shape, file = job.latent_shape, job.bundle.manifest.classes[class_name].signal_leak
    stream = _stream(job, class_name, LATENTS)
    first = None
    # A signal leak is measured at one size and does not apply to other sizes.
    if file is not None and shape == job.bundle.manifest.latent_shape and job.initial is None:
        first = partial(read_signal_leak(job.bundle.path(file), shape).into, plan=job.plan)
    return lambda seeds: NoiseSource(seeds, shape, job.request.rng, first, stream)


def _stream(job: Job, class_name: str, number: int) -> Stream:
    return Stream(number, None if job.request.shared_noise else class_name)


def decoder_noise_of(job: Job, class_name: str, seeds: Sequence[int]) -> dict[str, NDArray[np.float32]]:
    """Return the decoder's inputs besides the latents for the pictures of these seeds.

    These are the noise (B, planes, H, W) float32 of a decoder that draws grain, and nothing for other decoders. The
    noise of a picture depends on its class and seed alone.
    """
    noise = job.bundle.manifest.decoder_noise
    if noise is None:
        return {}
    stream = _stream(job, class_name, DECODER)
    return {"noise": NoiseSource(seeds, noise.shape(job.latent_shape), job.request.rng, stream=stream).draw()}


def _loop_spec(job: Job, class_name: str) -> LoopSpec:
    bundle, manifest = job.bundle, job.bundle.manifest
    table = read_prompt_table(job, class_name, len(job.plan.rows))
    return LoopSpec(
        unet=bundle.path(manifest.graphs(class_name, job.request.precision)[0]),
        step=bundle.path(manifest.step),
        plan=job.plan,
        scales=job.scales,
        frequencies=np.array(manifest.frequencies),
        context=read_embeddings(job, class_name, stored=table is not None),
        latent_shape=job.latent_shape,
        batch_size=job.request.batch_size,
        table=table,
    )


def check_opening(job: Job, backend: Backend) -> None:
    """Raise RequestError for every problem that would otherwise appear only when the pipeline of a class opens.

    These are unreadable embeddings, prompts or signal leaks, and latents that the device cannot align.
    """
    manifest = job.bundle.manifest
    for class_name in job.request.class_names:
        spec = _loop_spec(job, class_name)
        noise_of(job, class_name)
        expect_context(spec.table, manifest.context_shape[0], backend)
        if backend.device is not None:
            half_bytes(spec, backend.device)


class Pipeline:
    """Denoising and decoding, each with its own batch size. Use it as a context manager."""

    def __init__(self, job: Job, class_name: str, backend: Backend) -> None:
        request = job.request
        spec = _loop_spec(job, class_name)
        self._noise = noise_of(job, class_name)
        masked = request.initial is not None and request.initial.repaints
        self._loop = open_loop(spec, backend, masked=masked)
        self._decode_batch = decode_batch_size(request.batch_size, request.width, request.height)
        self._decoder_noise = partial(decoder_noise_of, job, class_name)
        shapes = job.bundle.manifest.decoder_inputs(self._decode_batch, spec.latent_shape)
        decoder = job.bundle.path(job.bundle.manifest.graphs(class_name, request.precision)[1])
        self._decoder = backend.open(decoder, shapes, ("images", "finite"))
        self._beginning = Beginning(job, class_name, backend, self._decode_batch) if job.initial is not None else None

    def generate_latents(self, seeds: Sequence[int], stop: threading.Event | None = None) -> NDArray[np.float32]:
        """Return the latents (B, C, h, w) float32 of batch_size seeds. Raises Stopped if `stop` is set."""
        start = None if self._beginning is None else self._beginning.start(seeds)
        return self._loop.run(self._noise(seeds), stop or threading.Event(), start)

    def decode(self, latents: NDArray[np.float32], seeds: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the pictures (B, H, W, 3) uint8 RGB of latents (B, C, h, w), and which are finite (B,) bool.

        seeds: the seed of each picture, from which a decoder that draws grain takes its noise.
        """
        images, finite = [], []
        for start in range(0, len(latents), self._decode_batch):
            chunk = slice(start, start + self._decode_batch)
            inputs = {"latents": latents[chunk], **self._decoder_noise(seeds[chunk])}
            size = len(inputs["latents"])
            missing = self._decode_batch - size
            padded = {
                name: np.concatenate([values, np.repeat(values[-1:], missing, axis=0)])
                for name, values in inputs.items()
            }
            outputs = self._decoder.run(padded)
            images.append(outputs["images"][:size])
            finite.append(outputs["finite"][:size])
        return np.concatenate(images), np.concatenate(finite)

    def finish(self, images: NDArray[np.uint8], seeds: Sequence[int]) -> Sequence[NDArray[np.uint8]]:
        """Return the finished pictures, each (H', W', 3) uint8, from the decoded ones (B, H, W, 3).

        Those with initial pictures are laid over these where a mask leaves something out, and may have another size.
        """
        return list(images) if self._beginning is None else self._beginning.finish(images, seeds)

    def close(self) -> None:
        """Close the graphs."""
        self._loop.close()
        self._decoder.close()
        if self._beginning is not None:
            self._beginning.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
