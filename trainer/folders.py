"""Output folders: nothing of anyone's is written over."""

from __future__ import annotations

from pathlib import Path

from engine.errors import RequestError

__all__ = ["expect_new_folder"]


def expect_new_folder(path: Path) -> None:
    """Raise RequestError unless the path is free or an empty folder."""
    if path.exists() and (not path.is_dir() or any(path.iterdir())):
        raise RequestError(
            f"The output folder {path}",
            found="something in it" if path.is_dir() else "a file",
            expected="a new or empty folder",
            fix="name another",
        )
