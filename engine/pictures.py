"""Decoding a picture file, or saying what is wrong with it."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from engine.errors import RequestError

__all__ = ["PNG_KEY", "SUFFIXES", "class_names_of", "is_synthetic", "pictures_in", "read_picture"]

PNG_KEY = "cytosynth"
"""The PNG text chunk that says that a picture is synthetic, and holds its description as JSON."""
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""How the name of a picture file ends."""


def class_names_of(root: Path) -> list[str]:
    """The names of the folders in `root`, sorted, without hidden ones; none where it is no folder."""
    if not root.is_dir():
        return []
    return sorted(inner.name for inner in root.iterdir() if inner.is_dir() and not inner.name.startswith("."))


def pictures_in(folder: Path) -> list[Path]:
    """The picture files directly in a folder, sorted by name."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)


def is_synthetic(picture: Image.Image) -> bool:
    """Whether an opened picture says that it is synthetic, as those of `engine generate` do. Decodes a PNG, whose texts
    may stand behind the pixels; raises what Pillow does."""
    if picture.format == "PNG":
        picture.load()
    return PNG_KEY in picture.info


def read_picture(path: Path) -> Image.Image:
    """Decode a whole picture as RGB, turned as its camera says; transparency is dropped.

    Raises RequestError for a truncated or foreign file, and for one of more than 8 bits a channel in greyscale.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode[0] in "IF":
                raise ValueError(f"its {picture.mode} pixels have no defined white")
            return ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RequestError(
            f"The picture {path}",
            found=f"unreadable ({error})",
            expected="a whole picture file of 8 bits a channel",
            fix="replace or convert it, or take it out of the folder",
        ) from error
