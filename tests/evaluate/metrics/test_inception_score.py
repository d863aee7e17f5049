"""The inception score against torch-fidelity's values and its bounds."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import RequestError
from evaluate.metrics.inception_score import inception_score
from tests.evaluate.metrics.golden import GOLDEN


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
