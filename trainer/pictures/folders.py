"""Folders of pictures: `ROOT/<class>/*`, or one folder for one class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from engine.errors import RequestError
from engine.names import CLASS_NAME_RULE, is_class_name
from engine.pictures import SUFFIXES, pictures_in, read_picture

__all__ = ["centre_square", "find_pictures", "open_picture"]


def find_pictures(root: Path) -> dict[str, list[Path]]:
    """Return the sorted picture files of each class. Raises RequestError if there are none."""
    if not root.is_dir():
        raise RequestError(
            f"The picture folder {root}",
            found="no such folder" if not root.exists() else "a file",
            expected="a folder of pictures, or a folder with one subfolder per class",
            fix="check the path",
        )
    folders = sorted(entry for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    loose = pictures_in(root)
    classes = {folder.name: pictures_in(folder) for folder in folders}
    if not any(classes.values()):
        classes = {root.resolve().name: loose}
    elif loose:
        raise RequestError(
            f"The picture folder {root}",
            found=f"{loose[0].name} beside folders of pictures",
            expected="either pictures, or one subfolder per class",
            fix="move the pictures into the folder of a class, or out of this folder",
        )
    for name, files in classes.items():
        if files and not is_class_name(name):
            raise RequestError(
                f"The picture folder {root}, class {name}",
                found="a name that is not allowed in file names on all systems",
                expected=CLASS_NAME_RULE,
                fix="rename the folder",
            )
        if not files and len(classes) > 1:
            raise RequestError(
                f"The picture folder {root / name}",
                found="no picture in this folder",
                expected=f"files that end in {', '.join(SUFFIXES)}",
                fix="put the pictures of the class there, or remove the folder",
            )
    if not any(classes.values()):
        raise RequestError(
            f"The picture folder {root}",
            found="no picture in this folder or its subfolders",
            expected=f"files that end in {', '.join(SUFFIXES)}",
            fix="put the pictures there, or use the folder that contains them",
        )
    return classes


def open_picture(path: Path) -> Image.Image:
    """Return a picture as RGB, or as RGBA if it has an alpha channel. Raises RequestError as read_picture does."""
    picture = read_picture(path)
    with Image.open(path) as opened:
        if "A" in opened.getbands():
            picture.putalpha(ImageOps.exif_transpose(opened).getchannel("A"))
    return picture


def centre_square(picture: Image.Image, size: int | None, crop: float = 1.0) -> NDArray[np.uint8]:
    """Return the centre square, resized to (size, size, 3) uint8 RGB, or 4 channels with an alpha channel.

    The side of the square is `crop` times the shorter side, with crop in (0, 1]. If `size` is None, the square keeps
    its pixels. Lanczos resampling widens its support when it shrinks a picture.
    """
    if size is None:
        whole = max(1, int(crop * min(picture.size)))
        corner = ((picture.width - whole) // 2, (picture.height - whole) // 2)
        return np.asarray(picture.crop((*corner, corner[0] + whole, corner[1] + whole)))
    side = crop * min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS, box=box))
