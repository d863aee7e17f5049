"""`engine generate --balance`: how many pictures each class of a real data set lacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from engine.errors import RequestError
from engine.pictures import UNREADABLE, class_names_of, is_synthetic, pictures_in

__all__ = ["missing_pictures"]


def missing_pictures(folder: Path, known: Sequence[str], chosen: Sequence[str], total: int | None) -> dict[str, int]:
    """Return the number of pictures to make, by class. Complete classes are omitted.

    Args:
        folder: Folder with one folder of real pictures per class.
        known: Classes of the bundle.
        chosen: Classes to fill. An empty list, or "all", fills every class of the folder.
        total: Wanted number of real and synthetic pictures per class (default: that of the largest class).

    Raises RequestError if the folder holds no class or a class that the bundle cannot make, if a picture is synthetic,
    and for a total below 1.
    """
    if total is not None and total < 1:
        raise RequestError("--n", found=str(total), expected="a number above 0", fix="change the value")
    names = class_names_of(folder)
    wanted = names if not chosen or "all" in chosen else list(dict.fromkeys(chosen))
    wrong = sorted(set(wanted) - (set(names) & set(known)))
    if wrong or not names:
        raise RequestError(
            f"--balance {folder}",
            found=f"{', '.join(names)}; wrong: {', '.join(wrong)}" if names else "no folder for a class",
            expected=f"a folder of pictures for each class, named like the classes of the bundle: {', '.join(known)}",
            fix="rename the folders, or name the classes to fill with --class",
        )
    counts = {name: _count(folder / name) for name in names}
    target = max(counts[name] for name in wanted) if total is None else total
    return {name: target - counts[name] for name in wanted if counts[name] < target}


def _count(folder: Path) -> int:
    pictures = pictures_in(folder)
    for path in pictures:
        try:
            with Image.open(path) as picture:
                synthetic = is_synthetic(picture)
        except UNREADABLE as error:
            raise RequestError(
                f"The picture {path}", found=f"unreadable ({error})", expected="a picture", fix="remove the file"
            ) from error
        if synthetic:
            raise RequestError(
                f"The picture {path}",
                found="a synthetic picture",
                expected="only real pictures, because these are counted",
                fix="remove the synthetic pictures from the folder",
            )
    return len(pictures)
