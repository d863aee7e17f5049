import base64

import pytest
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.png_info import png_info
from tests.engine.serve.sdapi.conftest import in_base64

TEXT = "a cell\nNegative prompt: blur\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 5, Size: 32x48"


def test_the_texts_of_a_picture_and_the_defaults_of_the_webui(cell, tmp_path):
    info = PngInfo()
    info.add_text("parameters", TEXT)
    info.add_text("Software", "other")
    cell.save(tmp_path / "a.png", pnginfo=info)
    found = png_info(base64.b64encode((tmp_path / "a.png").read_bytes()).decode(), 2**20)
    assert (found["info"], found["items"]) == (TEXT, {"Software": "other"})
    parameters = found["parameters"]
    assert (parameters["Prompt"], parameters["Negative prompt"]) == ("a cell", "blur")
    assert (parameters["Size-1"], parameters["Size-2"], parameters["Clip skip"]) == ("32", "48", "1")


def test_a_picture_without_a_text_has_none(cell):
    assert png_info(in_base64(cell), 2**20) == {"info": "", "items": {}, "parameters": {}}
    with pytest.raises(ApiError, match="Invalid encoded image"):
        png_info(in_base64(cell)[:100], 2**20)
    assert png_info(in_base64(Image.new("RGB", (2, 2)), "JPEG"), 2**20)["info"] == ""
