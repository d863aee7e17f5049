"""The pipeline of one class: from seeds to pictures."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend, ClosedAtExit
from engine.bundle.job import Job
from engine.pipeline.device_loop import DeviceLoop, half_bytes
from engine.pipeline.encoder import Encoder, decode_batch_size, padded
from engine.pipeline.initial import Beginning
from engine.pipeline.loops import HostLoop, Loop, LoopSpec, Start, Stopped, Watch
from engine.pipeline.prompt_table import expect_context, read_prompt_table
from engine.pipeline.prompts import read_embeddings
from engine.sampling.hires import enlarged_latents, enlarged_pictures
from engine.sampling.noise import DECODER, LATENTS, Noise, NoiseSource, Stream
from engine.sampling.signal_leak import read_signal_leak
from engine.sampling.variation import VariedNoise

__all__ = ["Closable", "Decoder", "Denoiser", "Pipeline", "check_opening", "decoder_noise_of", "noise_of", "opened_in"]

Latents = NDArray[np.float32]


class Closable(Protocol):
    """A part of the pipeline that holds graphs."""

    def close(self) -> None:
        """Close the graphs."""
        ...


Part = TypeVar("Part", bound=Closable)


def noise_of(job: Job, class_name: str) -> Callable[[Sequence[int]], Noise]:
    """Return the function that makes the sampler's noise of given seeds.

    The first noise carries the signal leak of the class if the bundle has one for this size. A trajectory that starts
    from latents needs no leak, because these have their own trace.
    """
    shape, file = job.latent_shape, job.bundle.manifest.classes[class_name].signal_leak
    stream = _stream(job, class_name, LATENTS)
    first = None
    # A signal leak is measured at one size and does not apply to other sizes.
    if file is not None and shape == job.bundle.manifest.latent_shape and job.start is None:
        first = partial(read_signal_leak(job.bundle.path(file), shape).into, plan=job.plan)
    if job.request.variation is not None:
        return partial(_varied_noise, job, first, stream)
    return lambda seeds: NoiseSource(seeds, shape, job.request.rng, first, stream)


def _varied_noise(
    job: Job, first: Callable[[Latents], Latents] | None, stream: Stream, seeds: Sequence[int]
) -> VariedNoise:
    """Return the noise of pictures that vary the seed of their request. Their seeds count them, and name no noise."""
    request, pixels, shape = job.request, job.bundle.manifest.pixels_per_latent, job.latent_shape
    varied = request.variation
    assert varied is not None
    drawn = shape
    if varied.width is not None and varied.height is not None:
        drawn = (shape[0], varied.height // pixels, varied.width // pixels)
    others, start = None, varied.seed
    if start is not None:
        others = [start + seed - request.seed for seed in seeds]
    return VariedNoise((_own_seeds(job, seeds), others), (shape, drawn), varied.strength, request.rng, first, stream)


def _own_seeds(job: Job, seeds: Sequence[int]) -> Sequence[int]:
    """Return the seed of each picture: that of the request for variations of it."""
    varied = job.request.variation
    return seeds if varied is None or varied.seed is None else [job.request.seed] * len(seeds)


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
    seeds = _own_seeds(job, seeds)
    return {"noise": NoiseSource(seeds, noise.shape(job.latent_shape), job.request.rng, stream=stream).draw()}


def _loop_spec(job: Job, class_name: str) -> LoopSpec:
    bundle, manifest = job.bundle, job.bundle.manifest
    table = read_prompt_table(job, class_name, len(job.plan.rows))
    return LoopSpec(
        unet=bundle.path(manifest.graphs(class_name, job.request.precision, job.request.preset)[0]),
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
        for one in filter(None, (job, job.second_pass)):
            spec = _loop_spec(one, class_name)
            noise_of(one, class_name)
            expect_context(spec.table, manifest.context_shape[0], backend)
            if backend.device is not None:
                half_bytes(spec, backend.device)


def _open_loop(spec: LoopSpec, backend: Backend, *, masked: bool) -> Loop:
    """Return the loop for this backend.

    The step graph knows no mask, and one context for all steps. So the host applies the table to masked pictures, and
    to prompts that need more.
    """
    if backend.device is None or masked or not spec.plan.rows or spec.table is not None:
        return HostLoop(spec, backend)
    return DeviceLoop(spec, backend.device)


class Denoiser:
    """The sampling loop of a class, with the noise of its pictures."""

    def __init__(self, job: Job, class_name: str, backend: Backend) -> None:
        masked = job.request.initial is not None and job.request.initial.repaints
        self.noise = noise_of(job, class_name)
        self._loop = _open_loop(_loop_spec(job, class_name), backend, masked=masked)

    def run(
        self,
        noise: Noise,
        stop: threading.Event | None,
        start: Start | None = None,
        watch: Watch | None = None,
    ) -> Latents:
        """Return the latents (B, C, h, w) float32 of batch_size pictures. Raises Stopped if `stop` is set.

        noise: the noise of the pictures, such as `self.noise(seeds)`.
        """
        return self._loop.run(noise, stop or threading.Event(), start, watch)

    def close(self) -> None:
        """Close the graphs."""
        self._loop.close()


class Decoder:
    """The decoder of a class at the size of a job, with its own batch size."""

    def __init__(self, job: Job, class_name: str, backend: Backend) -> None:
        request, manifest = job.request, job.bundle.manifest
        self._batch_size = decode_batch_size(request.batch_size, request.width, request.height)
        self.noise = partial(decoder_noise_of, job, class_name)
        shapes = manifest.decoder_inputs(self._batch_size, job.latent_shape)
        graph = job.bundle.path(manifest.graphs(class_name, request.precision, request.preset)[1])
        self._decoder = backend.open(graph, shapes, ("images", "finite"))

    def run(
        self, latents: Latents, noise: Mapping[str, NDArray[np.float32]]
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the pictures (B, H, W, 3) uint8 RGB of latents (B, C, h, w), and which are finite (B,) bool.

        noise: the further inputs of the decoder, such as `self.noise(seeds)`.
        """
        images, finite = [], []
        for start in range(0, len(latents), self._batch_size):
            chunk = slice(start, start + self._batch_size)
            inputs = {"latents": latents[chunk], **{name: values[chunk] for name, values in noise.items()}}
            size = len(inputs["latents"])
            outputs = self._decoder.run({name: padded(values, self._batch_size) for name, values in inputs.items()})
            images.append(outputs["images"][:size])
            finite.append(outputs["finite"][:size])
        return np.concatenate(images), np.concatenate(finite)

    def close(self) -> None:
        """Close the graph."""
        self._decoder.close()


