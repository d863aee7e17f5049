"""The augmentation of the thesis."""

from __future__ import annotations

import json

import numpy as np
from scipy.ndimage import gaussian_filter

from tests.trainer.pictures.examples import stained_pixels
from trainer.pictures.phantom import draw
from trainer.pictures.rudi import rudi


def test_rudi_enlarges_areas_as_in_the_thesis():
    """Known facts of the tool: the median area grows by 1.4, its 95th percentile by 2.3."""
    y, x = np.mgrid[0:128, 0:128]
    disc = gaussian_filter(np.where(np.hypot(x - 64, y - 64) < 20, 60.0, 230.0), 1.0)
    picture = np.repeat(disc[..., None], 3, -1).astype(np.uint8)
    ratios = [
        stained_pixels(rudi(picture, np.random.default_rng(seed))) / stained_pixels(picture) for seed in range(300)
    ]
    assert 1.2 < np.median(ratios) < 1.6
    assert 1.9 < np.quantile(ratios, 0.95) < 2.7


def test_rudi_is_seeded_and_acts_three_times_in_four():
    picture = draw("cyt_mast", 0, 64)[0]
    one, two, three = (rudi(picture, np.random.default_rng(seed)) for seed in (1, 1, 2))
    np.testing.assert_array_equal(one, two)
    assert (one != three).any()
    untouched = sum((rudi(picture, np.random.default_rng(seed)) == picture).all() for seed in range(600)) / 600
    # The probability that none of the three operations acts is 0.25^3.
    assert 0.004 < untouched < 0.035
    jpeg = rudi(picture, np.random.default_rng(1), from_jpeg=True)
    assert jpeg.shape == picture.shape
    assert (jpeg != one).any()


def test_rudi_from_the_command_line(in_process, photographs, tmp_path):
    done = in_process("trainer", "prepare", photographs, tmp_path / "out", "--size", 32, "--n", 6, "--mode", "rudi")
    assert done.returncode == 0, done.stderr
    rows = [json.loads(line) for line in (tmp_path / "out/sources.jsonl").read_text().splitlines()]
    assert {row["mode"] for row in rows if row["variant"]} == {"rudi"}
    assert {row["mode"] for row in rows if not row["variant"]} == {"original"}
