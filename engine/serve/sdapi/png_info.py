"""The endpoint png-info: what a picture states about itself."""

from __future__ import annotations

import io
from typing import Any

from engine.output.infotext import parse_infotext, with_defaults
from engine.output.picture_texts import read_texts
from engine.output.provenance import PARAMETERS_KEY
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.pictures import picture_bytes

__all__ = ["png_info"]


def png_info(image: str, max_pixels: int) -> dict[str, Any]:
    """Return the infotext of a picture, its other texts, and the infotext read. Raises ApiError for no picture."""
    content = picture_bytes(image, "image", max_pixels)
    try:
        texts = read_texts(io.BytesIO(content))
    except Exception:  # a decoder may raise any exception for arbitrary bytes
        raise ApiError(422, "Invalid encoded image: image cannot be decoded.") from None
    items = {key: text for key, text in texts.chunks.items() if key != PARAMETERS_KEY}
    if not texts.comment:
        return {"info": "", "items": items, "parameters": {}}
    found = parse_infotext(texts.comment)
    shown = {"Prompt": found.prompt, "Negative prompt": found.negative_prompt, **with_defaults(found)}
    return {"info": texts.comment, "items": items, "parameters": shown}
