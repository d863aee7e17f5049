"""Pictures for the tests of this folder."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from trainer.pictures.phantom import draw


@pytest.fixture
def photographs(tmp_path):
    """Two classes of phantom pictures, not square."""
    folder = tmp_path / "photographs"
    for name, count in (("cyt_mast", 3), ("cyt_nep_mast", 2)):
        (folder / name).mkdir(parents=True)
        for seed in range(count):
            wide = np.pad(draw(name, seed, 64)[0], ((0, 0), (9, 7), (0, 0)), mode="edge")
            Image.fromarray(wide).save(folder / name / f"picture{seed}.png")
    return folder
