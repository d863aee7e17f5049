"""The loop that applies the table of a sampler to the UNet of a class on the host, and what every loop has."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend, Model
from engine.pipeline.prompted import PromptedUNet, PromptTable
from engine.sampling.guidance import guide
from engine.sampling.noise import Noise
from engine.sampling.samplers import SamplerPlan
from engine.sampling.schedules import Floats, time_features

__all__ = ["HostLoop", "Latents", "Loop", "LoopSpec", "Start", "Stopped", "Watch", "between_steps"]

Latents = NDArray[np.float32]
Watch = Callable[[int, Callable[[], Latents]], None]
"""Called between two steps with the number of steps that are done, and a function that returns what the last one
predicts of the finished latents, (B, C, h, w) float32. The function holds during the call only."""


class Stopped(Exception):  # noqa: N818 - a request, not an error
    """The loop was asked to stop between two steps."""

    def __init__(self, prediction: Latents | None = None) -> None:
        """prediction: what the last step predicted of the finished latents, (B, C, h, w). None before the first one."""
        super().__init__()
        self.prediction = prediction


@dataclass(frozen=True)
class LoopSpec:
    """Everything that a loop needs. A step of guidance scale 1 evaluates only the conditional half."""

    unet: Path
    step: Path
    plan: SamplerPlan
    scales: tuple[float, ...]
    frequencies: Floats
    context: NDArray[np.float32]
    """Embeddings (2, T, D) of the prompt and of the negative prompt."""
    latent_shape: tuple[int, int, int]
    batch_size: int
    table: PromptTable | None = None
    """The embeddings of each step, if `context` does not hold for all steps or if there are several prompts."""

    def rows(self, scale: float) -> int:
        """Return the number of UNet rows of a step with this guidance scale."""
        return self.batch_size if scale == 1 else 2 * self.batch_size

    def unet_rows(self) -> list[int]:
        """Return the numbers of rows for which the UNet must be opened."""
        return sorted({self.rows(scale) for scale in self.scales})

    def unet_inputs(self, rows: int) -> dict[str, tuple[int, ...]]:
        """Return the input shapes of the UNet for this many rows."""
        return {
            "latents": (rows, *self.latent_shape),
            "time_features": (rows, 2 * len(self.frequencies)),
            "encoder_hidden_states": (rows, *self.context.shape[1:]),
        }


@dataclass(frozen=True)
class Start:
    """Where the trajectories of a chunk begin, if not at plain noise: x = z + initial_scale * noise."""

    latents: Latents
    """Latents z (B, C, h, w) float32 of the initial pictures."""
    mask: Latents | None = None
    """Which latents change: (B, 1, h, w) float32 from 0 (keep) to 1. None changes all."""
    content: str = "original"
    """What is below the mask: the latents themselves, or in their place `noise` or `nothing`."""

    def origin(self, noise: Latents) -> Latents:
        """Return z with its masked content replaced. noise: the first noise of the trajectories."""
        if self.mask is None or self.content not in ("noise", "nothing"):
            return self.latents
        kept = self.latents * (1 - self.mask)
        return kept + noise * self.mask if self.content == "noise" else kept


class Loop(Protocol):
    """A loop, which is opened once and run for every chunk."""

    def run(
        self, noise: Noise, stop: threading.Event, start: Start | None = None, watch: Watch | None = None
    ) -> Latents:
        """Return the latents (B, C, h, w) float32 of batch_size pictures. Raises Stopped between steps.

        With a mask M, each step keeps what M leaves out: D becomes M D + (1 - M) z, and so does the last x.
        """
        ...

    def close(self) -> None:
        """Free the graphs."""
        ...


def between_steps(step: int, prediction: Callable[[], Latents], stop: threading.Event, watch: Watch | None) -> None:
    """Show what `step` steps made to those who watch. Raises Stopped if this is asked for."""
    if stop.is_set():
        raise Stopped(prediction() if step else None)
    if step and watch is not None:
        watch(step, prediction)


class HostLoop:
    """The loop on the host: NumPy computes the table."""

    def __init__(self, spec: LoopSpec, backend: Backend) -> None:
        self._spec = spec
        self._unet = _GuidedUNet(spec, backend) if spec.table is None else PromptedUNet(spec, spec.table, backend)

    def run(
        self, noise: Noise, stop: threading.Event, start: Start | None = None, watch: Watch | None = None
    ) -> Latents:
        """See Loop."""
        spec = self._spec
        first = noise.draw()
        x = first * np.float32(spec.plan.initial_scale)
        keep = partial(_keep, start=start, first=first)
        if start is not None:
            x += start.origin(first)
        u, past, denoised = x, [np.zeros_like(x)] * 3, x
        for step, row in enumerate(spec.plan.rows):
            between_steps(step, partial(np.asarray, denoised, np.float32), stop, watch)
            denoised = keep(u - np.float32(row.sigma) * self._unet.eps(u * np.float32(row.c_in), step))
            vectors = [x, denoised, *past, noise.draw() if row.draws else x]
            x = _combined(row.x, vectors)
            u = x if row.point is None else _combined(row.point, vectors)
            past = [denoised if row.keeps_denoised else _combined(row.kept, vectors), *past[:2]]
        return np.asarray(keep(x), np.float32)

    def close(self) -> None:
        """See Loop."""
        self._unet.close()


def _combined(terms: Sequence[float], vectors: Sequence[Latents]) -> Latents:
    """Return the sum of coefficient times vector, in the order of the terms. Terms of coefficient 0 are left out."""
    products = [np.float32(term) * vector for term, vector in zip(terms, vectors, strict=True) if term]
    return sum(products[1:], products[0]) if products else np.zeros_like(vectors[0])


class _GuidedUNet:
    """The UNet with one prompt and one negative prompt, which hold for all steps."""

    def __init__(self, spec: LoopSpec, backend: Backend) -> None:
        self._spec = spec
        self._context = np.repeat(spec.context, spec.batch_size, axis=0)
        self._unets: dict[int, Model] = {
            rows: backend.open(spec.unet, spec.unet_inputs(rows), ("eps",)) for rows in spec.unet_rows()
        }

    def eps(self, latents: Latents, step: int) -> Latents:
        """Return the guided output (B, C, h, w) for scaled latents, in a step counted from 0."""
        scale = self._spec.scales[step]
        rows = self._spec.rows(scale)
        inputs = {
            "latents": np.concatenate([latents] * (rows // self._spec.batch_size)),
            "time_features": time_features(np.full(rows, self._spec.plan.rows[step].timestep), self._spec.frequencies),
            "encoder_hidden_states": self._context[:rows],
        }
        return guide(self._unets[rows].run(inputs)["eps"], scale)

    def close(self) -> None:
        """Close the graphs."""
        for unet in self._unets.values():
            unet.close()


def _keep(latents: Latents, start: Start | None, first: Latents) -> Latents:
    """Return latents (B, C, h, w) in which those of the initial pictures replace what the mask leaves out."""
    if start is None or start.mask is None:
        return latents
    return latents * start.mask + start.origin(first) * (1 - start.mask)
