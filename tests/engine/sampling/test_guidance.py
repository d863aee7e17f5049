"""Classifier-free guidance: one scale per step, and the formula."""

from __future__ import annotations

import numpy as np

from engine.sampling.guidance import guidance_table, guide


def test_steps_outside_the_interval_are_not_guided():
    assert guidance_table([14.6, 5.0, 2.0, 0.5, 0.1], 3.0, (0.5, 5.0)) == (1.0, 3.0, 3.0, 3.0, 1.0)
    assert guidance_table([14.6, 0.1], 3.0) == (3.0, 3.0)


def test_guidance_extrapolates_from_the_unconditional_half():
    eps = np.stack([np.full((4, 2, 2), 3.0), np.full((4, 2, 2), 1.0)]).astype(np.float32)
    found = guide(eps, 2.5)
    assert (found.shape, found.dtype) == ((1, 4, 2, 2), np.float32)
    np.testing.assert_array_equal(found, np.full((1, 4, 2, 2), 6.0))
    assert guide(eps, 1.0) is eps
