import base64

import pytest

from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.pictures import picture_bytes
from tests.engine.serve.sdapi.conftest import in_base64


def test_base64_is_read_with_and_without_a_prefix(cell):
    text = in_base64(cell)
    content = base64.b64decode(text)
    assert picture_bytes(text, "image", 2**20) == content
    assert picture_bytes(f"data:image/png;base64,{text}", "image", 2**20) == content
    assert picture_bytes(text.rstrip("="), "image", 2**20) == content


@pytest.mark.parametrize("text", ["", "x", "aGVsbG8=", "data:", "é" * 100, "http://127.0.0.1/x.png", "FILE:///etc/x"])
def test_what_is_no_picture_is_refused(text):
    with pytest.raises(ApiError, match=r"image is (a URL|no base64|no picture)") as refused:
        picture_bytes(text, "image", 2**20)
    assert refused.value.status == 422


def test_a_picture_with_too_many_pixels_is_refused_by_its_header(cell):
    with pytest.raises(ApiError, match="1024 pixels, but at most 1000"):
        picture_bytes(in_base64(cell), "image", 1000)
