"""Pictures in bodies: base64, with or without `data:image/...;base64,` in front."""

from __future__ import annotations

import base64
import binascii
import io

from PIL import Image

from engine.pictures import FORMATS, UNREADABLE
from engine.serve.sdapi.errors import ApiError

__all__ = ["encoded", "picture_bytes"]


def picture_bytes(text: str, name: str, max_pixels: int) -> bytes:
    """Return the content of a picture file whose header could be read. name: the field, for errors.

    Nothing is fetched from another place. The engine decodes the pixels, and refuses what 8-bit RGB cannot hold.
    """
    if text[:8].lower().startswith(("http:", "https:", "file:")):
        raise ApiError(422, f"{name}: a URL. Send the picture itself in base64; nothing is fetched.")
    if text[:5].lower() == "data:":
        text = text.partition(",")[2]
    try:
        content = base64.b64decode("".join(text.split()) + "==", validate=False)
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            pixels = picture.width * picture.height
    except (binascii.Error, Image.DecompressionBombWarning, *UNREADABLE):
        raise ApiError(422, f"Invalid encoded image: {name} is no picture in base64.") from None
    if pixels > max_pixels:
        raise ApiError(422, f"{name}: {pixels} pixels, but at most {max_pixels} are taken.")
    return content


def encoded(content: bytes) -> str:
    """Return the content of a file in base64."""
    return base64.b64encode(content).decode("ascii")
