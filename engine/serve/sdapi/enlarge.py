"""Enlarging of pictures by filters (extras). A synthetic picture stays marked as synthetic."""

from __future__ import annotations

import io
import json
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from engine.initial.pictures import flat_picture
from engine.initial.resize import resized
from engine.output.provenance import PARAMETERS_KEY
from engine.pictures import PNG_KEY, read_with_alpha
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.fields import Extras

__all__ = ["FILTERS", "enlarged", "unsupported_extras"]

FILTERS = {"None": None, "Lanczos": Image.Resampling.LANCZOS, "Nearest": Image.Resampling.NEAREST}
BY_FACTOR = 0


def enlarged(path: Path, fields: Extras, max_pixels: int) -> bytes:
    """Return a picture file enlarged, as a PNG. Raises ApiError and RequestError."""
    picture = read_with_alpha(path)
    size = _size(picture, fields)
    if size[0] * size[1] > max_pixels:
        raise ApiError(422, f"{size[0]} x {size[1]} pixels after enlarging, but at most {max_pixels} are made.")
    flat = flat_picture(picture)
    found = _by(flat, fields.upscaler_1, size, fields)
    if fields.upscaler_2 != "None" and fields.extras_upscaler_2_visibility:
        other = _by(flat, fields.upscaler_2, size, fields)
        # "None" as the first upscaler leaves the picture as large as it was.
        found = Image.blend(found.resize(other.size), other, fields.extras_upscaler_2_visibility)
    file = io.BytesIO()
    found.save(file, format="PNG", compress_level=1, pnginfo=_texts(picture, found, fields))
    return file.getvalue()


def unsupported_extras(fields: Extras) -> list[str]:
    """Return a warning for each field that has no effect."""
    return [
        f"{name} is not supported" for name in ("gfpgan_visibility", "codeformer_visibility") if getattr(fields, name)
    ]


def _size(picture: Image.Image, fields: Extras) -> tuple[int, int]:
    """Return width and height of the enlarged picture."""
    width, height = picture.size
    if fields.resize_mode == BY_FACTOR:
        factor = fields.upscaling_resize
        return max(1, int(width * factor)), max(1, int(height * factor))
    to = (fields.upscaling_resize_w, fields.upscaling_resize_h)
    if fields.upscaling_crop:
        return to
    factor = max(to[0] / width, to[1] / height)
    return max(1, int(width * factor)), max(1, int(height * factor))


def _by(picture: Image.Image, name: str, size: tuple[int, int], fields: Extras) -> Image.Image:
    if name not in FILTERS:
        raise ApiError(422, f"Upscaler not found: {name[:80]}. Known are {', '.join(FILTERS)}.")
    kind = FILTERS[name]
    if kind is None:
        return picture
    return resized(picture, size, "stretch" if fields.resize_mode == BY_FACTOR else "crop", kind)


def _texts(picture: Image.Image, found: Image.Image, fields: Extras) -> PngInfo:
    """Return the texts of an enlarged picture: those that it had, and how it was enlarged."""
    texts, scale = PngInfo(), found.width / picture.width
    words = f"Postprocess upscale by: {scale:g}, Postprocess upscaler: {fields.upscaler_1}"
    before = str(picture.info.get(PARAMETERS_KEY, ""))
    texts.add_text(PARAMETERS_KEY, f"{before}, {words}" if before else words)
    if (description := _description(picture)) is not None:
        own = {"width": found.width, "height": found.height, "upscaled": scale}
        texts.add_itxt(PNG_KEY, json.dumps({**description, **own}))
    return texts


def _description(picture: Image.Image) -> dict[str, object] | None:
    """Return the description of a synthetic picture. One that cannot be read still marks the picture."""
    text = picture.info.get(PNG_KEY)
    if text is None:
        return None
    try:
        found = json.loads(str(text))
    except (ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {"synthetic": True}
