"""The loop on a device: UNet and step graph pass latents by address, so that nothing returns to the host on the way."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial

import numpy as np
from numpy.typing import NDArray

from engine.backends.base import Buffer, Context, Device
from engine.errors import RequestError
from engine.pipeline.device_calls import COLUMNS, Call, Tensors, combined_evaluations, simple_evaluations
from engine.pipeline.loops import Latents, LoopSpec, Start, Watch, between_steps
from engine.sampling.noise import Noise
from engine.sampling.schedules import time_features

__all__ = ["DeviceLoop", "half_bytes"]

ALIGNMENT = 64
"""Float32 values per aligned block. TensorRT requires tensor addresses that are multiples of 256 bytes."""


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


class DeviceLoop:
    """The loop on a device.

    The buffers that the UNet reads hold 2B pictures with two equal halves, so that the UNet of a guided step reads its
    input in place.
    """

    def __init__(self, spec: LoopSpec, device: Device) -> None:
        self._spec, self._device = spec, device
        shape, both = (spec.batch_size, *spec.latent_shape), (2 * spec.batch_size, *spec.latent_shape)
        distance = half_bytes(spec, device)
        eps = {rows: {"eps": (rows, *spec.latent_shape)} for rows in spec.unet_rows()}
        self._unets: dict[int, Context] = {
            rows: device.open_context(spec.unet, spec.unet_inputs(rows), eps[rows]) for rows in spec.unet_rows()
        }
        step_inputs = dict.fromkeys(("x", "eps_cond", "eps_uncond", "D_prev", "z"), shape)
        outputs = {"x_next": shape, "D": shape}
        self._step = device.open_context(spec.step, {**step_inputs, "row": (len(COLUMNS),)}, outputs)
        # A row of a simple plan is one call of the step graph, with the table in the scale of the UNet's input.
        self._simple = all(row.simple for row in spec.plan.rows)
        wide = [device.allocate(both) for _ in range(3)]
        narrow = [device.allocate(shape) for _ in range(4 if self._simple else 16)]
        tensors = _tensors([buffer.pointer for buffer in wide], [buffer.pointer for buffer in narrow], distance)
        make = simple_evaluations if self._simple else combined_evaluations
        self._evaluations, result = make(spec, tensors)
        by_pointer = {buffer.pointer: buffer for buffer in (*wide, *narrow)}
        self._buffers = by_pointer
        self._eps, self._noise = tensors.eps, by_pointer[tensors.noise]
        self._first = by_pointer[tensors.latents[0] if self._simple else tensors.states[0]]
        self._before, self._result = by_pointer[tensors.denoised[1]], by_pointer[result]
        self._context = self._constant(np.repeat(spec.context, spec.batch_size, axis=0))
        self._features, self._features_bytes = self._table(
            [time_features(np.full(2 * spec.batch_size, row.timestep), spec.frequencies) for row in spec.plan.rows]
        )
        calls = [call for one in self._evaluations for call in (*one.before, *one.after)]
        rows, row_bytes = self._table(
            [np.array([call.row.get(name, 0.0) for name in COLUMNS], np.float32) for call in calls]
        )
        self._row_table = rows
        self._rows = {id(call): rows.pointer + i * row_bytes for i, call in enumerate(calls)}
        self._stochastic = any(row.draws for row in spec.plan.rows)
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
        scale = spec.plan.rows[0].c_in if self._simple else 1.0
        first = noise.draw() * np.float32(spec.plan.initial_scale * scale)
        if start is not None:
            assert start.mask is None, "masked pictures have a HostLoop"
            first += start.latents * np.float32(scale)
        self._first.write(np.concatenate([first, first]) if self._simple else first)
        self._before.write(np.zeros_like(first))
        if self._replay is not None and watch is None:
            between_steps(0, partial(np.zeros_like, first), stop, watch)
            self._replay()
        else:
            self._steps(noise, stop, watch)
            # Capture after the first run, in which a runtime does set-up work that must not be captured.
            if not self._stochastic and self._replay is None:
                self._replay = self._device.capture(lambda: self._steps(noise, threading.Event()))
        return np.asarray(self._result.read()[: spec.batch_size])

    def _prediction(self, step: int) -> Latents:
        """Return D (B, C, h, w) of the step before this one."""
        scale = self._spec.plan.rows[step - 1].c_in if self._simple else 1.0
        return np.asarray(self._buffers[self._evaluations[step - 1].denoised].read() / np.float32(scale), np.float32)

    def _steps(self, noise: Noise, stop: threading.Event, watch: Watch | None = None) -> None:
        spec = self._spec
        for i, (row, scale, one) in enumerate(zip(spec.plan.rows, spec.scales, self._evaluations, strict=True)):
            between_steps(i, partial(self._prediction, i), stop, watch)
            self._call(one.before)
            self._unets[spec.rows(scale)].run(
                {
                    "latents": one.latents,
                    "time_features": self._features.pointer + i * self._features_bytes,
                    "encoder_hidden_states": self._context.pointer,
                    "eps": self._eps,
                }
            )
            if row.draws:
                self._noise.write(noise.draw())
            self._call(one.after)

    def _call(self, calls: Iterable[Call]) -> None:
        for call in calls:
            self._step.run({**call.tensors, "row": self._rows[id(call)]})

    def close(self) -> None:
        """See Loop."""
        self._replay = None
        for context in (*self._unets.values(), self._step):
            context.close()


def _tensors(wide: list[int], narrow: list[int], half: int) -> Tensors:
    """Return the addresses of a plan's tensors: three of 2B pictures, and four of B, or sixteen if it is not simple."""
    noise, zero, first, second, *more = narrow
    tensors = Tensors((wide[0], wide[1]), wide[2], noise, half, zero, (first, second))
    if not more:
        return tensors
    return replace(
        tensors,
        states=(more[0], more[1]),
        points=(more[2], more[3]),
        past=tuple(more[4:9]),
        scratch=(more[9], more[10], more[11]),
    )
