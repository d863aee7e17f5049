"""The calls of the UNet that a table of prompts needs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from engine.pipeline.loops import LoopSpec
from engine.pipeline.prompted import PromptedUNet, PromptTable
from engine.sampling.samplers import plan_steps
from engine.sampling.schedules import NoiseSchedule

PLAN = plan_steps(NoiseSchedule(0.00085, 0.012, 1000), sampler="euler", schedule="normal", num_inference_steps=2)


class Summing:
    """A backend whose UNet returns the sum of each row's context, and keeps the shapes of its calls."""

    def __init__(self):
        self.calls = []
        self.opened = []

    def open(self, path, inputs, outputs):
        self.opened.append(inputs["encoder_hidden_states"])
        return self

    def run(self, inputs):
        context = inputs["encoder_hidden_states"]
        self.calls.append(context.shape)
        return {"eps": np.broadcast_to(context.sum((1, 2))[:, None, None, None], inputs["latents"].shape)}

    def close(self):
        self.opened.clear()


def contexts(*values):
    """Return contexts of one token and width 2, or of two tokens for negative values, with these sums."""
    return tuple(
        np.full((1 if value > 0 else 2, 2), value / 2 / (1 if value > 0 else 2), np.float32) for value in values
    )


def unet_of(rows, values, weights=(1.0,), scales=(3.0, 3.0)):
    spec = LoopSpec(
        unet=Path("unet.onnx"),
        step=Path("step.onnx"),
        plan=PLAN,
        scales=scales,
        frequencies=np.ones(4),
        context=np.zeros((2, 1, 2), np.float32),
        latent_shape=(4, 2, 2),
        batch_size=3,
    )
    table, backend = PromptTable(contexts(*values), rows, weights), Summing()
    return PromptedUNet(replace(spec, table=table), table, backend), backend


LATENTS = np.zeros((3, 4, 2, 2), np.float32)


@pytest.mark.parametrize(
    ("rows", "weights", "scale", "wanted", "calls"),
    [
        (((0, 1), (2, 1)), (1.0,), 3.0, [2 + 3 * (1 - 2), 2 + 3 * (5 - 2)], [(6, 1, 2), (6, 1, 2)]),
        (((0, 1), (2, 1)), (1.0,), 1.0, [1, 5], [(3, 1, 2), (3, 1, 2)]),
        # Parts need the negative prompt even without guidance, and no call has more than twice the batch.
        (((0, 2, 1),) * 2, (1.0, 0.5), 1.0, [2 - 1 + 1.5] * 2, [(6, 1, 2), (3, 1, 2)] * 2),
        # A context of another length has a call of its own.
        (((3, 1),) * 2, (1.0,), 2.0, [2 + 2 * (-8 - 2)] * 2, [(3, 2, 2), (3, 1, 2)] * 2),
        (((0, 0, 1),) * 2, (1.0, 1.0), 1.0, [2 - 1 - 1] * 2, [(6, 1, 2)] * 2),
    ],
)
def test_each_step_combines_its_parts(rows, weights, scale, wanted, calls):
    unet, backend = unet_of(rows, (1, 2, 5, -8), weights, (scale, scale))
    assert [float(unet.eps(LATENTS, step)[2, 0, 0, 0]) for step in range(2)] == pytest.approx(wanted)
    assert backend.calls == calls
    assert set(backend.opened) == set(calls)
    unet.close()
    assert backend.opened == []
