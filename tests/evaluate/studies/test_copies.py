"""`copies`: planted copies are found although they are turned, blurred or stained, and other pictures are not."""

from __future__ import annotations

import numpy as np
import pytest

from evaluate.images import open_folder
from evaluate.studies.copies import find_copies
from tests.evaluate.conftest import CHANGES


@pytest.fixture(scope="module")
def found(planted_copies):
    return find_copies(*(open_folder(planted_copies / name) for name in ("synthetic", "train", "heldout")))


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_copy_is_found_with_its_original(change, planted_copies, found):
    names = [path.name for path in open_folder(planted_copies / "synthetic").files]
    place = list(CHANGES).index(change)
    index = names.index(f"copy{place}.png")
    assert index in found.copies
    assert found.synthetic.indices[index] == place


def test_other_pictures_are_not_copies(planted_copies, found):
    assert sorted(found.copies) == list(range(8, 8 + len(CHANGES)))
    assert found.rate == pytest.approx(len(CHANGES) / 13)
    assert found.rate_low < found.rate < found.rate_high
    assert found.held_out_rate <= 1 / 30
    assert found.synthetic.distances[8] == pytest.approx(0, abs=1e-3)


def test_the_threshold_is_the_first_percentile_of_the_held_out(found):
    assert found.threshold == pytest.approx(np.percentile(found.held_out.distances, 1))
