"""Source pictures: names that never collide, and a bounded memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from trainer.pictures import sources
from trainer.pictures.prepare import PrepareSettings
from trainer.pictures.sources import Sources, unique_names


@pytest.mark.parametrize(
    "names",
    [
        ["cell.1.png", "cell_1.png"],
        ["Cell.png", "cell.png", "CELL.png"],
        ["a.png", "a.PNG", "a_png.jpg", "a.jpg"],
        ["\N{LATIN SMALL LETTER E WITH ACUTE}.png", "e\N{COMBINING ACUTE ACCENT}.png"],
        ["x.png", "x.1.png", "x_1.png", "x_png_2.png", "X.png"],
    ],
)
def test_names_differ_even_where_case_and_accents_do_not_count(names):
    found = unique_names(sorted(map(Path, names)))
    written = [f"{name}_{variant}".casefold() for name in found.values() for variant in range(12)]
    assert len(set(written)) == 12 * len(names)
    assert found == unique_names(sorted(map(Path, names)))


def test_pictures_beyond_the_limit_are_read_again(tmp_path, monkeypatch):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 16, 16, 3), np.uint8)
    paths = [tmp_path / f"{k}.png" for k in range(5)]
    for path, picture in zip(paths, pictures, strict=True):
        Image.fromarray(picture).save(path)
    monkeypatch.setattr(sources, "KEPT_BYTES", 2 * pictures[0].nbytes)
    opened = Sources(PrepareSettings(resize=False), paths)
    reads = []
    monkeypatch.setattr(sources, "open_picture", lambda path, depth: reads.append(path) or Image.open(path))
    for path, picture in zip(paths, pictures, strict=True):
        np.testing.assert_array_equal(opened.square(path), picture)
    assert reads == paths[2:]
