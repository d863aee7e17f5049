"""Pictures of more than 8 bits per channel, as microscopes write them, and their conversion to 8 bits.

A deeper file does not say which of its values is white: a camera of 12 bits uses 4096 of the 65536 values of its file.
So a range of values is given: its ends become 0 and 255.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from engine.errors import RequestError
from engine.pictures import UNREADABLE, depth_beyond_bytes, expect_one_picture, open_file, read_with_alpha

__all__ = ["DepthRange", "is_deep", "measure_range", "open_picture", "read_values"]

ORIENTATION = 0x0112
RGB, WHITE_IS_ZERO, BLACK_IS_ZERO = 2, 0, 1
"""TIFF's PhotometricInterpretation."""
OPAQUE = 2
"""TIFF's ExtraSamples for an alpha channel by which the colours are not multiplied."""
LEVELS = 2**16


@dataclass(frozen=True)
class DepthRange:
    """The values that become 0 and 255. Values outside the range are clipped."""

    low: float
    high: float

    def to_eight_bits(self, values: NDArray[Any]) -> NDArray[np.uint8]:
        """Return the values in steps of (high - low) / 255, rounded: any real type -> uint8."""
        scaled = (values.astype(np.float64) - self.low) * (255 / (self.high - self.low))
        return np.asarray(np.clip(np.rint(scaled), 0, 255), np.uint8)

    def clipped_share(self, values: NDArray[Any]) -> float:
        """Return the share of the values that are outside the range."""
        return float(((values < self.low) | (values > self.high)).mean())


@dataclass(frozen=True)
class DeepPicture:
    """The values of a picture: grey (H, W) or RGB (H, W, 3) of any real type, and its alpha (H, W) uint8 or None."""

    values: NDArray[Any]
    alpha: NDArray[np.uint8] | None
    inverted: bool
    """Whether the smallest value is white."""
    orientation: int
    """EXIF's orientation, 1 to 8."""

    def as_picture(self, depth: DepthRange) -> Image.Image:
        """Return the picture as RGB or RGBA, rotated as its orientation states."""
        pixels = depth.to_eight_bits(self.values)
        if self.inverted:
            pixels = 255 - pixels
        picture = Image.fromarray(pixels).convert("RGB")
        if self.alpha is not None:
            picture.putalpha(Image.fromarray(self.alpha))
        picture.getexif()[ORIENTATION] = self.orientation
        return ImageOps.exif_transpose(picture)


def is_deep(path: Path) -> bool:
    """Return whether the channels of a picture file do not fit into 8 bits. An unreadable file is not deep."""
    try:
        with open_file(path) as picture:
            return depth_beyond_bytes(picture, path) is not None
    except UNREADABLE:
        # Pillow cannot open every deep TIFF, such as one of RGB in floating point.
        return path.suffix.lower() in (".tif", ".tiff") and _is_tiff(path)


def open_picture(path: Path, depth: DepthRange | None = None) -> Image.Image:
    """Return a picture as RGB, or as RGBA if it has an alpha channel or transparent colours.

    depth: the range of values of deep pictures. Raises RequestError as read_picture does, and for a deep picture
    without a range.
    """
    if not is_deep(path):
        return read_with_alpha(path)
    deep = read_values(path)
    if depth is None:
        low, high = deep.values.min(), deep.values.max()
        raise RequestError(
            f"The picture {path}",
            found=f"{deep.values.dtype} with values from {low:g} to {high:g}",
            expected="8 bits per channel, or the range of values that becomes 0 to 255",
            fix=f"add, for example, --depth-range {low:g} {high:g}; use one range for all pictures of a stain",
        )
    return deep.as_picture(depth)


