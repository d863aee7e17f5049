"""Folders that hold one folder of pictures per class."""

from __future__ import annotations

from pathlib import Path

from engine.errors import RequestError
from evaluate.images import PictureFolder

__all__ = ["ClassFolders", "expect_two_classes"]

ClassFolders = dict[str, PictureFolder]
"""The opened folder of each class."""


def expect_two_classes(name: str, path: Path, class_names: list[str]) -> None:
    """Raise RequestError if `path` holds the folders of fewer than two classes."""
    if len(class_names) < 2:
        raise RequestError(
            f"The {name} folder {path}",
            found=", ".join(class_names) or ("no class folder" if path.is_dir() else "no such folder"),
            expected="at least two folders of pictures, named after their classes",
            fix="name the folder that contains the class folders",
        )
