"""Folders of pictures: `ROOT/<class>/*`, or one folder for one class."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from engine.errors import RequestError
from engine.files import is_hidden
from engine.names import CLASS_NAME_RULE, is_class_name, look_alikes
from engine.pictures import SUFFIXES, class_names_of, pictures_in, strangers_in

__all__ = ["centre_square", "expect_names", "expect_one_class", "find_pictures"]

NAMED = 5
"""Largest number of files that an error names."""


def find_pictures(root: Path) -> dict[str, list[Path]]:
    """Return the sorted picture files of each class, without hidden files.

    Raises RequestError if there are none, and if a picture would be left out: beside the folders of classes, in a
    folder inside a class, or in a file with an unknown ending. The name of a folder that holds the pictures
    themselves is not checked, because a command may name the class itself.
    """
    if not root.is_dir():
        raise RequestError(
            f"The picture folder {root}",
            found="no such folder" if not root.exists() else "a file",
            expected="a folder of pictures, or a folder with one subfolder per class",
            fix="check the path",
        )
    loose = pictures_in(root)
    classes = {name: pictures_in(root / name) for name in class_names_of(root)}
    if not any(classes.values()):
        _expect_nothing_left_out(root)
        classes = {root.resolve().name: loose}
    elif loose:
        raise RequestError(
            f"The picture folder {root}",
            found=f"{loose[0].name} beside folders of pictures, such as {next(filter(classes.get, classes))}",
            expected="either pictures, or one subfolder per class",
            fix="move the pictures into the folder of a class, or out of this folder",
        )
    else:
        _expect_known_endings(root)
        for name in classes:
            _expect_nothing_left_out(root / name)
        expect_names(root, classes)
    for name, files in classes.items():
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


def _expect_known_endings(folder: Path) -> None:
    """Raise RequestError if a folder holds files that may be pictures of a format that is not read."""
    if strangers := [path.name for path in strangers_in(folder)]:
        more = f" and {len(strangers) - NAMED} more" if len(strangers) > NAMED else ""
        raise RequestError(
            f"The picture folder {folder}",
            found=("" if pictures_in(folder) else "no picture, and ")
            + f"files that are not read: {', '.join(strangers[:NAMED])}{more}",
            expected=f"pictures that end in {', '.join(SUFFIXES)}, and captions",
            fix="convert these files to PNG, or move them out of the folder",
        )


def _expect_nothing_left_out(folder: Path) -> None:
    """Raise RequestError if the folder of a class holds files of other formats, or pictures in deeper folders."""
    _expect_known_endings(folder)
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder).parts
        if len(inside) > 1 and path.suffix.lower() in SUFFIXES and not any(map(is_hidden, inside)):
            raise RequestError(
                f"The picture folder {folder}",
                found=f"the picture {'/'.join(inside)} in a folder inside the folder of a class",
                expected="the pictures of a class directly in its folder",
                fix=f"move the pictures of {inside[0]} up into {folder}, or out of it",
            )


def expect_names(root: Path, classes: dict[str, list[Path]]) -> None:
    """Raise RequestError for a class name that is not allowed, or that some systems confuse with another."""
    for name, files in classes.items():
        if files and not is_class_name(name):
            raise RequestError(
                f"The picture folder {root}, class {name}",
                found="a name that is not allowed in file names on all systems",
                expected=CLASS_NAME_RULE,
                fix="rename the folder",
            )
    if alike := look_alikes(classes):
        raise RequestError(
            f"The picture folder {root}",
            found=f"the classes {' and '.join(alike)}, which are one folder on macOS and Windows",
            expected="names that differ in more than upper and lower case",
            fix="rename one of the folders",
        )


def expect_one_class(folder: Path) -> None:
    """Raise RequestError that names the folders of classes if `folder` holds them instead of pictures."""
    names = [name for name in class_names_of(folder) if pictures_in(folder / name)]
    if names and not pictures_in(folder):
        raise RequestError(
            f"The picture folder {folder}",
            found=f"{'the folder' if len(names) == 1 else 'folders'} of {', '.join(names)} in it, and no picture",
            expected="the prepared pictures of one class",
            fix=f"name one of its folders, such as {folder / names[0]}",
        )


def centre_square(picture: Image.Image, size: int | None, crop: float = 1.0) -> NDArray[np.uint8]:
    """Return the centre square, resized to (size, size, 3) uint8 RGB, or 4 channels with an alpha channel.

    The side of the square is `crop` times the shorter side, with crop in (0, 1]. If `size` is None, the square keeps
    its pixels. Lanczos resampling widens its support when it shrinks a picture. The alpha channel is resampled on its
    own, because `fit` trains on the colours of transparent pixels, too.
    """
    if size is None:
        whole = max(1, int(crop * min(picture.size)))
        corner = ((picture.width - whole) // 2, (picture.height - whole) // 2)
        return np.asarray(picture.crop((*corner, corner[0] + whole, corner[1] + whole)))
    side = crop * min(picture.size)
    left, top = (picture.width - side) / 2, (picture.height - side) / 2
    box = (left, top, left + side, top + side)
    parts = [picture.convert("RGB"), picture.getchannel("A")] if picture.mode == "RGBA" else [picture]
    return np.dstack([np.asarray(part.resize((size, size), Image.Resampling.LANCZOS, box=box)) for part in parts])
