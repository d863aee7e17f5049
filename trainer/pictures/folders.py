"""Folders of pictures: `ROOT/<class>/*` or one folder of one class."""

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
    """Map each class to its sorted picture files. Raises RequestError where there is none."""
    if not root.is_dir():
        raise RequestError(
            f"The picture folder {root}",
            found="no such folder" if not root.exists() else "a file",
            expected="a folder of pictures, or one with a sub-folder for each class",
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
            expected="either pictures, or a sub-folder for each class",
            fix="move the pictures into a class's folder, or out",
        )
    for name, files in classes.items():
        if files and not is_class_name(name):
            raise RequestError(
                f"The picture folder {root}, class {name}",
                found="a name that cannot stand in file names everywhere",
                expected=CLASS_NAME_RULE,
                fix="rename the folder",
            )
        if not files and len(classes) > 1:
            raise RequestError(
                f"The picture folder {root / name}",
                found="no picture in it",
                expected=f"files that end in {', '.join(SUFFIXES)}",
                fix="put the class's pictures there, or remove the folder",
            )
    if not any(classes.values()):
        raise RequestError(
            f"The picture folder {root}",
            found="no picture in it or in its sub-folders",
            expected=f"files that end in {', '.join(SUFFIXES)}",
            fix="put the pictures there, or name the folder that holds them",
        )
    return classes


def open_picture(path: Path) -> Image.Image:
    """A whole picture as RGB, or RGBA where it has transparency. Raises RequestError, as read_picture does."""
    picture = read_picture(path)
    with Image.open(path) as opened:
        if "A" in opened.getbands():
            picture.putalpha(ImageOps.exif_transpose(opened).getchannel("A"))
    return picture


def centre_square(picture: Image.Image, size: int | None, crop: float = 1.0) -> NDArray[np.uint8]:
    """Cut the centre square (`crop` of the shorter side, in (0, 1]) and resize it; `size` None keeps its pixels.

    Returns (size, size, 3) uint8 RGB, or 4 with transparency. Resampling is Lanczos with its support widened when
    shrinking.
    """
    if size is None:
        whole = max(1, int(crop * min(picture.size)))
        corner = ((picture.width - whole) // 2, (picture.height - whole) // 2)
        return np.asarray(picture.crop((*corner, corner[0] + whole, corner[1] + whole)))
    side = crop * min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    return np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS, box=box))
