"""Nucleus and cytoplasm against the masks of phantoms and drawn cells of known shape."""

from __future__ import annotations

import numpy as np
import pytest

from evaluate.studies.segmentation import overlay, segment
from tests.evaluate.studies.drawn_cells import blood_cell
from trainer.pictures.phantom import MASK_LABELS, RECIPES, draw


def dice(first, second):
    return 2 * (first & second).sum() / (first.sum() + second.sum())


@pytest.mark.parametrize("class_name", RECIPES)
def test_the_nuclei_of_phantoms_are_found(class_name):
    scores, true, found = [], [], []
    for seed in range(600, 604):
        picture, mask = draw(class_name, seed)
        nucleus = mask == MASK_LABELS["nucleus"]
        segmentation = segment(picture, one_cell=False)
        scores.append(dice(segmentation.nucleus, nucleus))
        true.append(nucleus.mean())
        found.append(segmentation.nucleus.mean())
        assert not (segmentation.nucleus & segmentation.cytoplasm).any()
    assert np.mean(scores) >= 0.85
    assert np.corrcoef(true, found)[0, 1] > 0.95
    np.testing.assert_allclose(found, true, rtol=0.3)


@pytest.mark.parametrize("class_name", ["cyt_kist_mast", "cyt_mast", "cyt_nep_mast"])
def test_the_cells_of_phantoms_are_found(class_name):
    scores = []
    for seed in range(610, 612):
        picture, mask = draw(class_name, seed)
        scores.append(dice(segment(picture, one_cell=False).cell, mask != MASK_LABELS["background"]))
    assert np.mean(scores) >= 0.8


def test_red_cells_beside_it_are_not_the_cell():
    cell = segment(blood_cell()).cell
    y, x = (np.mgrid[:128, :128] + 0.5) / 128 - 0.5
    assert dice(cell, np.hypot(y, x) < 0.28) > 0.95


def test_the_overlay_marks_the_outlines_alone():
    picture = blood_cell()
    found = segment(picture)
    marked = overlay(picture, found)
    assert marked.shape == picture.shape
    assert marked.dtype == np.uint8
    changed = (marked != picture).any(-1)
    assert changed.any()
    assert not (changed & ~found.cell).any()
    assert (marked[changed][:, 1] == 255).all()
