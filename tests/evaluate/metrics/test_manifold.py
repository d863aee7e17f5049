"""Precision, recall, density and coverage against torch-fidelity's values and their definitions."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import RequestError
from evaluate.metrics import manifold
from evaluate.metrics.manifold import compare_manifolds
from tests.evaluate.metrics.golden import GOLDEN, two_samples


@pytest.mark.parametrize("case", GOLDEN["precision_recall"])
def test_precision_and_recall_agree_with_torch_fidelity(case):
    fake, real = two_samples(case["seed"], case["n"], case["dimension"])
    found = compare_manifolds(real, fake, k=case["prc_neighborhood"])
    assert found.precision == pytest.approx(case["precision"], abs=1e-6)
    assert found.recall == pytest.approx(case["recall"], abs=1e-6)


def test_density_and_coverage_follow_their_definitions(monkeypatch):
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
