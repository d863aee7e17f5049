import io
import json

import numpy as np
import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.serve.sdapi.enlarge import enlarged, unsupported_extras
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.fields import Extras


@pytest.fixture
def file(cell, tmp_path):
    path = tmp_path / "picture"
    cell.crop((0, 0, 32, 16)).save(path, format="PNG")
    return path


def run(path, **fields):
    return Image.open(io.BytesIO(enlarged(path, Extras(**fields), 2**20)))


@pytest.mark.parametrize(
    ("fields", "size"),
    [
        ({}, (32, 16)),
        ({"upscaler_1": "Lanczos"}, (64, 32)),
        ({"upscaler_1": "Nearest", "upscaling_resize": 2.5}, (80, 40)),
        ({"upscaler_1": "Lanczos", "resize_mode": 1, "upscaling_resize_w": 50, "upscaling_resize_h": 50}, (50, 50)),
        (
            {
                "upscaler_1": "Lanczos",
                "resize_mode": 1,
                "upscaling_resize_w": 50,
                "upscaling_resize_h": 50,
                "upscaling_crop": False,
            },
            (100, 50),
        ),
    ],
)
def test_pictures_are_enlarged_by_a_factor_or_to_a_size(file, fields, size):
    assert run(file, **fields).size == size


def test_two_upscalers_are_blended(file):
    both = run(file, upscaler_1="Nearest", upscaler_2="Lanczos", extras_upscaler_2_visibility=1)
    assert np.array_equal(np.asarray(both), np.asarray(run(file, upscaler_1="Lanczos")))


def test_a_synthetic_picture_stays_marked_even_if_its_description_is_damaged(cell, tmp_path):
    for text, expected in (('{"synthetic": true, "class": "c"}', "c"), ("{", None)):
        info = PngInfo()
        info.add_itxt("cytosynth", text)
        info.add_text("parameters", "a cell\nSteps: 1, Seed: 2, Size: 32x32")
        cell.save(tmp_path / "marked", format="PNG", pnginfo=info)
        found = run(tmp_path / "marked", upscaler_1="Lanczos")
        described = json.loads(found.info["cytosynth"])
        assert (described["synthetic"], described.get("class"), described["width"]) == (True, expected, 64)
        assert found.info["parameters"].endswith("Postprocess upscale by: 2, Postprocess upscaler: Lanczos")


def test_unknown_upscalers_and_huge_results_are_refused(file):
    with pytest.raises(ApiError, match="Known are None, Lanczos, Nearest"):
        run(file, upscaler_1="ESRGAN_4x")
    with pytest.raises(ApiError, match="at most"):
        run(file, upscaler_1="Lanczos", resize_mode=1, upscaling_resize_w=4000, upscaling_resize_h=4000)
    assert unsupported_extras(Extras(gfpgan_visibility=0.5)) == ["gfpgan_visibility is not supported"]
