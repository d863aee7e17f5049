import math

import numpy as np
import pytest

from engine.sampling.noise import NoiseSource, Stream
from engine.sampling.variation import VariedNoise, centred, slerp

SHAPE = (4, 16, 12)


def noise(seed, shape=SHAPE):
    return NoiseSource([seed], shape).draw()[0]


def test_slerp_goes_along_the_arc_between_two_columns():
    low, high = np.zeros((1, 2, 1), np.float32), np.zeros((1, 2, 1), np.float32)
    low[0, :, 0], high[0, :, 0] = (2, 0), (0, 1)
    angle = 0.25 * math.pi / 2
    np.testing.assert_allclose(slerp(0.25, low, high)[0, :, 0], [2 * math.cos(angle), math.sin(angle)], rtol=1e-6)
    np.testing.assert_array_equal(slerp(0.25, low, 3 * low), 1.5 * low)
    np.testing.assert_array_equal(slerp(0.5, low, -low), np.zeros_like(low))


def test_slerp_keeps_the_variance_of_noise_and_ends_at_both_noises():
    low, high = noise(1, (4, 64, 64)), noise(2, (4, 64, 64))
    np.testing.assert_allclose(slerp(0, low, high), low, atol=1e-6)
    np.testing.assert_allclose(slerp(1, low, high), high, atol=1e-6)
    assert abs(slerp(0.5, low, high).std() - 1) < 0.03
    assert abs((0.5 * low + 0.5 * high).std() - math.sqrt(0.5)) < 0.03


@pytest.mark.parametrize(("own", "inner", "outer"), [(5, (0, 5), (1, 6)), (8, (0, 8), (0, 8)), (11, (2, 9), (0, 7))])
def test_noise_of_another_size_lies_in_the_centre(own, inner, outer):
    small, over = np.arange(own, dtype=np.float32) + 100, np.arange(8, dtype=np.float32)
    found = centred(np.tile(small, (1, 8, 1)), np.tile(over, (1, 8, 1)))[0, 3]
    wanted = over.copy()
    wanted[slice(*outer)] = small[slice(*inner)]
    np.testing.assert_array_equal(found, wanted)


def test_only_the_first_draw_is_varied_and_no_picture_depends_on_its_batch():
    def source(seeds, others):
        return VariedNoise((seeds, others), (SHAPE, SHAPE), 0.3, "numpy", None, Stream())

    both, plain = source([5, 5], [8, 9]), NoiseSource([5], SHAPE)
    first, own = both.draw(), plain.draw()[0]
    np.testing.assert_array_equal(first[1], source([5], [9]).draw()[0])
    np.testing.assert_array_equal(first[0], slerp(0.3, own, noise(8)))
    np.testing.assert_array_equal(both.draw()[0], plain.draw()[0])


def test_the_noise_of_a_smaller_picture_is_varied_at_its_size():
    small = (4, 8, 8)
    found = VariedNoise(([5], [8]), (SHAPE, small), 0.3, "nv", lambda x: x + 1, Stream()).draw()[0] - 1
    one, other = (NoiseSource([seed], small, "nv").draw()[0] for seed in (5, 8))
    np.testing.assert_allclose(found[:, 4:12, 2:10], slerp(0.3, one, other), atol=1e-6)
    np.testing.assert_allclose(found[:, :4], NoiseSource([5], SHAPE, "nv").draw()[0][:, :4], atol=1e-6)
