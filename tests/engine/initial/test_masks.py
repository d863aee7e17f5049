"""Masks: reading, soft edges inside the mask, latents, boxes and fills."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from engine.initial.masks import blurred, box_around, filled, latent_mask, read_mask, soft_alpha


def square(side=32, low=8, high=24):
    mask = np.zeros((side, side), np.float32)
    mask[low:high, low:high] = 1
    return mask


def saved(path, values, mode=None):
    Image.fromarray(values, mode).save(path)
    return path


def test_a_mask_is_as_bright_as_it_is(tmp_path):
    values = np.array([[0, 128, 255], [0, 0, 51]], np.uint8)
    found = read_mask(saved(tmp_path / "mask.png", values), (3, 2))
    np.testing.assert_allclose(found, values / 255, atol=1e-6)
    inverted = read_mask(tmp_path / "mask.png", (3, 2), invert=True)
    np.testing.assert_allclose(inverted, 1 - values / 255, atol=1e-6)


def test_a_transparent_mask_repaints_where_it_is_opaque(tmp_path):
    values = np.zeros((2, 3, 4), np.uint8)
    values[..., 3] = [[0, 128, 129], [255, 0, 0]]
    found = read_mask(saved(tmp_path / "mask.png", values), (3, 2))
    assert found.tolist() == [[0, 0, 1], [1, 0, 0]]


def test_a_mask_that_repaints_nothing_or_has_another_size_is_refused(tmp_path):
    black = saved(tmp_path / "black.png", np.zeros((4, 4), np.uint8))
    with pytest.raises(RequestError, match="repaints nothing"):
        read_mask(black, (4, 4))
    assert read_mask(black, (4, 4), invert=True).all()
    with pytest.raises(RequestError, match="5 x 4 pixels, the size of its initial picture"):
        read_mask(black, (5, 4))
    white = saved(tmp_path / "white.png", np.full((4, 4), 255, np.uint8))
    with pytest.raises(RequestError, match="and inverted"):
        read_mask(white, (4, 4), invert=True)


@pytest.mark.parametrize("sigma", [0, 0.3, 2, 4])
def test_the_transition_lies_inside_the_mask(sigma):
    mask = square()
    alpha = soft_alpha(mask, sigma)
    assert (alpha[mask == 0] == 0).all()
    assert alpha[16, 16] == pytest.approx(1, abs=0.01)
    if sigma >= 2:
        edge = alpha[16, 8:16]
        assert (np.diff(edge) > -1e-6).all()
        assert edge[0] < 0.3


@pytest.mark.parametrize("size", [1, 2, 3])
def test_the_smallest_mask_is_repainted_whole(size):
    mask = square(32, 15, 15 + size)
    assert soft_alpha(mask, 4).max() > 0.9
    alone = soft_alpha(square(32, 15, 16), 4)
    assert alone[15, 15] == pytest.approx(1, abs=1e-3)
    assert np.count_nonzero(alone) == 1


def test_a_blur_keeps_the_sum_and_agrees_with_scipy():
    from scipy.ndimage import gaussian_filter

    values = np.random.default_rng(0).uniform(0, 1, (40, 30)).astype(np.float32)
    found = blurred(values, 2.0)
    np.testing.assert_allclose(found, gaussian_filter(values, 2.0, mode="nearest", radius=5), atol=1e-5)


def test_a_latent_is_repainted_if_any_of_its_pixels_is():
    mask = np.zeros((8, 16), np.float32)
    mask[5, 9], mask[0, 0] = 0.25, 1
    found = latent_mask(mask, 4)
    assert found.shape == (1, 2, 4)
    assert found[0].tolist() == [[1, 0, 0, 0], [0, 0, 0.25, 0]]


@pytest.mark.parametrize("shape", [(1, 1), (2, 1), (1, 3)])
@pytest.mark.parametrize("place", [(0, 0), (0, 59), (39, 0), (39, 59), (20, 30)])
def test_a_box_holds_the_mask_and_lies_inside_the_picture(place, shape):
    mask = np.zeros((40, 60), np.float32)
    mask[place] = 1
    left, top, right, bottom = box_around(mask, 4, shape)
    assert 0 <= left <= place[1] < right <= 60
    assert 0 <= top <= place[0] < bottom <= 40
    ratio = (right - left) / (bottom - top)
    assert ratio == pytest.approx(shape[0] / shape[1], rel=0.25)


def test_a_box_that_is_longer_than_the_picture_is_cut():
    mask = np.ones((10, 60), np.float32)
    assert box_around(mask, 4, (1, 1)) == (0, 0, 60, 10)


def test_filled_pixels_have_the_colours_around_them():
    pixels = np.full((32, 32, 3), (200, 40, 90), np.uint8)
    pixels[10:20, 10:20] = 0
    found = np.asarray(filled(Image.fromarray(pixels), square(32, 10, 20))).astype(int)
    assert np.abs(found - (200, 40, 90)).max() <= 3
