"""Augmentation that keeps areas."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from tests.trainer.pictures.examples import stained_pixels
from trainer.pictures.augment import augment
from trainer.pictures.phantom import MASK_LABELS, draw


def test_augmentation_keeps_the_area_of_what_is_stained():
    """A disc well inside the picture keeps its area to 5 %."""
    y, x = np.mgrid[0:128, 0:128]
    disc = gaussian_filter(np.where(np.hypot(x - 60, y - 70) < 24, 60.0, 230.0), 1.0)
    picture = np.repeat(disc[..., None], 3, -1).astype(np.uint8)
    for seed in range(12):
        changed = augment(picture, np.random.default_rng(seed))
        assert abs(stained_pixels(changed) / stained_pixels(picture) - 1) < 0.05
        assert (changed != picture).any()


@pytest.mark.parametrize("name", ["cyt_mast", "cyt_nep_fib_mast"])
def test_preserve_keeps_the_nucleus_area_of_phantoms(name):
    """The mask is the fourth channel, so that only the geometry is measured."""
    ratios = []
    for seed in range(6):
        picture, mask = draw(name, seed, 128)
        inner = np.zeros((128, 128), bool)
        inner[32:96, 32:96] = True
        nucleus = gaussian_filter(np.where((mask == MASK_LABELS["nucleus"]) & inner, 255.0, 0.0), 0.5)
        four = np.concatenate([picture, np.uint8(nucleus)[..., None]], axis=-1)
        for variant in range(4):
            changed = augment(four, np.random.default_rng([seed, variant]))
            ratios.append(changed[..., 3].astype(float).sum() / nucleus.astype(np.uint8).sum())
    assert len(ratios) == 24
    assert max(abs(np.array(ratios) - 1)) < 0.05


def test_classes_that_may_not_be_mirrored_are_not():
    """A picture whose left and right differ keeps its handedness under rotation."""
    y, x = np.mgrid[0:64, 0:64] - 31.5
    hand = (np.hypot(x, y) < 24) * (120 + 80 * np.cos(np.arctan2(y, x)) + 40 * np.cos(2 * np.arctan2(y, x) + 1))
    picture = np.repeat(hand[..., None], 3, -1).astype(np.uint8)

    def handedness(image):
        grey = image[..., :3].mean(-1)
        one, two = ((grey * np.exp(1j * k * np.arctan2(y, x))).sum() for k in (1, 2))
        return np.sign(np.imag(two * np.conj(one) ** 2))

    kept = {handedness(augment(picture, np.random.default_rng(seed), flip=False)) for seed in range(20)}
    assert kept == {handedness(picture)}
    assert len({handedness(augment(picture, np.random.default_rng(seed))) for seed in range(20)}) == 2
