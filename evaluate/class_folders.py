"""Folders that hold one folder of pictures per class."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from engine.errors import RequestError
from engine.pictures import class_names_of, pictures_in
from evaluate.images import PictureFolder, expect_real, open_different

__all__ = ["ClassFolders", "FolderPair", "expect_two_classes", "open_pairs"]

ClassFolders = dict[str, PictureFolder]
"""The opened folder of each class."""


@dataclass(frozen=True)
class FolderPair:
    """The real and the synthetic pictures of one class."""

    real: PictureFolder
    fake: PictureFolder


def expect_two_classes(name: str, path: Path, class_names: list[str]) -> None:
    """Raise RequestError if `path` holds the folders of fewer than two classes."""
    if len(class_names) < 2:
        raise RequestError(
            f"The {name} folder {path}",
            found=", ".join(class_names) or ("no class folder" if path.is_dir() else "no such folder"),
            expected="at least two folders of pictures, named after their classes",
            fix="name the folder that contains the class folders",
        )


def open_pairs(real: Path, fake: Path) -> tuple[dict[str, FolderPair], list[str]]:
    """Return the pairs of folders by class, and warnings about classes that only one side has.

    real, fake: two folders of pictures, or two folders that hold one folder per class. Two folders of pictures are one
    pair, named after `real`. Raises RequestError if the sides share no class, and as `open_different` and `expect_real`
    do.
    """
    both = class_names_of(real), class_names_of(fake)
    if not all(both) or any(_has_own_pictures(path) for path in (real, fake)):
        return {real.resolve().name: _open(real, fake, "")}, []
    shared = [name for name in both[0] if name in both[1]]
    if not shared:
        raise RequestError(
            f"The folders {real} and {fake}",
            found=f"the classes {', '.join(both[0])} and {', '.join(both[1])}",
            expected="at least one class that both have",
            fix="give the folders of one class the same name on both sides, or name two folders of pictures",
        )
    alone = {"REAL": sorted({*both[0]} - {*shared}), "FAKE": sorted({*both[1]} - {*shared})}
    warnings = [f"Only {side} has the classes {', '.join(names)}: left out." for side, names in alone.items() if names]
    return {name: _open(real / name, fake / name, f" {name}") for name in shared}, warnings


def _has_own_pictures(path: Path) -> bool:
    """Whether a folder has pictures directly inside. The contact sheet of `engine generate` is none of them."""
    return path.is_dir() and bool(pictures_in(path)) and not (path / "metadata.jsonl").is_file()


def _open(real: Path, fake: Path, words: str) -> FolderPair:
    opened = open_different({f"REAL{words}": real, f"FAKE{words}": fake})
    expect_real({f"REAL{words}": opened[f"REAL{words}"]})
    return FolderPair(*opened.values())
