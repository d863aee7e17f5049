"""`verify`: the bundle on OpenVINO and ONNX Runtime against torch in float32, through the engine's own loop."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from engine.backends.base import Arrays, Backend, Signature
from engine.backends.select import PROBES, distinct_precisions, open_backend
from engine.bundle.folder import Bundle
from engine.bundle.request import GenerateRequest, make_request
from engine.errors import RequestError
from engine.pipeline.pipeline import Pipeline, plan_of
from exporter.graphs import DecoderGraph, UNetGraph
from exporter.load import MergedModel, load_merged
from exporter.recording import Function, Recorder, recorder_of

__all__ = ["ParityRow", "compare", "psnr_db", "relative_l2"]

LIMITS = {"unet_rmse": 0.01, "unet_largest": 0.05, "trajectory_relative_l2": 0.05, "psnr_db": 35.0}
"""The largest errors of one UNet call, its root mean square and that of one value, and of the last latents, relative,
against torch in float32; the smallest PSNR. A UNet's error counts by what it does to the latents: it moves them by
sigma times itself, and they have the deviation sqrt(sigma^2 + 1). For itself it grows at the last sigmas, where the
rounding of what goes in, divided by sigma, comes out again.
The bundle's weights are float16, of relative precision 2^-11 = 0.0005, and errors add over the layers and steps."""
LIMITS_BF16 = {"unet_rmse": 0.04, "unet_largest": 0.5, "trajectory_relative_l2": 0.1, "psnr_db": 30.0}
"""The same where the runtime computes in bfloat16, of relative precision 2^-8 = 0.004."""
LIMITS_INT8 = {"unet_rmse": 0.1, "unet_largest": 2.0, "trajectory_relative_l2": 0.3, "psnr_db": 24.0}
"""The same of 8-bit graphs: a step of an activation is 1/255 of its range; a trajectory takes a slightly other way.
What that does to the pictures, figures say; these limits find graphs that are broken."""


@dataclass(frozen=True)
class ParityRow:
    """A runtime against torch float32: the worst UNet call of a trajectory, the last latents, the picture."""

    runtime: str
    unet_rmse: float
    unet_largest: float
    trajectory_relative_l2: float
    psnr_db: float
    by_sigma: list[tuple[float, float, float]]
    """Sigma, root mean square and largest error of the UNet call there, both times sigma / sqrt(sigma^2 + 1)."""

    @property
    def limits(self) -> dict[str, float]:
        """Those of the precision that it computes in."""
        if "int8" in self.runtime:
            return LIMITS_INT8
        return LIMITS_BF16 if self.runtime.endswith("bf16") else LIMITS

    @property
    def passed(self) -> bool:
        """Whether every limit holds."""
        return (
            self.unet_rmse <= self.limits["unet_rmse"]
            and self.unet_largest <= self.limits["unet_largest"]
            and self.trajectory_relative_l2 <= self.limits["trajectory_relative_l2"]
            and self.psnr_db >= self.limits["psnr_db"]
        )


def _torch_recorder(merged: MergedModel) -> Recorder:
    modules = {"eps": UNetGraph(merged.unet), "images": DecoderGraph(merged.vae)}

    def open_function(path: Path, inputs: Signature, outputs: tuple[str, ...]) -> Function:
        module = modules[outputs[0]]

        @torch.no_grad()
        def run(arrays: Arrays) -> dict[str, NDArray[Any]]:
            values = module(*(torch.from_numpy(np.ascontiguousarray(arrays[name])) for name in inputs))
            values = values if isinstance(values, tuple) else (values,)
            return {name: value.numpy() for name, value in zip(outputs, values, strict=True)}

        return run

    return Recorder(open_function)


def compare(bundle: Bundle, merged_folder: Path, *, pictures: int = 2) -> tuple[list[ParityRow], str | None]:
    """Run the default trajectory of seeds 0.. on each runtime. UNet errors are taken on torch's own inputs at every
    step of the table. Also returns why TensorRT is not among the rows, or None where it is. Raises RequestError where
    the bundle lacks the folder's class."""
    merged = load_merged(merged_folder)
    class_name = merged.record["class_name"]
    if class_name not in bundle.manifest.classes:
        raise RequestError(
            f"The class {class_name} of {merged_folder}",
            found="not in the bundle",
            expected=f"one of {', '.join(bundle.manifest.classes)}",
            fix="export it first with `python -m exporter onnx`",
        )
    bundle.verify_for([class_name])
    request = make_request(
        bundle.manifest, class_names=[class_name], n=pictures, batch_size=pictures, backend="openvino", precision="f32"
    )
    seeds = list(range(pictures))

    def trajectory(request: GenerateRequest, recorder: Recorder) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        with Pipeline(bundle, class_name, request, recorder) as pipeline:
            latents = pipeline.generate_latents(seeds)
            return latents, pipeline.decode(latents)[0]

    reference = _torch_recorder(merged)
    latents, images = trajectory(request, reference)
    calls = reference.calls
    rows = []
    sigmas = [row.sigma for row in plan_of(bundle, request)[0].rows]
    asked = [replace(request, precision=name) for name in distinct_precisions(bundle, request)]
    asked.append(replace(request, backend="onnxruntime"))
    backends = [(one, open_backend(bundle, one)) for one in asked]
    tensorrt = _open_tensorrt(bundle, request)
    if not isinstance(tensorrt, str):
        backends.append((request, tensorrt))
    runtimes = {backend.version: (one, recorder_of(backend)) for one, backend in backends}
    for runtime, (one, recorder) in runtimes.items():
        found_latents, found_images = trajectory(one, recorder)
        pairs = [(recorder.eps(inputs), outputs["eps"]) for inputs, outputs in calls]
        by_sigma = [
            (sigma, *_moved(found - wanted, sigma)) for sigma, (found, wanted) in zip(sigmas, pairs, strict=True)
        ]
        rows.append(
            ParityRow(
                runtime,
                max(rmse for _, rmse, _ in by_sigma),
                max(largest for _, _, largest in by_sigma),
                relative_l2(found_latents, latents),
                psnr_db(found_images.astype(float) - images),
                by_sigma,
            )
        )
    return rows, tensorrt if isinstance(tensorrt, str) else None


def _open_tensorrt(bundle: Bundle, request: GenerateRequest) -> Backend | str:
    """TensorRT for a request, or why there is none: no GPU, no library, or no plan that fits."""
    status = PROBES["tensorrt"]()
    if not status.usable:
        return status.detail
    try:
        return open_backend(bundle, replace(request, backend="tensorrt"))
    except RequestError as error:
        return error.found


def _moved(error: NDArray[np.float32], sigma: float) -> tuple[float, float]:
    """Root mean square and largest value of what an error of eps does to latents of deviation sqrt(sigma^2 + 1)."""
    share = sigma / np.hypot(sigma, 1)
    return float(share * np.sqrt(np.mean(error**2))), float(share * np.abs(error).max())


def psnr_db(error: NDArray[np.float64]) -> float:
    """10 log10(255^2 / MSE) of an error in grey levels, 148 dB where there is none to speak of."""
    return float(10 * np.log10(255**2 / max(float(np.mean(error**2)), 1e-10)))


def relative_l2(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    """The L2 norm of the difference over that of what was wanted."""
    return float(np.linalg.norm(found - wanted) / np.linalg.norm(wanted))
