"""Sheets of pictures: where each picture lies."""

from __future__ import annotations

import numpy as np

from evaluate.report.sheets import GAP, draw_pairs, draw_sheet


def plain(value, side=8):
    return np.full((side, side, 3), value, np.uint8)


def test_pictures_fill_rows_and_the_rest_is_white():
    sheet = np.asarray(draw_sheet([plain(10), plain(20), plain(30, side=16)], columns=2, side=8))
    assert sheet.shape == (2 * 8 + GAP, 2 * 8 + GAP, 3)
    assert [sheet[4, 4, 0], sheet[4, 8 + GAP + 4, 0], sheet[8 + GAP + 4, 4, 0]] == [10, 20, 30]
    assert (sheet[8 + GAP :, 8 + GAP :] == 255).all()
    assert (sheet[:, 8 : 8 + GAP] == 255).all()


def test_the_pictures_of_a_pair_touch():
    sheet = np.asarray(draw_pairs([(plain(10), plain(20)), (plain(30), plain(40))], across=2, side=8))
    assert sheet.shape == (8, 2 * (16 + 3 * GAP) - 3 * GAP, 3)
    assert [sheet[4, 7, 0], sheet[4, 8, 0], sheet[4, 16, 0], sheet[4, 16 + 3 * GAP, 0]] == [10, 20, 255, 30]
