"""Texture: dots against lines, power in dB, and ragged outlines, on fields whose answer is known."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from evaluate.studies.segmentation import Segmentation, segment
from evaluate.studies.texture import SCALES, TITLES, blobness, coherence, power_db, raggedness, texture
from tests.evaluate.studies.drawn_cells import blood_cell

ALL = np.ones((128, 128), bool)
Y, X = np.mgrid[:128, :128].astype(float)


def noise(seed=0, sigma=1.0):
    return np.random.default_rng(seed).normal(0, sigma, (128, 128))


def stripes(period=8.0, angle=0.5):
    return np.sin(2 * np.pi * (np.cos(angle) * X + np.sin(angle) * Y) / period)


@pytest.mark.parametrize("scale", SCALES)
def test_dots_score_above_grain_and_grain_above_lines(scale):
    dots = np.cos(2 * np.pi * X / 16) + np.cos(2 * np.pi * Y / 16)
    threads = -np.abs(gaussian_filter(noise(), 4))
    found = [blobness(values, ALL, scale) for values in (dots, noise(), threads, stripes())]
    assert found == sorted(found, reverse=True)
    assert found[1] == pytest.approx(0.15, abs=0.02)
    assert found[3] < 0.01


def test_blobness_depends_neither_on_contrast_nor_on_sign():
    values = gaussian_filter(noise(), 1)
    assert blobness(-7 * values + 90, ALL, 1.2) == pytest.approx(blobness(values, ALL, 1.2), abs=1e-3)


def test_coherence_of_stripes_is_one_and_of_grain_low():
    assert coherence(stripes(), ALL) > 0.95
    assert coherence(noise(), ALL) < 0.35
    assert coherence(noise(), ALL) < coherence(-np.abs(gaussian_filter(noise(), 3)), ALL) < coherence(stripes(), ALL)


@pytest.mark.parametrize("sigma", [0.5, 2.0, 10.0])
def test_white_noise_has_its_variance_at_both_frequencies(sigma):
    for power in power_db(noise(sigma=sigma), ALL):
        assert power == pytest.approx(20 * np.log10(sigma), abs=0.3)


def test_waves_have_power_at_their_own_frequency():
    quarter, half = np.sin(np.pi / 2 * X + 0.7), np.where((X + Y) % 2, 1.0, -1.0)
    for wave, own in ((quarter, 0), (half, 1)):
        powers = power_db(wave, ALL)
        assert powers[own] > powers[1 - own] + 10


def test_a_jagged_disc_is_ragged_and_a_smooth_one_is_not():
    radius, angle = np.hypot(X - 64, Y - 64), np.arctan2(Y - 64, X - 64)
    smooth, jagged = radius < 35, radius < 35 + 3 * np.sign(np.sin(24 * angle))
    assert raggedness(smooth) == pytest.approx(0, abs=0.03)
    assert raggedness(jagged) > 0.3


def test_small_regions_and_flat_ones_are_not_measured():
    few = np.zeros_like(ALL)
    few[:7, :7] = True
    assert np.isnan(
        [blobness(noise(), few, 0.8), coherence(noise(), few), *power_db(noise(), few), raggedness(few)]
    ).all()
    assert np.isnan([blobness(np.zeros(ALL.shape), ALL, 0.8), coherence(np.zeros(ALL.shape), ALL)]).all()


def test_each_region_is_measured_by_itself():
    """Grain in the background alone, and colour grain in the nucleus alone."""
    plain = blood_cell(128, (0.2, 0.17))
    found = segment(plain)
    changed = plain.astype(float)
    changed += 12 * noise(1)[..., None] * ~found.cell[..., None]
    changed[..., 0] += 12 * noise(2) * found.nucleus
    before, after = texture(plain, found), texture(np.clip(changed, 0, 255).astype(np.uint8), found)
    assert list(before) == list(TITLES)
    rise = {name: after[name] - before[name] for name in TITLES if "luma" in name or "red" in name}
    assert rise["background_luma_0.25"] > 8
    assert rise["nucleus_red_0.25"] > 8
    assert rise["nucleus_red_0.25"] > rise["nucleus_luma_0.25"] + 3
    for name in rise:
        assert not name.startswith("cytoplasm") or abs(rise[name]) < 1.5


def test_a_cell_without_cytoplasm_has_no_figures_of_it():
    nucleus = np.hypot(X - 64, Y - 64) < 30
    found = texture(blood_cell(128), Segmentation(nucleus, np.zeros_like(nucleus)))
    assert all(np.isnan(found[name]) == name.startswith("cytoplasm") for name in TITLES)
