"""Canvases: an initial picture as it is drawn on, and what becomes of the drawing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import CytosynthError
from engine.files import sha256_of
from engine.initial.masks import Mask, box_around, filled, latent_mask, read_mask, soft_alpha
from engine.initial.pictures import InitialPicture, flat_picture
from engine.initial.resize import resized
from engine.initial.settings import InitialRequest
from engine.pictures import read_with_alpha

__all__ = ["Canvas", "make_canvas"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Canvas:
    """An initial picture that was brought to the size that is drawn."""

    image: Pixels
    """What the encoder gets: (H, W, 3) RGB of the size that is drawn."""
    latent_mask: Mask | None
    """Which latents are repainted: (1, h, w) from 0 (keep) to 1. None repaints all."""
    original: Pixels
    """The picture over which the drawing is laid: (H', W', 3) RGB."""
    alpha: Mask | None
    """How far the drawing covers the original: (H', W') from 0 to 1. None covers all of it."""
    box: tuple[int, int, int, int]
    """Where in the original the drawing lies: left, top, right, bottom."""

    def compose(self, drawn: Pixels) -> Pixels:
        """Return the finished picture (H', W', 3) from the drawn one (H, W, 3). Where alpha is 0, the original stays
        byte for byte."""
        if self.alpha is None:
            return drawn
        left, top, right, bottom = self.box
        layer = self.original.astype(np.float32)
        fitted = Image.fromarray(drawn).resize((right - left, bottom - top), Image.Resampling.LANCZOS)
        layer[top:bottom, left:right] = np.asarray(fitted)
        mixed = self.original + (layer - self.original) * self.alpha[..., None]
        return np.asarray(np.round(mixed), np.uint8)


def make_canvas(
    picture: InitialPicture, request: InitialRequest, size: tuple[int, int], pixels_per_latent: int
) -> Canvas:
    """Return the canvas of an initial picture. size: width and height that are drawn.

    Raises CytosynthError if the file was changed since the request was checked.
    """
    original = _read(picture)
    mask = None
    if picture.mask is not None:
        _expect_unchanged(picture.mask, picture.mask_sha256)
        mask = read_mask(picture.mask, picture.size, invert=request.mask_invert)
    if request.inpaint_area == "masked" and mask is not None:
        return _canvas_of_area(original, mask, request, size, pixels_per_latent)
    base_size = request.base_size(size)
    mode = request.resize_mode or "stretch"
    base = resized(original, base_size, mode)
    if mask is not None:
        mask = np.asarray(resized(Image.fromarray(mask), base_size, mode, Image.Resampling.BOX))
    if not request.repaints:
        pixels = np.asarray(base)
        alpha = np.zeros(pixels.shape[:2], np.float32) if request.strength == 0 else None
        return Canvas(pixels, None, pixels, alpha, (0, 0, *size))
    whole, around = _expanded(base, mask, request, size)
    return _canvas(whole, around, request, pixels_per_latent)


def _read(picture: InitialPicture) -> Image.Image:
    _expect_unchanged(picture.path, picture.sha256)
    return flat_picture(read_with_alpha(picture.path))


def _expect_unchanged(path: Path, sha256: str | None) -> None:
    found = f"SHA-256 {sha256_of(path)}" if path.is_file() else "no such file"
    if found != f"SHA-256 {sha256}":
        raise CytosynthError(
            f"The file {path}",
            found=found,
            expected=f"SHA-256 {sha256}, as when the run began",
            fix="restore the file and run the same command again to resume",
        )


def _expanded(
    base: Image.Image, mask: Mask | None, request: InitialRequest, size: tuple[int, int]
) -> tuple[Image.Image, tuple[Mask, Mask]]:
    """Return the picture on its grown canvas, its mask, and how far the drawing covers it.

    The new strips are masked whole. Beside them two deviations of the blur of the picture are masked too, so that the
    seam is soft.
    """
    left, top, right, bottom = request.expand or (0, 0, 0, 0)
    canvas = Image.new("RGB", size)
    canvas.paste(base, (left, top))
    own = np.zeros((base.height, base.width), np.float32) if mask is None else mask
    seam = int(2 * request.mask_blur + 0.5)
    for side, part in (
        (left, np.s_[:, :seam]),
        (top, np.s_[:seam]),
        (right, np.s_[:, max(0, base.width - seam) :]),
        (bottom, np.s_[max(0, base.height - seam) :]),
    ):
        if side and seam:
            own = own.copy()
            own[part] = 1
    whole = np.ones((size[1], size[0]), np.float32)
    whole[top : top + base.height, left : left + base.width] = own
    alpha = soft_alpha(whole, request.mask_blur)
    new = np.ones_like(whole)
    new[top : top + base.height, left : left + base.width] = 0
    return canvas, (whole, np.maximum(alpha, new))


def _canvas(picture: Image.Image, masks: tuple[Mask, Mask], request: InitialRequest, pixels_per_latent: int) -> Canvas:
    mask, alpha = masks
    content = filled(picture, mask) if request.masked_content == "fill" else picture
    original = np.asarray(picture)
    alpha = np.zeros_like(alpha) if request.strength == 0 else alpha
    return Canvas(np.asarray(content), latent_mask(mask, pixels_per_latent), original, alpha, (0, 0, *picture.size))


def _canvas_of_area(
    original: Image.Image, mask: Mask, request: InitialRequest, size: tuple[int, int], pixels_per_latent: int
) -> Canvas:
    """Return the canvas that shows the surroundings of the mask, enlarged or reduced to the size that is drawn."""
    box = box_around(mask, request.mask_padding, size)
    inside = original.crop(box).resize(size, Image.Resampling.LANCZOS)
    cut = Image.fromarray(mask).crop(box)
    fitted = np.asarray(cut.resize(size, Image.Resampling.BOX))
    alpha = soft_alpha(mask, request.mask_blur) * (request.strength != 0)
    content = filled(inside, fitted) if request.masked_content == "fill" else inside
    return Canvas(np.asarray(content), latent_mask(fitted, pixels_per_latent), np.asarray(original), alpha, box)
