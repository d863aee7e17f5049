"""`phantom`: folders of phantom pictures and their masks."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from trainer.pictures.phantom import MASK_LABELS, draw


def test_the_command_writes_pictures_masks_and_a_record(in_process, tmp_path):
    done = in_process(
        "trainer", "phantom", tmp_path / "set", "--class", "cyt_mast", "--n", 2, "--size", 48, "--seed", 9
    )
    assert done.returncode == 0, done.stderr
    names = sorted(path.name for path in (tmp_path / "set/pictures/cyt_mast").iterdir())
    assert names == sorted(path.name for path in (tmp_path / "set/masks/cyt_mast").iterdir())
    with Image.open(tmp_path / "set/pictures/cyt_mast" / names[1]) as picture:
        np.testing.assert_array_equal(np.asarray(picture), draw("cyt_mast", 10, 48)[0])
    assert json.loads((tmp_path / "set/phantom.json").read_text())["mask"] == MASK_LABELS


@pytest.mark.parametrize("extra", [["--class", "cyt_mist"], ["--n", "0"], ["--size", "8"]])
def test_wrong_requests_exit_2(extra, in_process, tmp_path):
    done = in_process("trainer", "phantom", tmp_path / "set", *extra)
    assert done.returncode == 2
    assert "expected:" in done.stderr
    assert not (tmp_path / "set").exists()
