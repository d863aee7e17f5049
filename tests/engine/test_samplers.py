"""Schedules and sampler tables against k-diffusion's own values (tests/golden/make_k_diffusion.py)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from engine.samplers import dpmpp_2m, plan_steps
from engine.schedules import NoiseSchedule, karras_sigmas, time_features

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "k_diffusion.json").read_text())
NOISE = NoiseSchedule(GOLDEN["beta_start"], GOLDEN["beta_end"], GOLDEN["num_train_timesteps"])
RUNS = [pytest.param(run, id=f"{run['steps']} steps") for run in GOLDEN["runs"]]


def sample_gaussian(sigmas, coefficients):
    """Apply a table to the denoiser of N(mean, std^2), E[x0 | x]."""
    mean, variance = GOLDEN["mean"], GOLDEN["std"] ** 2
    x = np.array(GOLDEN["noise"]) * sigmas[0]
    previous = np.zeros_like(x)
    for sigma, (a, b, c, _) in zip(sigmas[:-1], coefficients, strict=True):
        denoised = (variance * x + sigma**2 * mean) / (variance + sigma**2)
        x, previous = a * x + b * denoised + c * previous, denoised
    return x


def test_the_models_sigmas_are_stable_diffusions():
    assert NOISE.sigmas[0] == pytest.approx(GOLDEN["sigma_min"], rel=1e-12)
    assert NOISE.sigmas[-1] == pytest.approx(GOLDEN["sigma_max"], rel=1e-12)


@pytest.mark.parametrize("run", RUNS)
def test_karras_sigmas_and_timesteps_agree_with_k_diffusion(run):
    sigmas = karras_sigmas(NOISE, run["steps"])
    np.testing.assert_allclose(sigmas, run["sigmas"], rtol=1e-10, atol=0)
    np.testing.assert_allclose(NOISE.timesteps(sigmas[:-1]), run["timesteps"], rtol=0, atol=1e-6)


@pytest.mark.parametrize("run", RUNS)
def test_dpmpp_2m_agrees_with_k_diffusion_on_a_gaussian(run):
    sigmas = np.array(run["sigmas"])
    np.testing.assert_allclose(sample_gaussian(sigmas, dpmpp_2m(sigmas)), run["result"], rtol=0, atol=1e-6)


def test_a_finer_table_comes_nearer_to_the_exact_solution():
    """The probability-flow ODE of a Gaussian is solved by x = mean + (x_T - mean) sqrt(std^2 / (std^2 + sigma_T^2))."""
    mean, variance = GOLDEN["mean"], GOLDEN["std"] ** 2

    def error(steps: int) -> float:
        sigmas = karras_sigmas(NOISE, steps)
        start = np.array(GOLDEN["noise"]) * sigmas[0]
        exact = mean + (start - mean) * np.sqrt(variance / (variance + sigmas[0] ** 2))
        return float(np.abs(sample_gaussian(sigmas, dpmpp_2m(sigmas)) - exact).max())

    assert error(40) < error(20) / 2 < error(10) / 4


def test_the_last_step_returns_the_denoised_picture():
    plan = plan_steps(NOISE, sampler="dpmpp_2m", schedule="karras", num_inference_steps=20)
    last = plan.rows[-1]
    assert (last.a, last.b, last.c, last.d) == (0, 1, 0, 0)
    assert plan.initial_scale == plan.rows[0].sigma == pytest.approx(GOLDEN["sigma_max"])


def test_a_single_step_is_allowed():
    plan = plan_steps(NOISE, sampler="dpmpp_2m", schedule="karras", num_inference_steps=1)
    assert [row.b for row in plan.rows] == [1]


def test_fractional_timesteps_keep_their_fraction():
    frequencies = np.array([1.0, 0.01])
    found = time_features(np.array([961.73]), frequencies)
    expected = [np.cos(961.73), np.cos(9.6173), np.sin(961.73), np.sin(9.6173)]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected, atol=1e-7)
