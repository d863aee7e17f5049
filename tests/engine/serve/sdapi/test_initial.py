import io

import pytest
from PIL import Image

from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.fields import Img2Img
from engine.serve.sdapi.initial import initial_of
from tests.engine.serve.sdapi.conftest import in_base64

PIXELS = 2**20


def test_the_fields_of_inpainting_are_settings_of_the_engine(cell, cell_mask):
    text = in_base64(cell)
    body = {"init_images": [text], "mask": in_base64(cell_mask), "resize_mode": 2}
    found = initial_of(Img2Img(**body), PIXELS)
    assert found.settings == {
        "strength": 0.75,
        "resize_mode": "fill",
        "mask_blur": 4,
        "mask_invert": False,
        "masked_content": "fill",
        "inpaint_area": "masked",
        "mask_padding": 0,
    }
    other = Img2Img(**body, inpainting_fill=3, inpaint_full_res=False, inpainting_mask_invert=1, mask_blur=0)
    settings = initial_of(other, PIXELS).settings
    assert (settings["masked_content"], settings["inpaint_area"]) == ("nothing", "whole")
    assert (settings["mask_invert"], settings["mask_blur"]) == (True, 0)
    assert "mask_padding" not in settings
    plain = initial_of(Img2Img(init_images=[text], mask_blur=9), PIXELS)
    assert (plain.settings, plain.mask) == ({"strength": 0.75, "resize_mode": "stretch"}, None)


def test_one_picture_serves_a_batch_and_several_are_a_batch(cell):
    text = in_base64(cell)
    assert initial_of(Img2Img(init_images=[text], batch_size=3), PIXELS).batch == 3
    assert initial_of(Img2Img(init_images=[text, text], batch_size=3), PIXELS).batch == 2
    with pytest.raises(ApiError, match="expecting 2 or less"):
        initial_of(Img2Img(init_images=[text] * 3, batch_size=2), PIXELS)
    with pytest.raises(ApiError, match="Init image not found") as refused:
        initial_of(Img2Img(), PIXELS)
    assert refused.value.status == 404


def test_a_mask_gets_the_size_of_its_picture_and_what_is_left_out_is_said(cell, cell_mask):
    body = {"init_images": [in_base64(cell)], "mask": in_base64(cell_mask.resize((64, 64)))}
    found = initial_of(Img2Img(**body, resize_mode=3, mask_blur_x=1, mask_blur_y=2), PIXELS)
    assert Image.open(io.BytesIO(found.mask)).size == (32, 32)
    assert [one.split()[0] for one in found.warnings] == ["resize_mode", "mask_blur_y"]
