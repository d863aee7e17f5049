"""Probabilities and quantiles of the beta distribution against SciPy."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import special, stats

from engine.sampling.beta_distribution import beta_quantile, regularised_beta


@pytest.mark.parametrize(("a", "b"), [(0.6, 0.6), (0.5, 2.0), (3.0, 0.7), (20.0, 30.0), (0.1, 0.1)])
def test_probabilities_and_quantiles_are_scipys(a, b):
    for share in np.linspace(0, 1, 21).tolist():
        assert regularised_beta(share, a, b) == pytest.approx(special.betainc(a, b, share), abs=1e-13)
        assert beta_quantile(share, a, b) == pytest.approx(stats.beta.ppf(share, a, b), rel=1e-9, abs=1e-15)
