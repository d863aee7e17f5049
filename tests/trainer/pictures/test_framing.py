"""The share of a picture that a nucleus covers."""

from __future__ import annotations

import math

import numpy as np
import pytest
from PIL import Image

from trainer.pictures.framing import measure_shares, nucleus_share, shares_of_files


def draw(radius, centre=(64, 64), side=128):
    """Return a picture with a purple nucleus and pale red neighbours."""
    picture = np.full((side, side, 3), (235, 225, 230), np.uint8)
    rows, columns = np.mgrid[:side, :side]
    for place in ((12, 12), (110, 100)):
        picture[np.hypot(rows - place[0], columns - place[1]) < 12] = (225, 160, 160)
    picture[np.hypot(rows - centre[0], columns - centre[1]) < radius] = (90, 50, 140)
    return picture


@pytest.mark.parametrize("radius", [14, 24, 40])
def test_the_share_is_that_of_the_drawn_nucleus(radius):
    assert nucleus_share(draw(radius)) == pytest.approx(math.pi * radius**2 / 128**2, rel=0.08)


def test_a_dark_part_at_the_edge_is_no_nucleus():
    assert nucleus_share(draw(14, centre=(16, 112))) == 0
    assert measure_shares([draw(14, centre=(16, 112))]) is None


def test_a_crop_enlarges_the_share_as_predicted(tmp_path):
    for number, radius in enumerate((18, 20, 22)):
        (tmp_path / "cyst").mkdir(exist_ok=True)
        Image.fromarray(draw(radius)).save(tmp_path / f"cyst/{number}.png")
    whole, cropped = (shares_of_files(tmp_path, crop)["cyst"] for crop in (1.0, 0.7))
    assert whole.low < whole.median < whole.high
    assert cropped.median == pytest.approx(whole.median / 0.49, rel=0.1)
