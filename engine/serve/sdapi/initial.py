"""The initial pictures of img2img and what is repainted, as settings of the engine."""

from __future__ import annotations

import io
from typing import Any

from PIL import Image

from engine.pictures import UNREADABLE
from engine.serve.sdapi.errors import ApiError
from engine.serve.sdapi.fields import Img2Img
from engine.serve.sdapi.pictures import picture_bytes

__all__ = ["initial_of"]

RESIZE_MODES = ("stretch", "crop", "fill", "stretch")
"""Our resize modes by the WebUI's number. The last one stretches the latents there."""
LATENTS = 3
CONTENTS = ("fill", "original", "noise", "nothing")
"""Our masked content by the WebUI's inpainting_fill."""


def initial_of(fields: Img2Img, max_pixels: int) -> tuple[dict[str, Any], tuple[bytes, ...], bytes | None, list[str]]:
    """Return the settings of initial pictures, the contents of their files and of the mask, and warnings.

    Raises ApiError.
    """
    if not fields.init_images:
        raise ApiError(404, "Init image not found")
    count = fields.batch_size * fields.n_iter
    if len(fields.init_images) > max(count, 1) and len(fields.init_images) > fields.batch_size > 1:
        raise ApiError(422, f"init_images: {len(fields.init_images)} pictures for a batch of {fields.batch_size}.")
    pictures = tuple(picture_bytes(text, f"init_images[{i}]", max_pixels) for i, text in enumerate(fields.init_images))
    settings: dict[str, Any] = {
        "strength": fields.denoising_strength,
        "resize_mode": RESIZE_MODES[fields.resize_mode],
    }
    warnings = ["resize_mode 3 is not supported: the picture is stretched"] if fields.resize_mode == LATENTS else []
    if fields.mask is None:
        return settings, pictures, None, warnings
    x, y = (side if fields.mask_blur is None else fields.mask_blur for side in (fields.mask_blur_x, fields.mask_blur_y))
    if x != y:
        warnings.append("mask_blur_y is not supported: mask_blur_x is used for both directions")
    settings |= {
        "mask_blur": x,
        "mask_invert": bool(fields.inpainting_mask_invert),
        "masked_content": CONTENTS[fields.inpainting_fill],
        "inpaint_area": "masked" if fields.inpaint_full_res else "whole",
    }
    if fields.inpaint_full_res:
        settings["mask_padding"] = fields.inpaint_full_res_padding
    return settings, pictures, _fitted(picture_bytes(fields.mask, "mask", max_pixels), pictures[0]), warnings


def _fitted(mask: bytes, picture: bytes) -> bytes:
    """Return a mask at the size of its picture: the WebUI resizes both to the size that is drawn."""
    try:
        with Image.open(io.BytesIO(picture)) as opened, Image.open(io.BytesIO(mask)) as own:
            turned = opened.getexif().get(0x0112, 1) >= 5
            size = (opened.height, opened.width) if turned else opened.size
            if own.size == size:
                return mask
            file = io.BytesIO()
            own.convert("RGBA" if own.has_transparency_data else "L").resize(size).save(file, format="PNG")
            return file.getvalue()
    except UNREADABLE:
        raise ApiError(422, "Invalid encoded image: the mask cannot be read.") from None
