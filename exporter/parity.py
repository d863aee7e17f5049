"""Compare a bundle on each runtime with torch in float32, in the engine's own loop (`exporter verify`)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.backends.base import Arithmetic, Arrays, Backend, Signature
from engine.backends.select import PROBES, distinct_precisions, open_backend
from engine.bundle.folder import Bundle
from engine.bundle.job import Job, make_job
from engine.bundle.settings import settings_of
from engine.errors import RequestError
from engine.pipeline.encoder import Encoder
from engine.pipeline.pipeline import Pipeline
from exporter.graphs import DecoderGraph, EncoderGraph, UNetGraph
from exporter.load import MergedModel, load_merged
from exporter.recording import Function, Recorder, recorder_of
from exporter.small_decoder import SmallDecoder, read_small_decoder

__all__ = ["ParityRow", "compare", "psnr_db", "relative_l2"]

LIMITS = {
    "unet_rmse": 0.01,
    "unet_largest": 0.05,
    "trajectory_relative_l2": 0.05,
    "psnr_db": 35.0,
    "encoder_relative_l2": 0.02,
}
"""Limits for graphs in float16 or float32, compared with torch in float32.

The limits are: root mean square and largest value of the error of one UNet call, relative L2 error of the final
latents, minimum PSNR (dB) of the pictures, and relative L2 error of the encoded pictures. An error of the UNet is
weighted by its effect on the latents: it moves them by sigma times the error, and their deviation is sqrt(sigma^2 + 1).
Without this weight the error grows at the last sigmas, because the rounding of the inputs is divided by sigma. The
bundle's weights are float16 with a relative precision of 2^-11 = 0.0005. Errors add up over layers and steps."""
LIMITS_BF16 = {
    "unet_rmse": 0.04,
    "unet_largest": 0.5,
    "trajectory_relative_l2": 0.1,
    "psnr_db": 30.0,
    "encoder_relative_l2": 0.1,
}
"""Limits for runtimes that compute in bfloat16, with a relative precision of 2^-8 = 0.004."""
LIMITS_INT8 = {
    "unet_rmse": 0.1,
    "unet_largest": 2.0,
    "trajectory_relative_l2": 0.3,
    "psnr_db": 24.0,
    "encoder_relative_l2": 0.1,
}
"""Limits for 8-bit graphs. One step of an activation is 1/255 of its range, so the latents take a slightly different
path. The encoder has no 8-bit graph. These limits only detect broken graphs; the quality of the pictures is measured by
`evaluate score`."""


@dataclass(frozen=True)
class ParityRow:
    """Differences of a runtime from torch in float32: the worst UNet call, the final latents, and the pictures."""

    runtime: str
    arithmetic: Arithmetic
    unet_rmse: float
    unet_largest: float
    trajectory_relative_l2: float
    psnr_db: float
    encoder_relative_l2: float | None
    """Error of the latents of torch's pictures; None if the bundle has no VAE encoder."""
    by_sigma: list[tuple[float, float, float]]
    """For each UNet call: sigma, root mean square and largest error, both times sigma / sqrt(sigma^2 + 1)."""

    @property
    def limits(self) -> dict[str, float]:
        """The limits of the number format in which the runtime computes."""
        return {"int8": LIMITS_INT8, "bfloat16": LIMITS_BF16}.get(self.arithmetic, LIMITS)

    @property
    def passed(self) -> bool:
        """Whether every limit holds."""
        return (
            self.unet_rmse <= self.limits["unet_rmse"]
            and self.unet_largest <= self.limits["unet_largest"]
            and self.trajectory_relative_l2 <= self.limits["trajectory_relative_l2"]
            and self.psnr_db >= self.limits["psnr_db"]
            and (self.encoder_relative_l2 or 0.0) <= self.limits["encoder_relative_l2"]
        )


def _torch_recorder(merged: MergedModel, small: SmallDecoder | None) -> Recorder:
    modules = {
        "eps": UNetGraph(merged.unet),
        "images": DecoderGraph(small or merged.vae, merged.refiner),
        "latents": EncoderGraph(merged.vae),
    }

    def open_function(path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Function:
        module = modules[outputs[0]]

        @torch.no_grad()
        def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
            values = module(*(torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in inputs))
            values = values if isinstance(values, tuple) else (values,)
            return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}

        return run

    return Recorder(open_function)


