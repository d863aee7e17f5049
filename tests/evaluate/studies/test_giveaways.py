"""The measures made by hand: each group sees its own change and is blind to others."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image, ImageFilter

from evaluate.studies.giveaways import BANDS, DEFINITIONS, LATTICE_BANDS, giveaways
from tests.evaluate.studies.drawn_cells import BLANK, blood_cell

CELL = blood_cell(64)


def waves(frequency, side=64):
    """A grey wave across the picture, in cycles per pixel."""
    wave = 128 + 60 * np.sin(2 * np.pi * frequency * np.arange(side))
    return np.repeat(np.tile(wave, (side, 1))[..., None], 3, axis=2).round().astype(np.uint8)


@pytest.mark.parametrize("picture", [CELL, *BLANK.values()], ids=["cell", *BLANK])
def test_every_picture_has_finite_measures_of_one_length(picture):
    found, of_cell = giveaways(picture), giveaways(CELL)
    assert found.keys() == DEFINITIONS.keys()
    for name, values in found.items():
        assert values.shape == of_cell[name].shape
        assert np.isfinite(values).all()


@pytest.mark.parametrize("frequency", [0.08, 0.23, 0.42])
def test_a_wave_has_its_power_in_its_own_ring(frequency):
    assert giveaways(waves(frequency))["spectrum"].argmax() == int(frequency * 2 * BANDS)


def test_gradients_are_counted_by_their_size():
    ramp = np.tile(np.arange(64) * 3, (64, 1))
    found = giveaways(np.repeat(ramp[..., None], 3, axis=2).astype(np.uint8))["gradients"]
    assert found[4] == pytest.approx(1)  # 3 grey levels per pixel lie between 2.8 and 4
    assert found.sum() == pytest.approx(1)


def lattice_of(picture):
    """The amplitudes of both directions by band: (2, LATTICE_BANDS, 3)."""
    return giveaways(picture)["lattice"].reshape(2, LATTICE_BANDS, 3)


def test_a_lattice_of_two_pixels_shows_along_its_own_direction():
    """Every second difference of neighbouring columns is smaller, as after an enlargement by 2."""
    grey = np.random.default_rng(0).normal(128, 20, (64, 64))
    grey[:, 1::2] = (grey[:, 1::2] + grey[:, ::2]) / 2
    rows, columns = lattice_of(np.repeat(grey.clip(0, 255).astype(np.uint8)[..., None], 3, axis=2))[..., 0]
    assert columns.argmax() == LATTICE_BANDS - 1
    assert columns[-1] > rows.max() + 0.5


def test_the_blocks_of_jpeg_show_at_their_period():
    """Blocks of 8 pixels, halved: a period of 4 pixels, 0.25 cycles per pixel."""
    noise = Image.fromarray(np.random.default_rng(0).normal(128, 12, (128, 128, 3)).clip(0, 255).astype(np.uint8))
    stored = io.BytesIO()
    noise.save(stored, "JPEG", quality=20, subsampling=0)
    before, after = (
        lattice_of(np.asarray(picture.resize((64, 64), Image.Resampling.BOX)))
        for picture in (noise, Image.open(stored))
    )
    block = int((0.25 - 1 / 6) * 3 * LATTICE_BANDS)
    assert ((after - before)[:, block, 1:] > 0.3).all()


def test_a_blur_changes_gradients_and_a_stain_changes_colours():
    blurred = np.asarray(Image.fromarray(CELL).filter(ImageFilter.GaussianBlur(1)))
    stained = np.asarray(255 * (CELL / 255) ** (1.0, 1.3, 1.0), np.uint8)
    plain, soft, green = map(giveaways, (CELL, blurred, stained))

    def change(name, other):
        return float(np.abs(other[name] - plain[name]).max())

    assert change("gradients", soft) > 0.1
    assert change("shape", green) < 0.05
    assert green["colour"][1] < plain["colour"][1] - 5
    assert green["colour"][0] == pytest.approx(plain["colour"][0], abs=0.01)


def test_a_cell_that_was_not_found_is_marked():
    assert giveaways(BLANK["uniform"])["shape"].tolist() == [0] * 5
    assert giveaways(CELL)["shape"][-1] == 1
