"""The labelled sheet of a grid."""

from __future__ import annotations

import numpy as np
from PIL import Image

from engine.output.grid_sheet import Table, draw_grid

COLOURS = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0)]


def sheet_of(folder, tables, columns, rows, margin=0):
    draw_grid(folder / "grid.png", tables, columns, rows, margin)
    with Image.open(folder / "grid.png") as picture:
        return np.asarray(picture)


def test_pictures_stand_in_rows_and_columns_and_a_missing_one_is_empty(tmp_path):
    files = []
    for number, colour in enumerate(COLOURS):
        files.append(tmp_path / f"{number}.png")
        Image.new("RGB", (20, 10), colour).save(files[-1])
    first = [[files[0], files[1]], [files[2], None]]
    tables = [Table("class a", first), Table("class b", [[files[3], files[3]], [files[3], files[3]]])]
    plain = sheet_of(tmp_path, [Table("", first)], ["", ""], ["", ""])
    assert plain.shape == (4 + 2 * 14, 4 + 2 * 24, 3)
    assert [tuple(plain[4, 4]), tuple(plain[4, 28]), tuple(plain[18, 4])] == COLOURS[:3]
    assert tuple(plain[18, 28]) == (245, 245, 245)
    labelled = sheet_of(tmp_path, tables, ["8", "12"], ["sampler euler", "a " * 200], margin=6)
    places = [np.argwhere((labelled == colour).all(axis=2)).min(axis=0) for colour in COLOURS]
    assert places[0][0] == places[1][0] < places[2][0] < places[3][0]
    assert places[0][1] == places[2][1] == places[3][1]
    assert places[1][1] - places[0][1] == 20 + 4 + 6
    # Letters are darker than the colours of the pictures and the paper.
    assert (labelled.max(axis=2) < 100).any()


def test_a_grid_without_any_picture_is_drawn(tmp_path):
    assert sheet_of(tmp_path, [Table("z", [[None]])], ["x"], ["y"]).shape[2] == 3