def compare(
    bundle: Bundle,
    merged_folder: Path,
    *,
    pictures: int = 2,
    preset: str | None = None,
    decoder: Path | None = None,
) -> tuple[list[ParityRow], str | None]:
    """Draw pictures with seeds 0, 1, ... on each runtime with the default settings or a preset, and compare them with
    torch. The merged folder of a preset with UNets of its own holds the UNet of the preset, and `decoder` is the file
    of its small decoder.

    Errors of the UNet are measured on torch's own inputs, at every step of the table. The second result is the reason
    why TensorRT is not among the rows, or None if it is. Raises RequestError if the bundle lacks the folder's class, or
    if `decoder` is missing or the preset has no small decoder.
    """
    merged = load_merged(merged_folder)
    class_name = merged.record["class_name"]
    if class_name not in bundle.manifest.classes:
        raise RequestError(
            f"The class {class_name} of {merged_folder}",
            found="not in the bundle",
            expected=f"one of {', '.join(bundle.manifest.classes)}",
            fix="export the class first with `python -m exporter onnx`",
        )
    settings = settings_of(batch_size=pictures, backend="openvino", precision="f32", preset=preset)
    job = make_job(bundle, [class_name], pictures, settings)
    small = _small_decoder(bundle, preset, decoder)
    bundle.verify_for([class_name], job.request.preset)
    seeds = list(range(pictures))

    def trajectory(job: Job, recorder: Recorder) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        with Pipeline(job, class_name, recorder) as pipeline:
            latents = pipeline.generate_latents(seeds)
            return latents, pipeline.decode(latents, seeds)[0]

    reference = _torch_recorder(merged, small)
    latents, images = trajectory(job, reference)
    encoded = _encoded(job, reference, images)
    calls = reference.calls
    rows = []
    sigmas = [row.sigma for row in job.plan.rows]
    asked = [job.changed(precision=name) for name in distinct_precisions(job)]
    asked.append(job.changed(backend="onnxruntime"))
    backends = [(one, open_backend(one)) for one in asked]
    tensorrt = _open_tensorrt(job)
    if not isinstance(tensorrt, str):
        backends.append((job, tensorrt))
    for one, backend in {backend.version: (one, backend) for one, backend in backends}.values():
        recorder = recorder_of(backend)
        found_latents, found_images = trajectory(one, recorder)
        pairs = [(recorder.eps(inputs), outputs["eps"]) for inputs, outputs in calls]
        by_sigma = [
            (sigma, *_moved(found - wanted, sigma)) for sigma, (found, wanted) in zip(sigmas, pairs, strict=True)
        ]
        rows.append(
            ParityRow(
                backend.version,
                backend.arithmetic,
                max(rmse for _, rmse, _ in by_sigma),
                max(largest for _, _, largest in by_sigma),
                relative_l2(found_latents, latents),
                psnr_db(found_images.astype(float) - images),
                _encoder_error(_encoded(one, backend, images), encoded),
                by_sigma,
            )
        )
    return rows, tensorrt if isinstance(tensorrt, str) else None


def _small_decoder(bundle: Bundle, preset: str | None, path: Path | None) -> SmallDecoder | None:
    """Return the small decoder in a file. Raises RequestError unless a preset with a small decoder has its file."""
    has_one = preset is not None and bundle.manifest.presets[preset].decoder is not None
    if has_one != (path is not None):
        raise RequestError(
            "--decoder",
            found="no file" if path is None else f"{path} for settings with the decoder of the bundle",
            expected="the file of the small decoder if the preset has one, and no file otherwise",
            fix=f"add --decoder with the file that the preset {preset} was written from" if has_one else "leave it out",
        )
    if path is None:
        return None
    return read_small_decoder(path, bundle.manifest.latent_shape[0], bundle.manifest.pixels_per_latent)


def _encoded(job: Job, backend: Backend, images: NDArray[np.uint8]) -> NDArray[np.float32] | None:
    """Return the latents of pictures by the encoder of the bundle, or None if it has none."""
    if job.bundle.manifest.vae_encoder is None:
        return None
    encoder = Encoder(job, backend)
    try:
        return encoder.run(images)
    finally:
        encoder.close()


def _encoder_error(found: NDArray[np.float32] | None, wanted: NDArray[np.float32] | None) -> float | None:
    return None if found is None or wanted is None else relative_l2(found, wanted)


def _open_tensorrt(job: Job) -> Backend | str:
    """Return TensorRT for a job, or the reason why it cannot be used: no GPU, no library, or no suitable plan."""
    status = PROBES["tensorrt"]()
    if not status.usable:
        return status.detail
    try:
        return open_backend(job.changed(backend="tensorrt"))
    except RequestError as error:
        return error.found


def _moved(error: NDArray[np.float32], sigma: float) -> tuple[float, float]:
    """Return root mean square and largest value of an error of eps, weighted by sigma / sqrt(sigma^2 + 1)."""
    share = sigma / np.hypot(sigma, 1)
    return float(share * np.sqrt(np.mean(error**2))), float(share * np.abs(error).max())


def psnr_db(error: NDArray[np.float64]) -> float:
    """Return the PSNR 10 log10(255^2 / MSE) of an error in grey levels; at most 148 dB."""
    return float(10 * np.log10(255**2 / max(float(np.mean(error**2)), 1e-10)))


def relative_l2(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """Return the L2 norm of the difference divided by the L2 norm of `wanted`."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
