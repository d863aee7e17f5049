"""The tab From a picture: the mask of the brush, and what stays of the picture."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from engine.serve.page.from_picture import mask_of

pytestmark = pytest.mark.slow


def test_the_mask_is_white_where_any_layer_is_painted_and_has_the_size_of_the_picture():
    first, second = Image.new("RGBA", (8, 8)), Image.new("RGBA", (8, 8))
    first.putpixel((0, 0), (255, 0, 0, 9))
    second.putpixel((7, 7), (255, 0, 0, 255))
    mask = np.asarray(Image.open(io.BytesIO(mask_of({"layers": [first, second]}, (16, 16)))))
    assert mask.shape == (16, 16)
    assert mask[:2, :2].tolist() == [[255, 255]] * 2
    assert mask[14:, 14:].tolist() == [[255, 255]] * 2
    assert mask.sum() == 8 * 255


@pytest.mark.parametrize("drawing", [None, {}, {"layers": []}, {"layers": [Image.new("RGBA", (4, 4))]}])
def test_nothing_painted_is_no_mask(drawing):
    assert mask_of(drawing, (4, 4)) is None


def test_the_brush_repaints_a_part_of_the_picture(visit, cell):
    page = visit.page
    visit.open("From a picture")
    visit.drop("from-picture-file", cell)
    canvas = page.locator("#from-picture-editor canvas").first
    canvas.wait_for()
    page.wait_for_timeout(1500)  # the editor scales the picture to its room, without saying when
    canvas.scroll_into_view_if_needed()
    box = canvas.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x - 20, y)
    page.mouse.down()
    page.mouse.move(x + 20, y, steps=10)
    page.mouse.up()
    page.get_by_label("Strength").and_(page.locator(":visible")).first.fill("0.9")
    page.locator("#from-picture-draw").click()
    visit.see("from-picture-status", "4 synthetic pictures")
    visit.gallery("from-picture-gallery").first.click()
    page.wait_for_function("document.querySelector('#from-picture-info textarea').value.includes('Mask blur')")
    words = page.locator("#from-picture-info textarea").input_value()
    assert "Denoising strength: 0.9" in words


def test_without_a_picture_an_error_says_what_to_do(wide):
    visit = wide()
    visit.open("From a picture")
    visit.page.locator("#from-picture-draw").click()
    visit.page.get_by_text("drop a picture").wait_for()
    visit.page.close()
