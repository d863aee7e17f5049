"""Pictures in base64."""

from __future__ import annotations

import base64
import io

import pytest
from PIL import Image


def in_base64(picture: Image.Image, kind: str = "PNG") -> str:
    file = io.BytesIO()
    picture.save(file, format=kind)
    return base64.b64encode(file.getvalue()).decode()


def from_base64(text: str) -> Image.Image:
    picture = Image.open(io.BytesIO(base64.b64decode(text)))
    picture.load()
    return picture


@pytest.fixture(scope="session")
def cell() -> Image.Image:
    """A picture of the size of the tiny bundle."""
    picture = Image.new("RGB", (32, 32), (200, 190, 210))
    picture.paste((90, 40, 120), (10, 10, 22, 22))
    return picture


@pytest.fixture(scope="session")
def cell_mask() -> Image.Image:
    """A mask that repaints the middle."""
    mask = Image.new("L", (32, 32))
    mask.paste(255, (8, 8, 24, 24))
    return mask
