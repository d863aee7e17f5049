"""Pictures in bodies: base64, with or without `data:image/...;base64,` in front."""

from __future__ import annotations

import io

from PIL import Image

from engine.errors import RequestError
from engine.pictures import FORMATS, UNREADABLE
from engine.serve.encoding import decoded
from engine.serve.sdapi.errors import ApiError

__all__ = ["picture_bytes"]


def picture_bytes(text: str, name: str, max_pixels: int) -> bytes:
    """Return the content of a picture file whose header could be read. name: the field, for errors.

    Nothing is fetched from another place. The engine decodes the pixels, and refuses what 8-bit RGB cannot hold.
    """
    try:
        content = decoded(text, name, lenient=True)
    except RequestError as error:
        raise ApiError(422, f"Invalid encoded image: {error.subject} is {error.found}. {error.fix}.") from None
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as picture:
            pixels = picture.width * picture.height
    except (Image.DecompressionBombWarning, *UNREADABLE):
        raise ApiError(422, f"Invalid encoded image: {name} is no picture in base64.") from None
    if pixels > max_pixels:
        raise ApiError(422, f"{name}: {pixels} pixels, but at most {max_pixels} are taken.")
    return content
