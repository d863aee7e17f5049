"""Settings of initial pictures: what they mean together, and what contradicts."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import RequestError
from engine.initial.settings import InitialSettings, initial_request, parse_sides

INIT = Path("cells")


def test_without_initial_pictures_there_is_no_request():
    assert initial_request(InitialSettings()) is None


def test_strength_is_a_half_unless_a_strength_or_a_sigma_is_given():
    assert initial_request(InitialSettings(init=INIT)).strength == 0.5
    assert initial_request(InitialSettings(init=INIT, strength=0.0)).strength == 0
    exact = initial_request(InitialSettings(init=INIT, start_sigma=2.5))
    assert (exact.strength, exact.start_sigma) == (None, 2.5)
    assert exact.level.sigma == 2.5


def test_new_pixels_are_filled_and_masked_ones_keep_their_content():
    assert initial_request(InitialSettings(init=INIT, mask=INIT)).masked_content == "original"
    grown = initial_request(InitialSettings(init=INIT, expand=(8, 0, 0, 0)))
    assert grown.masked_content == "fill"
    assert grown.repaints
    assert grown.as_json()["expand"] == [8, 0, 0, 0]
    assert initial_request(InitialSettings(init=INIT, expand=(0, 0, 0, 0))).expand is None


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"strength": 0.5}, "--strength"),
        ({"mask": INIT}, "--mask"),
        ({"resize_mode": "crop"}, "--resize-mode"),
        ({"init": INIT, "strength": 0.5, "start_sigma": 1.0}, "--strength and --start-sigma"),
        ({"init": INIT, "strength": 1.5}, "--strength"),
        ({"init": INIT, "start_sigma": 0.0}, "--start-sigma"),
        ({"init": INIT, "mask_invert": True}, "--mask-invert"),
        ({"init": INIT, "masked_content": "fill"}, "--masked-content"),
        ({"init": INIT, "inpaint_area": "masked"}, "--inpaint-area"),
        ({"init": INIT, "mask": INIT, "masked_content": "blue"}, "--masked-content"),
        ({"init": INIT, "mask": INIT, "mask_blur": -1.0}, "--mask-blur"),
        ({"init": INIT, "mask": INIT, "inpaint_area": "masked", "expand": (8, 0, 0, 0)}, "--inpaint-area masked"),
        ({"init": INIT, "expand": (8, 0, 0, 0), "strength": 0.0}, "--strength"),
    ],
)
def test_settings_that_contradict_name_the_option(settings, named):
    with pytest.raises(RequestError) as caught:
        initial_request(InitialSettings(**settings))
    assert str(caught.value).splitlines()[0].endswith(named)


def test_four_sides_are_read_with_commas_or_spaces():
    assert parse_sides("1,2,3,4") == parse_sides("1 2 3 4") == (1, 2, 3, 4)
    for wrong in ("1,2,3", "1,2,3,-4", "a,b,c,d", "1,2,3,99999", ""):
        with pytest.raises(RequestError, match="--expand"):
            parse_sides(wrong)
