"""Noise schedules and timesteps against k-diffusion's values (tests/golden/make_k_diffusion.py)."""

from __future__ import annotations

import numpy as np
import pytest

from engine.sampling.schedules import SCHEDULES, time_features
from tests.engine.sampling.golden import GOLDEN, NOISE, RUNS


def test_the_models_sigmas_are_stable_diffusions():
    assert NOISE.sigmas[0] == pytest.approx(GOLDEN["sigma_min"], rel=1e-12)
    assert NOISE.sigmas[-1] == pytest.approx(GOLDEN["sigma_max"], rel=1e-12)


@pytest.mark.parametrize("name", ["karras", "exponential", "normal", "sgm_uniform"])
@pytest.mark.parametrize("run", RUNS)
def test_schedules_agree_with_k_diffusion(run, name):
    # k-diffusion rounds the timesteps of normal and sgm_uniform to float32.
    tolerance = 1e-10 if name in ("karras", "exponential") else 1e-6
    np.testing.assert_allclose(SCHEDULES[name](NOISE, run["steps"]), run["sigmas"][name][:-1], rtol=tolerance, atol=0)


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
