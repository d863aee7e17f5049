"""Noise by seed: Philox against its authors' vectors, CUDA's randn against published values, streams of their own."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

from engine.sampling.noise import RNGS, NoiseSource, philox_4x32_10

# kat_vectors of Random123 (Salmon et al. 2011): counter, key, result.
KNOWN_ANSWERS = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def words(text):
    return np.array([int(word, 16) for word in text.split()], np.uint32)[:, None]


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN_ANSWERS)
def test_philox_gives_its_authors_answers(counter, key, result):
    assert_array_equal(philox_4x32_10(words(counter), words(key)), words(result))


def test_nv_is_what_cuda_draws():
    """torch.manual_seed(0); torch.randn(10, device="cuda"), as printed in many public threads to four digits."""
    published = [-0.9247, -0.4253, -2.6438, 0.1452, -0.1209, -0.5797, -0.6229, -0.3284, -1.0745, -0.3631]
    assert_allclose(NoiseSource([0], (1, 2, 5), "nv").draw().ravel(), published, atol=5e-5)


@pytest.mark.parametrize("rng", RNGS)
def test_a_seeds_stream_is_its_own(rng):
    shape = (4, 8, 8)
    together = NoiseSource([5, 6, 2**40 + 5], shape, rng)
    alone = NoiseSource([6], shape, rng)
    first = together.draw()
    assert first.shape == (3, *shape)
    assert first.dtype == np.float32
    assert_array_equal(first[1], alone.draw()[0])
    second = together.draw()
    assert_array_equal(second[1], alone.draw()[0])
    drawn = {array.tobytes() for array in (*first, *second)}
    assert len(drawn) == 6


@pytest.mark.parametrize("rng", RNGS)
def test_the_noise_is_standard_normal(rng):
    drawn = NoiseSource([1], (4, 128, 128), rng).draw()
    assert abs(drawn.mean()) < 0.02
    assert drawn.std() == pytest.approx(1, abs=0.01)
    assert abs((drawn**3).mean()) < 0.05
    assert (drawn**4).mean() == pytest.approx(3, abs=0.1)
