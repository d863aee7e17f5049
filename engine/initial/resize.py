"""Resizing of initial pictures and masks to the size that is drawn."""

from __future__ import annotations

from PIL import Image

__all__ = ["RESIZE_MODES", "fits", "resized"]

RESIZE_MODES = ("stretch", "crop", "fill")


def fits(size: tuple[int, int], target: tuple[int, int]) -> bool:
    """Return whether every resize mode does the same: a picture of this (width, height) has the target's shape."""
    return size[0] * target[1] == size[1] * target[0]


def resized(
    picture: Image.Image,
    target: tuple[int, int],
    mode: str,
    filter_: Image.Resampling = Image.Resampling.LANCZOS,
) -> Image.Image:
    """Return a picture at the target's (width, height).

    `stretch` scales both sides. `crop` covers the target and keeps the centre. `fill` fits into the target and
    stretches the outermost row or column over the bands beside it. Integer arithmetic as in AUTOMATIC1111's WebUI.
    """
    if picture.size == target:
        return picture
    width, height = picture.size
    if mode == "stretch" or fits(picture.size, target):
        return picture.resize(target, filter_)
    wide = width * target[1] > height * target[0]
    # The side that decides the scale: the shorter one covers the target, the longer one fits into it.
    by_height = wide if mode == "crop" else not wide
    side = (width * target[1] // height, target[1]) if by_height else (target[0], height * target[0] // width)
    scaled = picture.resize((max(1, side[0]), max(1, side[1])), filter_)
    left, top = target[0] // 2 - scaled.width // 2, target[1] // 2 - scaled.height // 2
    canvas = Image.new(picture.mode, target)
    canvas.paste(scaled, (left, top))
    if mode == "fill":
        _stretch_edges(canvas, scaled, left, top)
    return canvas


def _stretch_edges(canvas: Image.Image, scaled: Image.Image, left: int, top: int) -> None:
    """Fill the bands beside a pasted picture with its outermost row or column."""
    width, height = scaled.size
    right, bottom = canvas.width - left - width, canvas.height - top - height
    bands = (
        ((0, 0, 1, height), (left, canvas.height), (0, 0)),
        ((width - 1, 0, width, height), (right, canvas.height), (left + width, 0)),
        ((0, 0, width, 1), (canvas.width, top), (0, 0)),
        ((0, height - 1, width, height), (canvas.width, bottom), (0, top + height)),
    )
    for box, size, place in bands:
        if min(size) > 0:
            canvas.paste(scaled.crop(box).resize(size, Image.Resampling.NEAREST), place)
