"""Pictures that the tests of the library share."""

from __future__ import annotations

import numpy as np
import pytest

from engine import Engine


@pytest.fixture(scope="session")
def pictures(tiny_bundle):
    """Seven pictures of cyt_mast from seed 5."""
    batches = list(Engine.open(str(tiny_bundle)).generate("cyt_mast", 7, seed=5, num_inference_steps=3))
    assert [batch.seeds for batch in batches] == [(5, 6, 7, 8), (9, 10, 11)]
    assert all(batch.class_name == "cyt_mast" for batch in batches)
    return np.concatenate([batch.images for batch in batches])
