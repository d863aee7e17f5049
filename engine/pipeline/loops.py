"""The loops that apply the table of a sampler to the UNet of a class, on the host or on a device."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Backend, Buffer, Context, Device, Model
from engine.errors import RequestError
from engine.pipeline.prompted import PromptedUNet, PromptTable
from engine.sampling.guidance import guide
from engine.sampling.noise import Noise
from engine.sampling.samplers import SamplerPlan, StepRow
from engine.sampling.schedules import Floats, time_features

__all__ = ["Latents", "Loop", "LoopSpec", "Start", "Stopped", "Watch", "half_bytes", "open_loop"]

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


def _between_steps(step: int, prediction: Callable[[], Latents], stop: threading.Event, watch: Watch | None) -> None:
    """Show what `step` steps made to those who watch. Raises Stopped if this is asked for."""
    if stop.is_set():
        raise Stopped(prediction() if step else None)
    if step and watch is not None:
        watch(step, prediction)


def open_loop(spec: LoopSpec, backend: Backend, *, masked: bool = False) -> Loop:
    """Return the loop for this backend.

    The step graph knows no mask, and one context for all steps. So the host applies the table to masked pictures, and
    to prompts that need more.
    """
    if backend.device is None or masked or not spec.plan.rows or spec.table is not None:
        return HostLoop(spec, backend)
    return DeviceLoop(spec, backend.device)


class HostLoop:
    """The loop on the host: NumPy computes the table, one line per step."""

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
        previous = np.zeros_like(x)
        for step, row in enumerate(spec.plan.rows):
            _between_steps(step, partial(np.asarray, previous, np.float32), stop, watch)
            denoised = keep(x - np.float32(row.sigma) * self._unet.eps(x * np.float32(row.c_in), step))
            x = np.float32(row.a) * x + np.float32(row.b) * denoised + np.float32(row.c) * previous
            if row.d:
                x += np.float32(row.d) * noise.draw()
            previous = denoised
        return np.asarray(keep(x), np.float32)

    def close(self) -> None:
        """See Loop."""
        self._unet.close()


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


def scaled_rows(plan: SamplerPlan) -> tuple[StepRow, ...]:
    """Return the table for u = c_in x, the input of the UNet, so that a device needs no scaling between steps.

    With D' = c_in D and sigma' = c_in sigma: D' = u - sigma' eps and u_next = a' u + b' D' + c' D'_prev + d' z, where
    a' = a k / c_in, b' = b k / c_in, c' = c k / (c_in of the previous row), d' = d k, and k is the next row's c_in, or
    1 in the last row.
    """
    following = [*(row.c_in for row in plan.rows[1:]), 1.0]
    before = [1.0, *(row.c_in for row in plan.rows[:-1])]
    return tuple(
        replace(
            row,
            sigma=row.sigma * row.c_in,
            a=row.a * k / row.c_in,
            b=row.b * k / row.c_in,
            c=row.c * k / last,
            d=row.d * k,
        )
        for row, k, last in zip(plan.rows, following, before, strict=True)
    )


def half_bytes(spec: LoopSpec, device: Device) -> int:
    """Return the offset in bytes of the second half of a pair of latents.

    Raises RequestError if the device cannot address this offset.
    """
    offset = 4 * spec.batch_size * int(np.prod(spec.latent_shape))
    if offset % device.alignment_bytes:
        raise RequestError(
            "The second half of the latents on this device",
            found=f"an offset of {offset} bytes",
            expected=f"a multiple of {device.alignment_bytes}",
            fix="use another --batch-size or another picture size",
        )
    return offset


ALIGNMENT = 64
"""Float32 values per aligned block. TensorRT requires tensor addresses that are multiples of 256 bytes."""


class DeviceLoop:
    """The loop on a device: UNet and step graph pass latents by address, with the table of scaled_rows.

    Both latents buffers hold 2B pictures with two equal halves, so that the UNet of a guided step reads its input in
    place. The step graph runs once for each half that the next step needs.
    """

    def __init__(self, spec: LoopSpec, device: Device) -> None:
        self._spec, self._device = spec, device
        shape = (spec.batch_size, *spec.latent_shape)
        self._half_bytes = half_bytes(spec, device)
        eps = {rows: {"eps": (rows, *spec.latent_shape)} for rows in spec.unet_rows()}
        self._unets: dict[int, Context] = {
            rows: device.open_context(spec.unet, spec.unet_inputs(rows), eps[rows]) for rows in spec.unet_rows()
        }
        step_inputs = dict.fromkeys(("x", "eps_cond", "eps_uncond", "D_prev", "z"), shape)
        self._step = device.open_context(spec.step, {**step_inputs, "row": (8,)}, {"x_next": shape, "D": shape})
        both = (2 * spec.batch_size, *spec.latent_shape)
        self._x = [device.allocate(both), device.allocate(both)]
        self._denoised = [device.allocate(shape), device.allocate(shape)]
        self._eps, self._z = device.allocate(both), device.allocate(shape)
        self._context = self._constant(np.repeat(spec.context, spec.batch_size, axis=0))
        self._features, self._features_bytes = self._table(
            [time_features(np.full(2 * spec.batch_size, row.timestep), spec.frequencies) for row in spec.plan.rows]
        )
        scaled = scaled_rows(spec.plan)
        values = [
            np.array([row.sigma, row.timestep, row.c_in, row.a, row.b, row.c, row.d, scale], np.float32)
            for row, scale in zip(scaled, spec.scales, strict=True)
        ]
        self._rows, self._row_bytes = self._table(values)
        self._stochastic = any(row.d for row in spec.plan.rows)
        self._replay: Callable[[], None] | None = None

    def _constant(self, values: NDArray[np.float32]) -> Buffer:
        buffer = self._device.allocate(values.shape)
        buffer.write(values)
        return buffer

    def _table(self, values: list[NDArray[np.float32]]) -> tuple[Buffer, int]:
        """Store one array per step at aligned addresses. Return the buffer and the distance in bytes."""
        width = -(-values[0].size // ALIGNMENT) * ALIGNMENT
        padded = np.zeros((len(values), width), np.float32)
        padded[:, : values[0].size] = [value.ravel() for value in values]
        return self._constant(padded), 4 * width

    def run(
        self, noise: Noise, stop: threading.Event, start: Start | None = None, watch: Watch | None = None
    ) -> Latents:
        """See Loop. A trajectory without noise is captured once and then replayed, if the device supports it.

        Nobody can watch a replay or stop it.
        """
        spec = self._spec
        first = noise.draw() * np.float32(spec.plan.initial_scale * spec.plan.rows[0].c_in)
        if start is not None:
            assert start.mask is None, "open_loop returns a HostLoop for masked pictures"
            first += start.latents * np.float32(spec.plan.rows[0].c_in)
        self._x[0].write(np.concatenate([first, first]))
        self._denoised[1].write(np.zeros_like(first))
        if self._replay is not None and watch is None:
            _between_steps(0, partial(np.zeros_like, first), stop, watch)
            self._replay()
        else:
            self._steps(noise, stop, watch)
            # Capture after the first run, in which a runtime does set-up work that must not be captured.
            if not self._stochastic and self._replay is None:
                self._replay = self._device.capture(lambda: self._steps(noise, threading.Event()))
        return np.asarray(self._x[len(spec.plan.rows) % 2].read()[: spec.batch_size])

    def _prediction(self, step: int) -> Latents:
        """Return the denoised latents of the step before this one."""
        c_in = np.float32(self._spec.plan.rows[step - 1].c_in)
        return np.asarray(self._denoised[(step + 1) % 2].read() / c_in, np.float32)

    def _steps(self, noise: Noise, stop: threading.Event, watch: Watch | None = None) -> None:
        spec = self._spec
        for i, (row, scale) in enumerate(zip(spec.plan.rows, spec.scales, strict=True)):
            _between_steps(i, partial(self._prediction, i), stop, watch)
            now, then = self._x[i % 2].pointer, self._x[(i + 1) % 2].pointer
            self._unets[spec.rows(scale)].run(
                {
                    "latents": now,
                    "time_features": self._features.pointer + i * self._features_bytes,
                    "encoder_hidden_states": self._context.pointer,
                    "eps": self._eps.pointer,
                }
            )
            if row.d:
                self._z.write(noise.draw())
            guided_next = i + 1 < len(spec.scales) and spec.scales[i + 1] != 1
            for half in range(2 if guided_next else 1):
                self._step.run(
                    {
                        "x": now,
                        "eps_cond": self._eps.pointer,
                        "eps_uncond": self._eps.pointer + (0 if scale == 1 else self._half_bytes),
                        "D_prev": self._denoised[(i + 1) % 2].pointer,
                        "z": self._z.pointer,
                        "row": self._rows.pointer + i * self._row_bytes,
                        "x_next": then + half * self._half_bytes,
                        "D": self._denoised[i % 2].pointer,
                    }
                )

    def close(self) -> None:
        """See Loop."""
        self._replay = None
        for context in (*self._unets.values(), self._step):
            context.close()
