"""`--balance`: how many pictures each class of a folder of real ones lacks."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from PIL import Image

from engine.errors import RequestError
from engine.pictures import class_names_of, is_synthetic, pictures_in

__all__ = ["missing_pictures"]


def missing_pictures(folder: Path, known: Sequence[str], chosen: Sequence[str], total: int | None) -> dict[str, int]:
    """Pictures to make, by class: what lacks to `total`, or to as many as the class with the most has.

    folder: one folder of real pictures for each class; known: the bundle's classes; chosen: those to fill, or none for
    all of the folder's. A class that lacks nothing is left out. Raises RequestError for no folder of a class, one that
    the bundle cannot make, pictures that say that they are synthetic, and a total below 1.
    """
    if total is not None and total < 1:
        raise RequestError("--n", found=str(total), expected="a number above 0", fix="change the value")
    names = class_names_of(folder)
    wanted = names if not chosen or "all" in chosen else list(dict.fromkeys(chosen))
    wrong = sorted(set(wanted) - (set(names) & set(known)))
    if wrong or not names:
        raise RequestError(
            f"--balance {folder}",
            found=f"{', '.join(names)}; wrong: {', '.join(wrong)}" if names else "no folder of a class",
            expected=f"a folder of pictures for each class, named as the bundle's: {', '.join(known)}",
            fix="rename the folders, or say with --class which ones to fill",
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
        except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise RequestError(
                f"The picture {path}", found=f"unreadable ({error})", expected="a picture", fix="take it away"
            ) from error
        if synthetic:
            raise RequestError(
                f"The picture {path}",
                found="one that says that it is synthetic",
                expected="real pictures alone, for they are what is counted",
                fix="take the synthetic ones out of the folder",
            )
    return len(pictures)
