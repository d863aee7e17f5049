"""The measure of `copies`: the same cell turned, mirrored or moved is close, and another cell is not."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from evaluate.images import open_folder
from evaluate.studies.likeness import describe, describe_folder, distances_to_own, nearest_training
from tests.evaluate.conftest import CHANGES
from trainer.pictures.phantom import draw


@pytest.fixture(scope="module")
def cells():
    return [Image.fromarray(draw("cyt_mast", seed, 64)[0]) for seed in range(6)]


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_cell_is_nearest_to_itself(change, cells):
    changed = describe(np.asarray(CHANGES[change](cell)) for cell in cells)
    known = describe(map(np.asarray, cells))
    nearest = nearest_training(changed, known)
    assert list(nearest.indices) == list(range(6))
    np.testing.assert_allclose(distances_to_own(changed, known), nearest.distances, atol=1e-3)


def test_another_cell_is_as_far_as_its_own_distance_says(cells):
    known = describe(map(np.asarray, cells))
    rotated = np.roll(known, 1, axis=0)
    own = distances_to_own(known, rotated)
    one_by_one = [nearest_training(known[[i]], rotated[[i]]).distances[0] for i in range(6)]
    np.testing.assert_allclose(own, one_by_one, atol=1e-3)
    assert (own > 0.2).all()


def test_a_folder_is_described_file_by_file(phantoms):
    folder = open_folder(phantoms / "synthetic" / "cyt_mast")
    np.testing.assert_array_equal(describe_folder(folder), describe(folder.read()))
