"""Noise schedules and timesteps against k-diffusion's values (tests/golden/make_k_diffusion.py)."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from engine.sampling.schedules import ALIGNED, SCHEDULES, NoiseSchedule, time_features
from tests.engine.sampling.golden import GOLDEN, NOISE, RUNS


def test_the_models_sigmas_are_stable_diffusions():
    assert NOISE.sigmas[0] == pytest.approx(GOLDEN["sigma_min"], rel=1e-12)
    assert NOISE.sigmas[-1] == pytest.approx(GOLDEN["sigma_max"], rel=1e-12)


@pytest.mark.parametrize("name", ["karras", "exponential", "normal", "sgm_uniform", "polyexponential"])
@pytest.mark.parametrize("run", RUNS)
def test_schedules_agree_with_k_diffusion(run, name):
    # k-diffusion rounds the timesteps of normal and sgm_uniform to float32.
    tolerance = 1e-10 if name in ("karras", "exponential", "polyexponential") else 1e-6
    np.testing.assert_allclose(SCHEDULES[name](NOISE, run["steps"]), run["sigmas"][name][:-1], rtol=tolerance, atol=0)


def test_further_schedules_of_the_webui():
    """Their published levels or formulas, computed here in another way."""
    sigmas = NOISE.sigmas
    np.testing.assert_allclose(SCHEDULES["align_your_steps"](NOISE, 11), ALIGNED)
    between = SCHEDULES["align_your_steps"](NOISE, 21)
    np.testing.assert_allclose(between[1::2], np.sqrt(between[:-1:2] * between[2::2]))
    np.testing.assert_array_equal(SCHEDULES["uniform"](NOISE, 7), SCHEDULES["normal"](NOISE, 7))
    np.testing.assert_array_equal(SCHEDULES["simple"](NOISE, 3), sigmas[[999, 666, 333]])
    shares = stats.beta.ppf([1, 0.75, 0.5, 0.25, 0], 0.6, 0.6)
    expected = sigmas[0] + shares * (sigmas[-1] - sigmas[0])
    np.testing.assert_allclose(SCHEDULES["beta"](NOISE, 5), expected, rtol=1e-12)
    angles = np.arctan([*SCHEDULES["kl_optimal"](NOISE, 5), sigmas[0]])
    np.testing.assert_allclose(angles[0], np.arctan(sigmas[-1]))
    np.testing.assert_allclose(np.diff(angles), (np.arctan(sigmas[0]) - np.arctan(sigmas[-1])) / 5)
    np.testing.assert_allclose(NOISE.timesteps(SCHEDULES["lcm"](NOISE, 5)), [999, 754, 509, 264, 19], atol=1e-9)


def test_align_your_steps_stretches_to_another_models_range():
    other = NoiseSchedule(0.002, 0.03, 57)
    found = SCHEDULES["align_your_steps"](other, 8)
    np.testing.assert_allclose(found[[0, -1]], other.sigmas[[-1, 0]])
    assert (np.diff(found) < 0).all()


@pytest.mark.parametrize("run", RUNS)
def test_timesteps_agree_with_k_diffusion(run):
    sigmas = SCHEDULES["karras"](NOISE, run["steps"])
    np.testing.assert_allclose(NOISE.timesteps(sigmas), run["timesteps"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(NOISE.sigmas_at(NOISE.timesteps(sigmas)), sigmas, rtol=1e-10, atol=0)


def test_fractional_timesteps_keep_their_fraction():
    frequencies = np.array([1.0, 0.01])
    found = time_features(np.array([961.73]), frequencies)
    expected = [np.cos(961.73), np.cos(9.6173), np.sin(961.73), np.sin(9.6173)]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[0], expected, atol=1e-7)
