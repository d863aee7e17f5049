"""Seeds in, pictures out: the sampling loop over one class's UNet, and the decoder."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from safetensors.numpy import load_file

from engine.backends.base import Model, OpenModel
from engine.bundle import Bundle
from engine.errors import CytosynthError
from engine.guidance import guidance_table, guide
from engine.noise import initial_noise
from engine.request import GenerateRequest
from engine.samplers import plan_steps
from engine.schedules import time_features

__all__ = ["Pipeline"]


class Pipeline:
    """One class of a bundle, opened at a fixed batch size. Use as a context manager."""

    def __init__(self, bundle: Bundle, class_name: str, request: GenerateRequest, open_model: OpenModel) -> None:
        manifest = bundle.manifest
        entry = manifest.classes[class_name]
        self.latent_shape = manifest.latent_shape
        self.batch_size = request.batch_size
        self._plan = plan_steps(
            manifest.noise,
            sampler=request.sampler,
            schedule=request.schedule,
            num_inference_steps=request.num_inference_steps,
        )
        self._scales = guidance_table(request.num_inference_steps, request.guidance_scale)
        self._frequencies = np.array(manifest.frequencies)
        context = _read_context(bundle, class_name)
        self._context = np.repeat([context["cond"], context["uncond"]], self.batch_size, axis=0)
        self._unets: dict[int, Model] = {}
        features = 2 * len(manifest.frequencies)
        for rows in sorted({self._rows(scale) for scale in self._scales}):
            shapes = {
                "latents": (rows, *self.latent_shape),
                "time_features": (rows, features),
                "encoder_hidden_states": (rows, *manifest.context_shape),
            }
            self._unets[rows] = open_model(bundle.path(entry.unet), shapes, ("eps",))
        shapes = {"latents": (self.batch_size, *self.latent_shape)}
        self._decoder = open_model(bundle.path(manifest.decoder[0]), shapes, ("images", "finite"))

    def _rows(self, scale: float) -> int:
        return self.batch_size if scale == 1 else 2 * self.batch_size

    def generate_latents(self, seeds: Sequence[int]) -> NDArray[np.float32]:
        """Sample batch_size latents: (B, C, h, w) float32. The loop of every sampler: see engine.samplers."""
        x = initial_noise(seeds, self.latent_shape) * np.float32(self._plan.initial_scale)
        previous = np.zeros_like(x)
        for row, scale in zip(self._plan.rows, self._scales, strict=True):
            denoised = x - np.float32(row.sigma) * self._eps(x * np.float32(row.c_in), row.timestep, scale)
            x = np.float32(row.a) * x + np.float32(row.b) * denoised + np.float32(row.c) * previous
            previous = denoised
        return np.asarray(x, np.float32)

    def _eps(self, latents: NDArray[np.float32], timestep: float, scale: float) -> NDArray[np.float32]:
        rows = self._rows(scale)
        inputs = {
            "latents": np.concatenate([latents] * (rows // self.batch_size)),
            "time_features": time_features(np.full(rows, timestep), self._frequencies),
            "encoder_hidden_states": self._context[:rows],
        }
        return guide(self._unets[rows].run(inputs)["eps"], scale)

    def decode(self, latents: NDArray[np.float32], seeds: Sequence[int]) -> NDArray[np.uint8]:
        """Decode (B, C, h, w) latents to (B, H, W, 3) uint8 RGB. Raises CytosynthError where one is not finite."""
        outputs: dict[str, NDArray[Any]] = self._decoder.run({"latents": latents})
        if not outputs["finite"].all():
            bad = [str(seed) for seed, finite in zip(seeds, outputs["finite"], strict=True) if not finite]
            raise CytosynthError(
                f"The pictures of seeds {', '.join(bad)}",
                found="NaN or infinity in the latents",
                expected="finite values",
                mend="use --precision f32, or a smaller --guidance-scale",
            )
        return np.asarray(outputs["images"], np.uint8)

    def close(self) -> None:
        """Close the graphs."""
        for model in (*self._unets.values(), self._decoder):
            model.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _read_context(bundle: Bundle, class_name: str) -> dict[str, NDArray[np.float32]]:
    """cond and uncond, (T, D) float32 each."""
    path = bundle.path(bundle.manifest.classes[class_name].context)
    tensors = load_file(path)
    for name in ("cond", "uncond"):
        found = tensors.get(name)
        if found is None or found.shape != bundle.manifest.context_shape or found.dtype != np.float32:
            raise CytosynthError(
                f"The prompt embeddings {path}, tensor {name}",
                found="none" if found is None else f"{found.dtype} {found.shape}",
                expected=f"float32 {bundle.manifest.context_shape}",
                mend="export the bundle again",
            )
    return tensors
