"""The kernel distance against torch-fidelity's values, its subsets and its definition."""

from __future__ import annotations

import numpy as np
import pytest

from evaluate.metrics import kernel
from evaluate.metrics.kernel import kernel_distance
from tests.evaluate.metrics.golden import CASES, GOLDEN, samples, two_samples


@pytest.mark.parametrize("case", CASES)
def test_kernel_agrees_with_torch_fidelity(case):
    found = kernel_distance(*samples(case["seed"], case["n"], case["dimension"]))
    assert found == pytest.approx(case["kernel"], rel=1e-9)


@pytest.mark.parametrize("case", GOLDEN["kid_subsets"])
def test_kernel_agrees_with_torch_fidelity_on_its_subsets(case):
    first, second = two_samples(case["seed"], case["n"], case["dimension"])
    rng, size = np.random.RandomState(case["rng_seed"]), case["kid_subset_size"]
    draws = (
        (first[rng.choice(len(first), size, replace=False)], second[rng.choice(len(second), size, replace=False)])
        for _ in range(case["kid_subsets"])
    )
    values = [kernel_distance(*pair) for pair in draws]
    assert np.mean(values) == pytest.approx(case["mean"], rel=1e-4)
    assert np.std(values) == pytest.approx(case["std"], rel=1e-4)


def test_a_kernel_in_blocks_is_the_same(monkeypatch):
    whole = kernel_distance(*samples(12, 50, 6))
    monkeypatch.setattr(kernel, "ROWS", 7)
    assert kernel_distance(*samples(12, 50, 6)) == pytest.approx(whole, rel=1e-9)


def test_samples_may_differ_in_number():
    first, second = samples(7, 50, 6)
    assert np.isfinite(kernel_distance(first, second[:20]))


def test_the_kernel_distance_of_one_distribution_is_zero_on_average():
    rng = np.random.default_rng(8)
    values = [kernel_distance(*rng.standard_normal((2, 30, 4))) for _ in range(200)]
    assert abs(np.mean(values)) < 3 * np.std(values) / np.sqrt(len(values))
    assert min(values) < 0
