"""Fréchet and kernel distances against torch-fidelity's values and SciPy's matrix root."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import scipy.linalg

from evaluate.frechet import frechet_distance
from evaluate.kernel import kernel_distance

GOLDEN = json.loads((Path(__file__).parents[1] / "golden" / "torch_fidelity.json").read_text())
CASES = [pytest.param(case, id=f"{case['n']} x {case['dimension']}") for case in GOLDEN["cases"]]


def samples(seed: int, n: int, dimension: int):
    """As tests/golden/make_torch_fidelity.py draws them."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((dimension, dimension))
    first = rng.standard_normal((n, dimension)) @ mixing
    return first, 0.8 * rng.standard_normal((n, dimension)) @ mixing + 0.3


@pytest.mark.parametrize("case", CASES)
def test_frechet_agrees_with_torch_fidelity(case):
    found = frechet_distance(*samples(case["seed"], case["n"], case["dimension"]))
    assert found == pytest.approx(case["frechet"], rel=1e-5)


@pytest.mark.parametrize("case", CASES)
def test_kernel_agrees_with_torch_fidelity(case):
    found = kernel_distance(*samples(case["seed"], case["n"], case["dimension"]))
    assert found == pytest.approx(case["kernel"], rel=1e-9)


def test_frechet_agrees_with_the_root_of_the_covariances():
    first, second = samples(5, 80, 12)
    covs = [np.cov(sample, rowvar=False) for sample in (first, second)]
    root = scipy.linalg.sqrtm(covs[0] @ covs[1]).real
    shift = ((first.mean(0) - second.mean(0)) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(shift + np.trace(sum(covs) - 2 * root), rel=1e-9)


def test_frechet_needs_no_ridge_where_pictures_are_fewer_than_features():
    first, second = samples(6, 10, 40)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))


def test_samples_may_differ_in_number():
    first, second = samples(7, 50, 6)
    assert np.isfinite(frechet_distance(first, second[:20]))
    assert np.isfinite(kernel_distance(first, second[:20]))


def test_the_kernel_distance_of_one_distribution_is_zero_on_average():
    rng = np.random.default_rng(8)
    values = [kernel_distance(*rng.standard_normal((2, 30, 4))) for _ in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0
