"""Seeds in, pictures out: one class of a bundle, opened for a request."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from functools import partial
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend
from engine.bundle.folder import Bundle
from engine.bundle.request import GenerateRequest
from engine.pipeline.loops import LoopSpec, half_bytes, open_loop
from engine.pipeline.prompts import read_embeddings
from engine.sampling.guidance import guidance_table
from engine.sampling.noise import NoiseSource
from engine.sampling.samplers import Langevin, SamplerPlan, plan_steps
from engine.sampling.signal_leak import read_signal_leak

__all__ = ["Pipeline", "check_opening", "decode_batch_size", "noise_of", "plan_of"]

DECODE_PIXELS = 2**19
"""The decoder's batch keeps to so many pixels: its activations are what most memory goes to."""


def decode_batch_size(batch_size: int, width: int, height: int) -> int:
    """Pictures that the decoder takes at a time."""
    return max(1, min(batch_size, DECODE_PIXELS // (width * height)))


def plan_of(bundle: Bundle, request: GenerateRequest) -> tuple[SamplerPlan, tuple[float, ...]]:
    """The sampler's table of a request, and the guidance scale of each row."""
    plan = plan_steps(
        bundle.manifest.noise,
        sampler=request.sampler,
        schedule=request.schedule,
        num_inference_steps=request.num_inference_steps,
        langevin_settings=request.langevin or Langevin(),
    )
    sigmas = [row.sigma for row in plan.rows]
    return plan, guidance_table(sigmas, request.guidance_scale, request.guidance_interval)


def noise_of(bundle: Bundle, class_name: str, request: GenerateRequest) -> Callable[[Sequence[int]], NoiseSource]:
    """What gives seeds their noise: with the class's signal leak in the first of it, where the bundle has one."""
    shape, file = _latent_shape(bundle, request), bundle.manifest.classes[class_name].signal_leak
    first = None
    # It is measured at one size, and says nothing of another.
    if file is not None and shape == bundle.manifest.latent_shape:
        first = partial(read_signal_leak(bundle.path(file), shape).into, plan=plan_of(bundle, request)[0])
    return lambda seeds: NoiseSource(seeds, shape, request.rng, first)


def _latent_shape(bundle: Bundle, request: GenerateRequest) -> tuple[int, int, int]:
    pixels = bundle.manifest.pixels_per_latent
    return bundle.manifest.latent_shape[0], request.height // pixels, request.width // pixels


def _loop_spec(bundle: Bundle, class_name: str, request: GenerateRequest) -> LoopSpec:
    manifest = bundle.manifest
    plan, scales = plan_of(bundle, request)
    return LoopSpec(
        unet=bundle.path(manifest.graphs(class_name, request.precision)[0]),
        step=bundle.path(manifest.step),
        plan=plan,
        scales=scales,
        frequencies=np.array(manifest.frequencies),
        context=read_embeddings(bundle, class_name, request),
        latent_shape=_latent_shape(bundle, request),
        batch_size=request.batch_size,
    )


def check_opening(bundle: Bundle, request: GenerateRequest, backend: Backend) -> None:
    """Raise RequestError for what would only be found when a class's pipeline opens: embeddings, prompts, signal
    leaks, alignment."""
    for class_name in request.class_names:
        spec = _loop_spec(bundle, class_name, request)
        noise_of(bundle, class_name, request)
        if backend.device is not None:
            half_bytes(spec, backend.device)


class Pipeline:
    """Denoising and decoding, each with its own batch size. Use as a context manager."""

    def __init__(self, bundle: Bundle, class_name: str, request: GenerateRequest, backend: Backend) -> None:
        manifest = bundle.manifest
        spec = _loop_spec(bundle, class_name, request)
        self._noise = noise_of(bundle, class_name, request)
        self._loop = open_loop(spec, backend)
        self._decode_batch = decode_batch_size(request.batch_size, request.width, request.height)
        shapes = {"latents": (self._decode_batch, *spec.latent_shape)}
        decoder = bundle.path(manifest.graphs(class_name, request.precision)[1])
        self._decoder = backend.open(decoder, shapes, ("images", "finite"))

    def generate_latents(self, seeds: Sequence[int], stop: threading.Event | None = None) -> NDArray[np.float32]:
        """Sample the latents of batch_size seeds: (B, C, h, w) float32. Raises Stopped when `stop` is set."""
        return self._loop.run(self._noise(seeds), stop or threading.Event())

    def decode(self, latents: NDArray[np.float32]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Decode (B, C, h, w) latents to (B, H, W, 3) uint8 RGB; (B,) bool says which were finite."""
        images, finite = [], []
        for start in range(0, len(latents), self._decode_batch):
            chunk = latents[start : start + self._decode_batch]
            padded = np.concatenate([chunk, np.repeat(chunk[-1:], self._decode_batch - len(chunk), axis=0)])
            outputs = self._decoder.run({"latents": padded})
            images.append(outputs["images"][: len(chunk)])
            finite.append(outputs["finite"][: len(chunk)])
        return np.concatenate(images), np.concatenate(finite)

    def close(self) -> None:
        """Close the graphs."""
        self._loop.close()
        self._decoder.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
