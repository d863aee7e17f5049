"""Masks: which pixels of an initial picture are repainted.

A mask is white where the picture is repainted and black where it is kept. Grey blends both. A pixel that is black
in the mask stays exactly as it is: the soft transition lies inside the edge of the mask, whereas that of
AUTOMATIC1111's WebUI lies on both sides.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from engine.errors import RequestError
from engine.pictures import read_with_alpha

__all__ = ["blurred", "box_around", "filled", "latent_mask", "read_mask", "soft_alpha"]

Mask = NDArray[np.float32]
ALPHA_LIMIT = 128
"""Alpha above which a pixel of a transparent mask is repainted."""
FILL_RADII = (256, 64, 16, 16, 4, 4, 4, 4, 2, 2, 0)
"""Radii in pixels of the Gaussian blurs that are laid over each other to fill what is masked."""


def read_mask(path: Path, size: tuple[int, int], *, invert: bool = False) -> Mask:
    """Return a mask (H, W) float32 from 0 (keep) to 1 (repaint).

    A mask with transparent pixels repaints where its alpha is above 128; any other mask repaints as bright as it is.
    Raises RequestError if the mask is unreadable, has another size than its picture, or repaints nothing.
    """
    picture = read_with_alpha(path)
    if picture.size != size:
        raise RequestError(
            f"The mask {path}",
            found=f"{picture.width} x {picture.height} pixels",
            expected=f"{size[0]} x {size[1]} pixels, the size of its initial picture",
            fix="make a mask of that size",
        )
    values = np.asarray(picture.convert("RGB").convert("L"), np.float32) / 255
    if picture.mode == "RGBA" and (alpha := np.asarray(picture.getchannel("A"))).min() < 255:
        values = (alpha > ALPHA_LIMIT).astype(np.float32)
    values = 1 - values if invert else values
    if not values.any():
        raise RequestError(
            f"The mask {path}",
            found="a mask that repaints nothing: every pixel is " + ("white, and inverted" if invert else "black"),
            expected="white pixels where the picture is to be repainted",
            fix="paint the mask, or turn it round with " + ("no --mask-invert" if invert else "--mask-invert"),
        )
    return np.asarray(values, np.float32)


def blurred(values: Mask, sigma: float) -> Mask:
    """Return values (H, W) blurred by a Gaussian of this deviation in pixels, which reaches 2.5 sigma.

    Beyond its border the array continues with its edge.
    """
    radius = int(2.5 * sigma + 0.5)
    if radius == 0:
        return values
    weights = np.exp(-0.5 * (np.arange(-radius, radius + 1) / sigma) ** 2)
    weights /= weights.sum()
    for axis in (0, 1):
        padded = np.pad(values, [(radius, radius) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=axis)
        values = (windows @ weights).astype(np.float32)
    return values


def soft_alpha(mask: Mask, sigma: float) -> Mask:
    """Return how far a repainted picture covers the original, (H, W) float32 from 0 to 1.

    It is 0 where the mask is 0, so that the original stays exactly there, and rises inside the edge of the mask. With b
    the blurred region of the mask and m the largest b nearby, the mask is weighted by (2 b - m) / m: 0 at a straight
    edge, 1 in the middle of any region, even of a single pixel.
    """
    radius = int(2.5 * sigma + 0.5)
    if radius == 0:
        return mask
    b = blurred((mask > 0).astype(np.float32), sigma)
    nearby = _largest_nearby(b, radius)
    weight = np.clip((2 * b - nearby) / np.maximum(nearby, 1e-6), 0, 1)
    return np.asarray(mask * weight, np.float32)


def _largest_nearby(values: Mask, radius: int) -> Mask:
    for axis in (0, 1):
        padded = np.pad(values, [(radius, radius) if i == axis else (0, 0) for i in (0, 1)], mode="edge")
        values = np.lib.stride_tricks.sliding_window_view(padded, 2 * radius + 1, axis=axis).max(axis=-1)
    return values


def latent_mask(mask: Mask, pixels_per_latent: int) -> Mask:
    """Return the mask of the latents (1, h, w) float32: the largest value of the mask in the pixels of each latent.

    So a mask of one pixel repaints the latent that draws it. What else this latent draws is not shown (`soft_alpha`).
    """
    height, width = (side // pixels_per_latent for side in mask.shape)
    cells = mask.reshape(height, pixels_per_latent, width, pixels_per_latent)
    return np.asarray(cells.max(axis=(1, 3))[None])


def box_around(mask: Mask, padding: int, shape: tuple[int, int]) -> tuple[int, int, int, int]:
    """Return the box (left, top, right, bottom) around all of a mask, in pixels.

    It has `padding` pixels on each side and is grown to the shape (width, height), all as far as the mask's array
    reaches: a box at the border is moved inwards.
    """
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    height, width = mask.shape
    left, right = max(0, columns[0] - padding), min(width, columns[-1] + 1 + padding)
    top, bottom = max(0, rows[0] - padding), min(height, rows[-1] + 1 + padding)
    if (right - left) * shape[1] < (bottom - top) * shape[0]:
        left, right = _grown(left, right, -(-(bottom - top) * shape[0] // shape[1]), width)
    else:
        top, bottom = _grown(top, bottom, -(-(right - left) * shape[1] // shape[0]), height)
    return int(left), int(top), int(right), int(bottom)


def _grown(low: int, high: int, length: int, limit: int) -> tuple[int, int]:
    """Return an interval grown on both sides to a length, moved inside 0 and the limit and cut there."""
    low -= (length - (high - low)) // 2
    low = max(0, min(low, limit - length))
    return low, min(limit, low + length)


def filled(picture: Image.Image, mask: Mask) -> Image.Image:
    """Return a picture whose masked pixels have the colours around them.

    Over nothing the unmasked pixels are laid again and again, blurred first very widely, then less and less, as in
    AUTOMATIC1111's WebUI.
    """
    kept = Image.fromarray(np.uint8(np.round(255 * (1 - mask))))
    unmasked = Image.new("RGBa", picture.size)
    unmasked.paste(picture.convert("RGBA").convert("RGBa"), mask=kept)
    result = Image.new("RGBA", picture.size)
    layer, before = unmasked.convert("RGBA"), None
    for radius in FILL_RADII:
        if radius != before:
            layer, before = unmasked.filter(ImageFilter.GaussianBlur(radius)).convert("RGBA"), radius
        result.alpha_composite(layer)
    return result.convert("RGB")
