"""The initial pictures of img2img and what is repainted, as settings of the engine."""

from __future__ import annotations

import io
from dataclasses import dataclass
from typing import Any

from PIL import ExifTags, Image

from engine.pictures import UNREADABLE
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.fields import Img2Img
from engine.serve.sdapi.pictures import picture_bytes

__all__ = ["Initial", "initial_of"]

RESIZE_MODES = ("stretch", "crop", "fill", "stretch")
"""Our resize modes by the WebUI's number. The last one stretches the latents there."""
LATENTS = 3
CONTENTS = ("fill", "original", "noise", "nothing")
"""Our masked content by the WebUI's inpainting_fill."""


@dataclass(frozen=True)
class Initial:
    """What a request starts from."""

    settings: dict[str, Any]
    """Fields of the engine's settings."""
    pictures: tuple[bytes, ...]
    mask: bytes | None
    batch: int
    """Number of pictures per batch."""
    warnings: list[str]


def initial_of(fields: Img2Img, max_pixels: int) -> Initial:
    """Return what a request starts from: one picture for all, or one for each picture of a batch. Raises ApiError."""
    count = len(fields.init_images)
    if not count:
        raise ApiError(404, "Init image not found")
    if count > max(1, fields.batch_size):
        raise ApiError(422, f"init_images: bad number of images passed: {count}; expecting {fields.batch_size} or less")
    pictures = tuple(picture_bytes(text, f"init_images[{i}]", max_pixels) for i, text in enumerate(fields.init_images))
    settings: dict[str, Any] = {
        "strength": fields.denoising_strength,
        "resize_mode": RESIZE_MODES[fields.resize_mode],
    }
    warnings = ["resize_mode 3 is not supported: the picture is stretched"] if fields.resize_mode == LATENTS else []
    mask = None
    if fields.mask is not None:
        mask = _fitted(picture_bytes(fields.mask, "mask", max_pixels), pictures[0])
        settings |= _repainting(fields)
        if fields.mask_blur is None and fields.mask_blur_x != fields.mask_blur_y:
            warnings.append("mask_blur_y is not supported: mask_blur_x is used for both directions")
    return Initial(settings, pictures, mask, fields.batch_size if count == 1 else count, warnings)


def _repainting(fields: Img2Img) -> dict[str, Any]:
    """Return the settings of a mask."""
    found: dict[str, Any] = {
        "mask_blur": fields.mask_blur_x if fields.mask_blur is None else fields.mask_blur,
        "mask_invert": bool(fields.inpainting_mask_invert),
        "masked_content": CONTENTS[fields.inpainting_fill],
        "inpaint_area": "masked" if fields.inpaint_full_res else "whole",
    }
    if fields.inpaint_full_res:
        found["mask_padding"] = fields.inpaint_full_res_padding
    return found


def _fitted(mask: bytes, picture: bytes) -> bytes:
    """Return a mask at the size of its picture: the WebUI resizes both to the size that is drawn."""
    try:
        with Image.open(io.BytesIO(picture)) as opened, Image.open(io.BytesIO(mask)) as own:
            turned = opened.getexif().get(ExifTags.Base.Orientation, 1) >= 5
            size = (opened.height, opened.width) if turned else opened.size
            if own.size == size:
                return mask
            file = io.BytesIO()
            own.convert("RGBA" if own.has_transparency_data else "L").resize(size).save(file, format="PNG")
            return file.getvalue()
    except UNREADABLE:
        raise ApiError(422, "Invalid encoded image: the mask cannot be read.") from None
