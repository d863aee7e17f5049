"""Resize modes: the sizes and places of AUTOMATIC1111's WebUI."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engine.initial.resize import fits, resized


def gradient(width, height):
    columns, rows = np.meshgrid(np.linspace(0, 255, width), np.linspace(0, 255, height))
    return Image.fromarray(np.stack([columns, rows, 0 * rows], -1).astype(np.uint8))


@pytest.mark.parametrize("mode", ["stretch", "crop", "fill"])
@pytest.mark.parametrize("size", [(64, 64), (65, 31), (31, 65), (1, 1), (1, 200), (360, 363)])
@pytest.mark.parametrize("target", [(32, 32), (48, 32)])
def test_every_size_becomes_the_target(mode, size, target):
    assert resized(gradient(*size), target, mode).size == target


def test_the_same_size_is_the_same_picture():
    picture = gradient(32, 32)
    assert resized(picture, (32, 32), "crop") is picture
    assert fits((64, 32), (32, 16))
    assert not fits((64, 33), (32, 16))


def test_crop_keeps_the_centre_and_fill_keeps_everything():
    wide = gradient(64, 32)
    red = np.asarray(resized(wide, (32, 32), "crop"))[16, :, 0].astype(int)
    assert red[0] == pytest.approx(255 / 4, abs=6)
    assert red[-1] == pytest.approx(255 * 3 / 4, abs=6)
    filled = np.asarray(resized(wide, (32, 32), "fill")).astype(int)
    assert filled[16, 0, 0] < 6
    assert filled[16, -1, 0] > 249
    # The bands above and below continue the outermost rows.
    assert (filled[:8] == filled[8]).all()
    assert (filled[24:] == filled[23]).all()
    tall = np.asarray(resized(gradient(32, 64), (32, 32), "fill")).astype(int)
    assert (tall[:, :8] == tall[:, 8:9]).all()
