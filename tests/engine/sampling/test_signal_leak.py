"""The signal leak in a file: directions from their DCT coefficients, and what it does to noise."""

from __future__ import annotations

import numpy as np
import pytest
from safetensors.numpy import save_file

from engine.errors import RequestError
from engine.sampling.samplers import plan_steps
from engine.sampling.schedules import NoiseSchedule
from engine.sampling.signal_leak import read_signal_leak

SHAPE = (4, 8, 8)


def tensors():
    """A leak along one direction, the mean of the first channel."""
    directions = np.zeros((1, 4, 2, 2), np.float16)
    directions[0, 0, 0, 0] = 1
    return {
        "mean": np.full(SHAPE, 0.5, np.float16),
        "directions": directions,
        "variances": np.array([9], np.float16),
    }


def test_noise_gets_the_mean_of_the_class_and_its_variance_along_the_direction(tmp_path):
    save_file(tensors(), tmp_path / "leak.safetensors")
    leak = read_signal_leak(tmp_path / "leak.safetensors", SHAPE)
    assert np.linalg.norm(leak.directions) == pytest.approx(1, abs=1e-6)
    np.testing.assert_allclose(leak.directions[0, 0], 1 / 8, atol=1e-6)
    plan = plan_steps(NoiseSchedule(0.00085, 0.012, 1000), sampler="euler", schedule="karras", num_inference_steps=5)
    noise = np.random.default_rng(0).standard_normal((4000, *SHAPE)).astype(np.float32)
    latents = plan.initial_scale * leak.into(noise, plan)
    assert latents.mean() == pytest.approx(0.5, abs=0.05)
    along = (latents - 0.5)[:, 0].sum(axis=(1, 2)) / 8
    assert along.var() == pytest.approx(9 + plan.rows[0].sigma ** 2, rel=0.08)
    np.testing.assert_allclose(latents[:, 1:], plan.initial_scale * noise[:, 1:] + 0.5, atol=1e-3)


@pytest.mark.parametrize(
    "damage",
    [
        lambda leak: leak.pop("mean"),
        lambda leak: leak.update(variances=np.array([-1], np.float16)),
        lambda leak: leak.update(mean=leak["mean"].astype(np.float32)),
        lambda leak: leak.update(directions=np.zeros((1, 3, 2, 2), np.float16)),
        lambda leak: leak.update(mean=np.full(SHAPE, np.inf, np.float16)),
    ],
)
def test_a_leak_of_another_form_is_refused(damage, tmp_path):
    leak = tensors()
    damage(leak)
    save_file(leak, tmp_path / "leak.safetensors")
    with pytest.raises(RequestError, match=r"leak\.safetensors"):
        read_signal_leak(tmp_path / "leak.safetensors", SHAPE)
