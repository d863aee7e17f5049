"""Values of torch-fidelity, and the samples that they belong to."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.conftest import ROOT

GOLDEN = json.loads((ROOT / "tests/golden" / "torch_fidelity.json").read_text())
CASES = [pytest.param(case, id=f"{case['n']} x {case['dimension']}") for case in GOLDEN["cases"]]


def samples(seed: int, n: int, dimension: int):
    """Draw the same values as tests/golden/make_torch_fidelity.py."""
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((dimension, dimension))
    first = rng.standard_normal((n, dimension)) @ mixing
    return first, 0.8 * rng.standard_normal((n, dimension)) @ mixing + 0.3


def two_samples(seed: int, n: int, dimension: int):
    """Draw the same values as tests/golden/make_torch_fidelity.py."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((n, dimension))
    return first, 0.8 * rng.standard_normal((n, dimension)) + 0.1
