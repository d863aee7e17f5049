"""The samplers of Song et al. 2021: diffusers' scheduler for the variance-exploding SDE, and exact solutions."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import ScoreSdeVeScheduler

from engine.sampling.samplers import SAMPLERS, plan_steps
from engine.sampling.score_sde import SIGNAL_TO_NOISE, predictor_corrector
from tests.engine.sampling.applied import apply_rows, rows_of
from tests.engine.sampling.golden import GOLDEN, NOISE

MEAN, VARIANCE = GOLDEN["mean"], GOLDEN["std"] ** 2
LOW, HIGH = float(NOISE.sigmas[0]), float(NOISE.sigmas[-1])


def denoise_gaussian(x, sigma):
    return (VARIANCE * x + sigma**2 * MEAN) / (VARIANCE + sigma**2)


def scheduler_of(steps):
    scheduler = ScoreSdeVeScheduler(sigma_min=LOW, sigma_max=HIGH, snr=SIGNAL_TO_NOISE)
    scheduler.set_timesteps(steps)
    scheduler.set_sigmas(steps, LOW, HIGH)
    return scheduler


def replay(monkeypatch, noise):
    left = iter(noise)
    path = "diffusers.schedulers.scheduling_sde_ve.randn_tensor"
    monkeypatch.setattr(path, lambda *_, **__: torch.from_numpy(next(left)))


def test_the_reverse_sde_is_the_predictor_of_diffusers(monkeypatch):
    steps = 7
    noise = np.random.default_rng(0).standard_normal((steps + 1, 1, 8))
    scheduler = scheduler_of(steps)
    replay(monkeypatch, noise[1:])
    sigmas = scheduler.discrete_sigmas.double().numpy()[::-1]
    x = torch.from_numpy(noise[0] * sigmas[0])
    for sigma, t in zip(sigmas, scheduler.timesteps, strict=True):
        score = (denoise_gaussian(x, sigma) - x) / sigma**2
        found = scheduler.step_pred(score, t, x)
        x = found.prev_sample
    rows = rows_of(SAMPLERS["reverse_sde"].stages(np.append(sigmas, 0.0)))
    ours = apply_rows(rows, noise[0] * sigmas[0], denoise_gaussian, noise[1:])
    # The last step of diffusers' pipeline returns the mean. Its sigmas are float32.
    np.testing.assert_allclose(ours, found.prev_sample_mean.numpy(), rtol=0, atol=1e-5)


def test_the_corrector_has_the_expected_step_of_diffusers(monkeypatch):
    """diffusers measures the norms of noise and score. For many values that are pure noise they have their ratio."""
    noise = np.random.default_rng(0).standard_normal((2, 1, 40_000))
    scheduler = scheduler_of(2)
    replay(monkeypatch, noise[1:])
    first, second = predictor_corrector(np.array([HIGH, 2.0, 0.0]))[:2]
    assert (first.sigma, second.sigma) == (HIGH, 2.0)
    x = torch.from_numpy(noise[0] * second.sigma)
    wanted = scheduler.step_correct(-x / second.sigma**2, x).prev_sample.numpy()
    found = apply_rows(rows_of([second]), x.numpy(), lambda u, sigma: np.zeros_like(u), noise[1:])
    assert np.abs(found - wanted).max() < 0.01 * second.sigma


@pytest.mark.parametrize(("name", "tolerance"), [("reverse_sde", 0.02), ("predictor_corrector", 0.02)])
def test_many_steps_draw_the_data(name, tolerance):
    plan = plan_steps(NOISE, sampler=name, schedule="exponential", num_inference_steps=400)
    rng = np.random.default_rng(0)
    draws = (rng.standard_normal(8000) for _ in plan.rows)
    found = apply_rows(plan.rows, plan.initial_scale * rng.standard_normal(8000), denoise_gaussian, draws)
    assert found.mean() == pytest.approx(MEAN, abs=0.03)
    assert found.std() == pytest.approx(GOLDEN["std"], rel=tolerance)


def test_the_probability_flow_comes_to_the_exact_solution():
    """x = mean + (x_T - mean) sqrt(std^2 / (std^2 + sigma_T^2)); Euler's error halves with the step."""

    def error(steps):
        plan = plan_steps(NOISE, sampler="probability_flow", schedule="exponential", num_inference_steps=steps)
        start = np.array(GOLDEN["noise"]) * plan.initial_scale
        exact = MEAN + (start - MEAN) * np.sqrt(VARIANCE / (VARIANCE + plan.initial_scale**2))
        return np.abs(apply_rows(plan.rows, start, denoise_gaussian) - exact).max()

    assert error(400) < 0.03
    assert error(400) == pytest.approx(error(800) * 2, rel=0.15)
