"""Classifier-free guidance: one scale per step, and the formula."""

from __future__ import annotations

import numpy as np

from engine.sampling.guidance import guidance_table, guide, guide_parts


def test_steps_outside_the_interval_are_not_guided():
    assert guidance_table([14.6, 5.0, 2.0, 0.5, 0.1], 3.0, (0.5, 5.0)) == (1.0, 3.0, 3.0, 3.0, 1.0)
    assert guidance_table([14.6, 0.1], 3.0) == (3.0, 3.0)


def test_guidance_extrapolates_from_the_unconditional_half():
    eps = np.stack([np.full((4, 2, 2), 3.0), np.full((4, 2, 2), 1.0)]).astype(np.float32)
    found = guide(eps, 2.5)
    assert (found.shape, found.dtype) == ((1, 4, 2, 2), np.float32)
    np.testing.assert_array_equal(found, np.full((1, 4, 2, 2), 6.0))
    assert guide(eps, 1.0) is eps


def test_parts_add_their_differences_from_the_unconditional_output():
    rng = np.random.default_rng(0)
    first, second, uncond = rng.standard_normal((3, 2, 4, 3, 3)).astype(np.float32)
    found = guide_parts([first, second], uncond, (1.0, -0.5), 4.0)
    np.testing.assert_allclose(found, uncond + 4 * (first - uncond) - 2 * (second - uncond), rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(guide_parts([first], uncond, (1.0,), 1.0), first, rtol=1e-5, atol=1e-5)
