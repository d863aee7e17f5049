"""What a bundle's graphs get while it draws pictures, to calibrate 8-bit graphs or to test precision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from engine.backends.openvino import OpenVINOBackend
from engine.bundle.folder import Bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import settings_of
from engine.pipeline.pipeline import Denoiser, Pipeline, decoder_noise_of
from exporter.recording import Call, Function, Recorder, recorder_of

__all__ = ["FIRST_SEED", "Drawn", "Rows", "Trajectory", "count_of", "drawn_rows", "joined", "spaced", "trajectory_of"]

FIRST_SEED = 2**31
"""First seed of the pictures. Runs of the engine start at smaller seeds."""

Rows = dict[str, NDArray[np.float32]]
"""Maps the graph's inputs to arrays with the same number of rows."""


@dataclass(frozen=True)
class Drawn:
    """Inputs of the UNet in each call, inputs of the decoder, and the pictures (B, H, W, 3) if they were decoded."""

    calls: list[Rows]
    decoding: Rows
    images: NDArray[np.uint8] | None


def drawn_rows(
    bundle: Bundle, class_name: str, pictures: int, *, decoded: bool = False, preset: str | None = None
) -> Drawn:
    """Draw pictures of a class with the bundle's default settings or a preset, on OpenVINO in float32.

    decoded: also decode the latents.
    """
    job = _job(bundle, class_name, pictures, preset)
    recorder = recorder_of(OpenVINOBackend(precision="f32", threads=job.request.threads, cached=False))
    seeds = range(FIRST_SEED, FIRST_SEED + pictures)
    with Pipeline(job, class_name, recorder) as pipeline:
        latents = pipeline.generate_latents(seeds)
        images = pipeline.decode(latents, seeds)[0] if decoded else None
    calls = [{name: np.asarray(value, np.float32) for name, value in inputs.items()} for inputs, _ in recorder.calls]
    return Drawn(calls, {"latents": latents, **decoder_noise_of(job, class_name, seeds)}, images)


@dataclass(frozen=True)
class Trajectory:
    """What the UNet did for a batch of pictures.

    sigmas: the noise level of each call. calls: inputs and outputs of the UNet. decoding: inputs of the decoder.
    """

    sigmas: list[float]
    calls: list[Call]
    decoding: Rows


def trajectory_of(
    bundle: Bundle, class_name: str, seeds: Sequence[int], unet: Function, preset: str | None = None
) -> Trajectory:
    """Draw the latents of seeds with the bundle's default settings or a preset, and a function as the UNet."""
    job = _job(bundle, class_name, len(seeds), preset)
    recorder = Recorder(lambda path, inputs, outputs: unet)
    denoiser = Denoiser(job, class_name, recorder)
    latents = denoiser.run(denoiser.noise(seeds), None)
    decoding = {"latents": latents, **decoder_noise_of(job, class_name, seeds)}
    return Trajectory([row.sigma for row in job.plan.rows], recorder.calls, decoding)


def _job(bundle: Bundle, class_name: str, pictures: int, preset: str | None) -> Job:
    # Shared noise: the rows of a class do not depend on its name.
    settings = settings_of(backend="openvino", batch_size=pictures, precision="f32", shared_noise=True, preset=preset)
    return make_job(bundle, [class_name], 1, settings)


def joined(parts: Sequence[Rows]) -> Rows:
    """Join all parts."""
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def spaced(rows: Rows, most: int) -> Rows:
    """Return at most `most` rows, evenly spaced."""
    count = count_of(rows)
    chosen = np.linspace(0, count - 1, min(most, count)).round().astype(int)
    return {name: values[chosen] for name, values in rows.items()}


def count_of(rows: Rows) -> int:
    """Return the number of rows."""
    return len(next(iter(rows.values())))
