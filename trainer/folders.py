"""Output folders, which must be new so that no file of a user is overwritten."""

from __future__ import annotations

from pathlib import Path

from engine.errors import RequestError
from engine.files import expect_place

__all__ = ["expect_new_folder"]


def expect_new_folder(path: Path) -> None:
    """Raise RequestError unless the path does not exist or is an empty folder, and can be written."""
    expect_place(path)
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RequestError(
            f"The output folder {path}",
            found="a folder that is not empty" if path.is_dir() else "a file",
            expected="a new or empty folder",
            fix="choose another folder",
        )
