"""Picture files: finding, decoding, and recognising synthetic pictures."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageOps

from engine.errors import RequestError
from engine.files import expect_readable_name

__all__ = ["PNG_KEY", "SUFFIXES", "class_names_of", "is_synthetic", "pictures_in", "read_picture"]

PNG_KEY = "cytosynth"
"""The PNG text chunk that marks a picture as synthetic and holds its description as JSON."""
SUFFIXES = (".bmp", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp")
"""File name endings of pictures."""


def class_names_of(root: Path) -> list[str]:
    """Return the sorted names of the folders in `root`, without hidden folders, or [] if `root` is no folder."""
    if not root.is_dir():
        return []
    return sorted(inner.name for inner in root.iterdir() if inner.is_dir() and not inner.name.startswith("."))


def pictures_in(folder: Path) -> list[Path]:
    """Return the picture files directly in a folder, sorted by name. Raises RequestError for a name not in UTF-8."""
    found = sorted(path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES)
    for path in found:
        expect_readable_name(path)
    return found


def is_synthetic(picture: Image.Image) -> bool:
    """Return whether an opened picture is marked as synthetic, as the pictures of `engine generate` are.

    A PNG is decoded, because its texts may follow the pixels. Raises the exceptions of Pillow.
    """
    if picture.format == "PNG":
        picture.load()
    return PNG_KEY in picture.info


def read_picture(path: Path) -> Image.Image:
    """Return a picture as RGB, rotated as its EXIF orientation states. Transparency is dropped.

    Raises RequestError for a truncated or foreign file, and for greyscale of more than 8 bits per channel.
    """
    try:
        with Image.open(path) as picture:
            if picture.mode[0] in "IF":
                raise ValueError(f"pixels of mode {picture.mode} have no defined white")
            return ImageOps.exif_transpose(picture).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise RequestError(
            f"The picture {path}",
            found=f"unreadable ({error})",
            expected="an intact picture file with 8 bits per channel",
            fix="replace or convert the file, or remove it from the folder",
        ) from error