class Pipeline(ClosedAtExit):
    """Denoising and decoding, from noise or from initial pictures, once or twice. Use it as a context manager."""

    def __init__(self, job: Job, class_name: str, backend: Backend) -> None:
        with ExitStack() as opened:
            self._first = opened_in(opened, Denoiser(job, class_name, backend))
            self._beginning = None
            if job.initial is not None:
                self._beginning = opened_in(opened, Beginning(job, class_name, backend))
            last, self._rows = job.second_pass, len(job.plan.rows)
            self._second = self._enlarge = None
            if last is not None:
                self._enlarge = _enlargement(job, last, class_name, backend, opened)
                self._second = opened_in(opened, Denoiser(last, class_name, backend))
            self._decoder = opened_in(opened, Decoder(last or job, class_name, backend))
            self._opened = opened.pop_all()

    def generate_latents(
        self, seeds: Sequence[int], stop: threading.Event | None = None, watch: Watch | None = None
    ) -> Latents:
        """Return the latents (B, C, h, w) float32 of batch_size seeds. Raises Stopped if `stop` is set.

        `decode` takes the predictions of Stopped and of `watch`, too: those of a first pass are enlarged.
        """
        start = None if self._beginning is None else self._beginning.start(seeds)
        noise = self._first.noise(seeds)
        if self._second is None or self._enlarge is None:
            return self._first.run(noise, stop, start, watch)
        enlarge, rows = self._enlarge, self._rows
        small = None if watch is None else lambda step, found: watch(step, lambda: enlarge(found(), seeds))
        large = None if watch is None else lambda step, found: watch(rows + step, found)
        try:
            latents = enlarge(self._first.run(noise, stop, start, small), seeds)
        except Stopped as stopped:
            if stopped.prediction is not None:
                stopped.prediction = enlarge(stopped.prediction, seeds)
            raise
        try:
            return self._second.run(self._second.noise(seeds), stop, Start(latents), large)
        except Stopped as stopped:
            # Before the first step of the second pass, the first pass is the last that there is.
            stopped.prediction = latents if stopped.prediction is None else stopped.prediction
            raise

    def decode(self, latents: Latents, seeds: Sequence[int]) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """Return the pictures (B, H, W, 3) uint8 RGB of latents (B, C, h, w), and which are finite (B,) bool.

        seeds: the seed of each picture, from which a decoder that draws grain takes its noise.
        """
        return self._decoder.run(latents, self._decoder.noise(seeds))

    def finish(self, images: NDArray[np.uint8], seeds: Sequence[int]) -> Sequence[NDArray[np.uint8]]:
        """Return the finished pictures, each (H', W', 3) uint8, from the decoded ones (B, H, W, 3).

        Those with initial pictures are laid over these where a mask leaves something out, and may have another size.
        """
        return list(images) if self._beginning is None else self._beginning.finish(images, seeds)

    def close(self) -> None:
        """Close the graphs."""
        self._opened.close()


def opened_in(stack: ExitStack, part: Part) -> Part:
    """Close a part together with the stack."""
    stack.callback(part.close)
    return part


def _enlargement(
    job: Job, last: Job, class_name: str, backend: Backend, opened: ExitStack
) -> Callable[[Latents, Sequence[int]], Latents]:
    """Return the function that enlarges the latents of the first pass for the second one."""
    hires = job.request.hires
    assert hires is not None
    if not hires.needs_pictures:
        _, height, width = last.latent_shape
        return lambda latents, _: enlarged_latents(latents, (width, height), hires.upscaler)
    decoder = opened_in(opened, Decoder(job, class_name, backend))
    encoder = opened_in(opened, Encoder(last, backend))

    def through_pictures(latents: Latents, seeds: Sequence[int]) -> Latents:
        pictures, _ = decoder.run(latents, decoder.noise(seeds))
        return encoder.run(enlarged_pictures(pictures, (hires.width, hires.height), hires.upscaler))

    return through_pictures
