"""Canvases: what is encoded, what is repainted, and that everything else stays byte for byte."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engine.errors import CytosynthError
from engine.initial.canvas import make_canvas
from engine.initial.pictures import find_initial_pictures
from engine.initial.settings import InitialSettings, initial_request

SIZE = (32, 32)


def noise(*shape, seed=0):
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def canvas_of(tmp_path, picture, mask=None, size=SIZE, **options):
    Image.fromarray(picture).save(tmp_path / "a.png")
    if mask is not None:
        Image.fromarray(mask).save(tmp_path / "mask.png")
        options["mask"] = tmp_path / "mask.png"
    settings = InitialSettings(init=tmp_path / "a.png", **options)
    request = initial_request(settings)
    pictures, _ = find_initial_pictures(settings, request, ["mast"], size)
    return make_canvas(pictures.of("mast", 0), request, size, 4)


def test_a_picture_without_a_mask_is_drawn_whole(tmp_path):
    picture, drawn = noise(32, 32, 3), noise(32, 32, 3, seed=1)
    canvas = canvas_of(tmp_path, picture)
    np.testing.assert_array_equal(canvas.image, picture)
    assert canvas.latent_mask is None
    np.testing.assert_array_equal(canvas.compose(drawn), drawn)


def test_strength_zero_returns_the_picture(tmp_path):
    picture, drawn = noise(32, 32, 3), noise(32, 32, 3, seed=1)
    np.testing.assert_array_equal(canvas_of(tmp_path, picture, strength=0.0).compose(drawn), picture)
    mask = np.full((32, 32), 255, np.uint8)
    np.testing.assert_array_equal(canvas_of(tmp_path, picture, mask, strength=0.0).compose(drawn), picture)


@pytest.mark.parametrize("blur", [0.0, 1.0, 4.0])
@pytest.mark.parametrize("options", [{}, {"masked_content": "fill"}, {"masked_content": "noise"}])
def test_outside_the_mask_every_byte_stays(tmp_path, blur, options):
    picture, drawn = noise(32, 32, 3), noise(32, 32, 3, seed=1)
    mask = np.zeros((32, 32), np.uint8)
    mask[5:20, 7:29] = 255
    canvas = canvas_of(tmp_path, picture, mask, mask_blur=blur, **options)
    found = canvas.compose(drawn)
    np.testing.assert_array_equal(found[mask == 0], picture[mask == 0])
    assert (found[mask > 0] != picture[mask > 0]).mean() > 0.5
    if blur == 0:
        np.testing.assert_array_equal(found[mask > 0], drawn[mask > 0])


@pytest.mark.parametrize("size", [(45, 61), (33, 32), (200, 120)])
def test_a_masked_area_keeps_the_size_and_the_rest_of_its_picture(tmp_path, size):
    picture = noise(size[1], size[0], 3)
    mask = np.zeros((size[1], size[0]), np.uint8)
    mask[10:14, 20:30] = 255
    canvas = canvas_of(tmp_path, picture, mask, inpaint_area="masked", mask_padding=3)
    assert canvas.image.shape == (32, 32, 3)
    found = canvas.compose(noise(32, 32, 3, seed=1))
    assert found.shape == picture.shape
    np.testing.assert_array_equal(found[mask == 0], picture[mask == 0])
    assert (found[mask > 0] != picture[mask > 0]).any()


def test_one_pixel_is_repainted_alone(tmp_path):
    picture, drawn = noise(32, 32, 3), 255 - noise(32, 32, 3)
    mask = np.zeros((32, 32), np.uint8)
    mask[31, 0] = 255
    canvas = canvas_of(tmp_path, picture, mask)
    assert canvas.latent_mask.sum() == 1
    changed = (canvas.compose(drawn) != picture).any(-1)
    assert changed.sum() == 1
    assert changed[31, 0]


def test_a_soft_mask_blends(tmp_path):
    picture, drawn = np.full((32, 32, 3), 100, np.uint8), np.full((32, 32, 3), 200, np.uint8)
    canvas = canvas_of(tmp_path, picture, np.full((32, 32), 51, np.uint8), mask_blur=0.0)
    assert (canvas.compose(drawn) == 120).all()
    np.testing.assert_allclose(canvas.latent_mask, 0.2)


def test_a_grown_picture_keeps_its_middle_and_is_new_outside(tmp_path):
    picture = noise(32, 32, 3)
    canvas = canvas_of(tmp_path, picture, size=(48, 40), expand=(16, 0, 0, 8), mask_blur=2.0)
    assert canvas.image.shape == (40, 48, 3)
    drawn = noise(40, 48, 3, seed=1)
    found = canvas.compose(drawn)
    np.testing.assert_array_equal(found[:, :16], drawn[:, :16])
    np.testing.assert_array_equal(found[32:], drawn[32:])
    # The seam takes two deviations of the blur from the picture.
    np.testing.assert_array_equal(found[:28, 20:], picture[:28, 4:])
    assert canvas.latent_mask[0, :, :4].all()
    assert not canvas.latent_mask[0, :6, 6:].any()


def test_the_colour_of_the_whole_mask_is_not_seen_by_the_encoder(tmp_path):
    picture = np.full((32, 32, 3), 180, np.uint8)
    picture[8:24, 8:24] = 0
    mask = np.zeros((32, 32), np.uint8)
    mask[8:24, 8:24] = 255
    canvas = canvas_of(tmp_path, picture, mask, masked_content="fill")
    assert np.abs(canvas.image.astype(int) - 180).max() <= 6


def test_a_file_that_changes_during_the_run_is_an_error(tmp_path):
    Image.fromarray(noise(32, 32, 3)).save(tmp_path / "a.png")
    settings = InitialSettings(init=tmp_path / "a.png")
    request = initial_request(settings)
    pictures, _ = find_initial_pictures(settings, request, ["mast"], SIZE)
    Image.fromarray(noise(32, 32, 3, seed=1)).save(tmp_path / "a.png")
    with pytest.raises(CytosynthError, match="as when the run began"):
        make_canvas(pictures.of("mast", 0), request, SIZE, 4)
    (tmp_path / "a.png").unlink()
    with pytest.raises(CytosynthError, match="no such file"):
        make_canvas(pictures.of("mast", 0), request, SIZE, 4)
