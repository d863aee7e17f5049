"""Phantom pictures: seeded, with masks, and of four kinds."""

from __future__ import annotations

import numpy as np
import pytest

from trainer.pictures.phantom import MASK_LABELS, RECIPES, draw


def test_a_picture_is_its_class_and_seed():
    one, mask_one = draw("cyt_mast", 3, 96)
    two, mask_two = draw("cyt_mast", 3, 96)
    other, _ = draw("cyt_mast", 4, 96)
    assert one.shape == (96, 96, 3)
    assert one.dtype == mask_one.dtype == np.uint8
    np.testing.assert_array_equal(one, two)
    np.testing.assert_array_equal(mask_one, mask_two)
    assert (one != other).any()


@pytest.mark.parametrize("class_name", RECIPES)
def test_nuclei_are_darker_and_bluer_than_cytoplasm_and_background(class_name):
    for seed in range(3):
        picture, mask = draw(class_name, seed, 128)
        nucleus = picture[mask == MASK_LABELS["nucleus"]].mean(0)
        background = picture[mask == MASK_LABELS["background"]].mean(0)
        assert nucleus.mean() < background.mean() - 30
        assert nucleus[2] - nucleus[0] > background[2] - background[0]


def share(class_name: str, label: str) -> float:
    return float(np.mean([(draw(class_name, seed, 96)[1] == MASK_LABELS[label]).mean() for seed in range(6)]))


def test_classes_differ_as_their_names_say():
    assert share("cyt_nep_fib_mast", "stroma") > 0.1
    assert all(share(name, "stroma") == 0 for name in ("cyt_mast", "cyt_kist_mast", "cyt_nep_mast"))
    assert share("cyt_mast", "nucleus") > 2 * share("cyt_kist_mast", "nucleus")
    amber = {name: np.mean([draw(name, seed, 96)[0][..., 2].mean() for seed in range(6)]) for name in RECIPES}
    assert amber["cyt_kist_mast"] == min(amber.values())
