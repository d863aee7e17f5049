"""The Fréchet distance against torch-fidelity's values and SciPy's matrix root."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.linalg

from evaluate.metrics.frechet import frechet_distance
from tests.evaluate.metrics.golden import CASES, GOLDEN, samples, two_samples


@pytest.mark.parametrize("case", CASES)
def test_frechet_agrees_with_torch_fidelity(case):
    found = frechet_distance(*samples(case["seed"], case["n"], case["dimension"]))
    assert found == pytest.approx(case["frechet"], rel=1e-5)


@pytest.mark.parametrize("case", GOLDEN["frechet_2048"])
def test_frechet_of_inceptions_width_agrees_with_torch_fidelity(case):
    found = frechet_distance(*two_samples(case["seed"], case["n"], case["dimension"]))
    assert found == pytest.approx(case["frechet"], rel=1e-4)


def test_frechet_agrees_with_the_root_of_the_covariances():
    first, second = samples(5, 80, 12)
    covs = [np.cov(sample, rowvar=False) for sample in (first, second)]
    root = scipy.linalg.sqrtm(covs[0] @ covs[1]).real
    shift = ((first.mean(0) - second.mean(0)) ** 2).sum()
    assert frechet_distance(first, second) == pytest.approx(shift + np.trace(sum(covs) - 2 * root), rel=1e-9)


@pytest.mark.parametrize(("first", "second"), [(30, 30), (9, 30), (30, 9)])
def test_more_pictures_than_features_give_the_same_distance(first, second):
    """Added zeros make the features more numerous than the pictures, so that QR is not used."""
    a, b = (sample[:count] for sample, count in zip(samples(11, 30, 8), (first, second), strict=True))
    wide = [np.concatenate([sample, np.zeros((len(sample), 40))], 1) for sample in (a, b)]
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(*wide), rel=1e-9)


def test_frechet_needs_no_ridge_where_pictures_are_fewer_than_features():
    first, second = samples(6, 10, 40)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-9)
    assert frechet_distance(first, second) == pytest.approx(frechet_distance(second, first))


def test_samples_may_differ_in_number():
    first, second = samples(7, 50, 6)
    assert np.isfinite(frechet_distance(first, second[:20]))
