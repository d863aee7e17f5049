"""Fréchet and kernel distances, inception score, precision and recall against torch-fidelity's values, SciPy's matrix
root and the definitions written out."""

from __future__ import annotations

import json

import numpy as np
import pytest
import scipy.linalg

from engine.errors import RequestError
from evaluate.metrics import kernel, manifold
from evaluate.metrics.frechet import frechet_distance
from evaluate.metrics.inception_score import inception_score
from evaluate.metrics.kernel import kernel_distance
from evaluate.metrics.manifold import compare_manifolds
from tests.conftest import ROOT

GOLDEN = json.loads((ROOT / "tests/golden" / "torch_fidelity.json").read_text())
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


def two_samples(seed: int, n: int, dimension: int):
    """As tests/golden/make_torch_fidelity.py draws them."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((n, dimension))
    return first, 0.8 * rng.standard_normal((n, dimension)) + 0.1


@pytest.mark.parametrize("case", GOLDEN["frechet_2048"])
def test_frechet_of_inceptions_width_agrees_with_torch_fidelity(case):
    found = frechet_distance(*two_samples(case["seed"], case["n"], case["dimension"]))
    assert found == pytest.approx(case["frechet"], rel=1e-4)


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


@pytest.mark.parametrize("case", GOLDEN["inception_score"])
def test_inception_score_agrees_with_torch_fidelity(case):
    logits = 3 * np.random.default_rng(case["seed"]).standard_normal((case["n"], case["dimension"]))
    if case["shuffle"]:
        logits = logits[np.random.RandomState(case["rng_seed"]).permutation(len(logits))]
    assert inception_score(logits, case["splits"]) == pytest.approx(case["mean"], rel=1e-6)


def test_inception_score_at_its_ends():
    assert inception_score(np.zeros((20, 7))) == pytest.approx(1)
    assert inception_score(1000 * np.eye(7).repeat(3, axis=0)) == pytest.approx(7)
    assert inception_score(1000 * np.eye(7)[:3]) == pytest.approx(3)
    for splits in (0, 8):
        with pytest.raises(RequestError, match="7 pictures"):
            inception_score(np.eye(7), splits)


@pytest.mark.parametrize("case", GOLDEN["precision_recall"])
def test_precision_and_recall_agree_with_torch_fidelity(case):
    fake, real = two_samples(case["seed"], case["n"], case["dimension"])
    found = compare_manifolds(real, fake, k=case["prc_neighborhood"])
    assert found.precision == pytest.approx(case["precision"], abs=1e-6)
    assert found.recall == pytest.approx(case["recall"], abs=1e-6)


def test_density_and_coverage_are_their_definitions(monkeypatch):
    real, fake = two_samples(9, 40, 3)
    monkeypatch.setattr(manifold, "ROWS", 7)
    found = compare_manifolds(real, fake, k_density=4)
    radii = [sorted(np.linalg.norm(real - one, axis=1))[4] for one in real]
    inside = np.array(
        [[np.linalg.norm(one - other) < radius for other in fake] for one, radius in zip(real, radii, strict=True)]
    )
    assert found.density == pytest.approx(inside.sum() / (4 * len(fake)))
    assert found.coverage == pytest.approx(inside.any(1).mean())


def test_manifolds_need_more_pictures_than_neighbours():
    with pytest.raises(RequestError, match="5 real and 9 synthetic"):
        compare_manifolds(np.zeros((5, 2)), np.zeros((9, 2)))


@pytest.mark.parametrize(("first", "second"), [(30, 30), (9, 30), (30, 9)])
def test_more_pictures_than_features_give_the_same_distance(first, second):
    """By another way: the triangles of QR in place of the pictures."""
    a, b = (sample[:count] for sample, count in zip(samples(11, 30, 8), (first, second), strict=True))
    wide = [np.concatenate([sample, np.zeros((len(sample), 40))], 1) for sample in (a, b)]
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(*wide), rel=1e-9)


def test_a_kernel_in_blocks_is_the_same(monkeypatch):
    whole = kernel_distance(*samples(12, 50, 6))
    monkeypatch.setattr(kernel, "ROWS", 7)
    assert kernel_distance(*samples(12, 50, 6)) == pytest.approx(whole, rel=1e-9)


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