def measure_range(paths: Iterable[Path], percentiles: tuple[float, float]) -> DepthRange | None:
    """Return the percentiles of all values of the deep pictures among these files, or None if there is none.

    All pictures share one range, so that a dark picture stays darker than a bright one. Raises RequestError for values
    that are not unsigned integers of at most 16 bits, and for percentiles that are equal.
    """
    counts = np.zeros(LEVELS, np.int64)
    for path in paths:
        if not is_deep(path):
            continue
        values = read_values(path).values
        if values.dtype not in (np.uint8, np.uint16):
            raise RequestError(
                f"The picture {path}",
                found=f"{values.dtype} values",
                expected="unsigned integers of at most 16 bits, for --depth-percentiles",
                fix="give the range itself with --depth-range",
            )
        counts += np.bincount(values.ravel(), minlength=LEVELS)
    if not counts.any():
        return None
    cumulative = counts.cumsum()
    low, high = (int(np.searchsorted(cumulative, max(1, share / 100 * cumulative[-1]))) for share in percentiles)
    if low >= high:
        raise RequestError(
            "--depth-percentiles",
            found=f"both percentiles are the value {low}",
            expected="two different values",
            fix="take percentiles that are further apart",
        )
    return DepthRange(low, high)


def read_values(path: Path) -> DeepPicture:
    """Return the values of a deep PNG or TIFF. Raises RequestError for several pages, other colours or NaN."""
    try:
        import imagecodecs
        import tifffile
    except ImportError:
        raise RequestError(
            f"The picture {path}",
            found="more than 8 bits per channel, and the packages tifffile and imagecodecs are not installed",
            expected="both packages, which read such pictures",
            fix="pip install tifffile imagecodecs, or save the picture with 8 bits per channel",
        ) from None
    try:
        if _is_tiff(path):
            found = _read_tiff(tifffile, path)
        else:
            with open_file(path) as picture:
                expect_one_picture(picture, path)
                orientation = int(picture.getexif().get(ORIENTATION, 1))
                if "transparency" in picture.info:
                    raise ValueError("a transparent colour in a deep picture")
            found = _split(imagecodecs.png_decode(path.read_bytes()), False, orientation)
    except (*UNREADABLE, imagecodecs.PngError, tifffile.TiffFileError, RuntimeError, KeyError, IndexError) as error:
        raise RequestError(
            f"The picture {path}",
            found=f"unreadable ({error})",
            expected="a PNG or TIFF with one grey or RGB picture",
            fix="save it as a 16-bit PNG, or with 8 bits per channel",
        ) from error
    if found.values.dtype.kind == "f" and not np.isfinite(found.values).all():
        raise RequestError(
            f"The picture {path}",
            found="values that are not finite",
            expected="finite values",
            fix="repair the picture in the program that made it",
        )
    return found


def _read_tiff(tifffile: Any, path: Path) -> DeepPicture:
    """Return the only page of a TIFF file. Raises ValueError for one that is neither grey nor RGB."""
    with tifffile.TiffFile(path) as file:
        pages = max(len(file.pages), int((file.imagej_metadata or {}).get("images", 1)))
        if pages > 1:
            raise ValueError(f"{pages} pages, slices or frames in one file")
        page = file.pages[0]
        extra = tuple(map(int, page.extrasamples))
        colours = {RGB: 3, WHITE_IS_ZERO: 1, BLACK_IS_ZERO: 1}.get(int(page.photometric))
        if colours is None:
            raise ValueError(f"colours of the kind {page.photometric!r}")
        if page.samplesperpixel != colours + len(extra) or extra not in ((), (OPAQUE,)):
            raise ValueError(f"{page.samplesperpixel} channels, which are not grey or RGB with or without alpha")
        values = page.asarray()
        if page.planarconfig == 2 and page.samplesperpixel > 1:
            values = np.moveaxis(values, 0, -1)
        orientation = page.tags[274].value if 274 in page.tags else 1
        return _split(values, int(page.photometric) == WHITE_IS_ZERO, int(orientation))


def _split(values: NDArray[Any], inverted: bool, orientation: int) -> DeepPicture:
    """Return the picture with its alpha apart, scaled by the whole range of its type. values: (H, W) or (H, W, 1-4)."""
    alpha = None
    if values.ndim == 3 and values.shape[-1] in (2, 4):
        if values.dtype.kind != "u":
            raise ValueError(f"an alpha channel of {values.dtype}")
        alpha = DepthRange(0, float(np.iinfo(values.dtype).max)).to_eight_bits(values[..., -1])
        values = values[..., :-1]
    if values.ndim == 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[-1] != 3) or values.dtype.kind not in "uif":
        raise ValueError(f"{values.dtype} values of the shape {values.shape}")
    return DeepPicture(values, alpha, inverted, orientation)


def _is_tiff(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
