"""The task of `engine upscale`: which folders it takes, and what it keeps."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image

from engine.errors import RequestError
from engine.runs.upscale import RECORD, UpscaleRequest, check_folder, upscale


@pytest.fixture
def request_(tmp_path):
    (tmp_path / "in").mkdir()
    for name, side in (("a.png", 20), ("b.jpg", 30)):
        pixels = np.random.default_rng(side).integers(0, 256, (side, 2 * side, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "in" / name)
    files = tuple(sorted((tmp_path / "in").iterdir()))
    return UpscaleRequest(files, tmp_path / "out", 1.5)


def test_lanczos_enlarges_and_keeps_what_exists(request_):
    identity = check_folder(request_, None, overwrite=False)
    assert upscale(request_, identity) == 2
    with Image.open(request_.out / "b.png") as large, Image.open(request_.pictures[1]) as small:
        assert large.size == (90, 45)
        wanted = small.resize((90, 45), Image.Resampling.LANCZOS)
        np.testing.assert_array_equal(np.asarray(large), np.asarray(wanted))
        assert "cytosynth" not in large.info
    (request_.out / "a.png").unlink()
    assert upscale(request_, check_folder(request_, None, overwrite=False)) == 1


def test_another_task_or_other_files_need_another_folder(request_):
    upscale(request_, check_folder(request_, None, overwrite=False))
    other = UpscaleRequest(request_.pictures, request_.out, 2.0)
    with pytest.raises(RequestError, match="another upscaling"):
        check_folder(other, None, overwrite=False)
    assert upscale(other, check_folder(other, None, overwrite=True)) == 2
    with Image.open(request_.out / "a.png") as large:
        assert large.size == (80, 40)
    (request_.out / RECORD).unlink()
    with pytest.raises(RequestError, match="files of something else"):
        check_folder(other, None, overwrite=True)


def test_two_pictures_of_one_name_and_giants_are_refused(request_, tmp_path):
    twin = tmp_path / "in/A.webp"
    Image.new("RGB", (8, 8)).save(twin)
    with pytest.raises(RequestError, match="the same name"):
        check_folder(UpscaleRequest((*request_.pictures, twin), request_.out, 2.0), None, overwrite=False)
    Image.new("L", (3000, 3000)).save(tmp_path / "large.png")
    with pytest.raises(RequestError, match="smaller --scale"):
        check_folder(UpscaleRequest((tmp_path / "large.png",), request_.out, 16.0), None, overwrite=False)
