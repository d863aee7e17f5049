"""Masks of regions: they cover what was drawn, and grow by whole pixels."""

from __future__ import annotations

import numpy as np
import pytest

from engine.errors import RequestError
from evaluate.studies.masks import MaskSettings, mask_of
from tests.evaluate.studies.drawn_cells import BLANK, blood_cell

DISTANCE = np.hypot(*((np.mgrid[:128, :128] + 0.5) / 128 - 0.5))
CELL = blood_cell(axes=(0.12, 0.12))


def overlap(mask, expected):
    """Return the intersection divided by the union."""
    return (mask & expected).sum() / (mask | expected).sum()


def test_each_region_covers_what_was_drawn():
    masks = {name: mask_of(CELL, MaskSettings(name)) for name in ("nucleus", "cytoplasm", "cell", "background")}
    assert overlap(masks["nucleus"], DISTANCE < 0.12) > 0.9
    assert overlap(masks["cell"], DISTANCE < 0.28) > 0.9
    np.testing.assert_array_equal(masks["cytoplasm"], masks["cell"] & ~masks["nucleus"])
    np.testing.assert_array_equal(masks["background"], ~masks["cell"])


def test_a_region_grows_on_all_sides_by_its_pixels():
    plain, grown = (mask_of(CELL, MaskSettings("nucleus", grow=grow)) for grow in (0, 5))
    rows, columns = (np.flatnonzero(plain.any(axis)) for axis in (1, 0))
    more_rows, more_columns = (np.flatnonzero(grown.any(axis)) for axis in (1, 0))
    assert (more_rows[0], more_rows[-1]) == (rows[0] - 5, rows[-1] + 5)
    assert (more_columns[0], more_columns[-1]) == (columns[0] - 5, columns[-1] + 5)
    assert grown[plain].all()


def test_a_large_picture_gets_a_mask_of_its_own_size():
    large = np.kron(CELL, np.ones((5, 5, 1), np.uint8))
    mask = mask_of(large, MaskSettings("nucleus"))
    assert mask.shape == (640, 640)
    assert overlap(mask, np.kron(DISTANCE < 0.12, np.ones((5, 5))).astype(bool)) > 0.9


@pytest.mark.parametrize("region", ["nucleus", "background"])
@pytest.mark.parametrize("blank", BLANK)
def test_a_picture_without_a_nucleus_has_an_empty_mask(blank, region):
    assert not mask_of(BLANK[blank], MaskSettings(region, grow=3)).any()


def test_a_setting_out_of_range_is_refused():
    with pytest.raises(RequestError, match="--region"):
        MaskSettings("lysosome")
