"""Output folders, which must be new so that no file of a user is overwritten."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from engine.errors import RequestError
from engine.files import contents_of, expect_place, replace_folder
from engine.locks import locked_folder

__all__ = ["expect_new_folder", "new_folder"]


def expect_new_folder(path: Path) -> None:
    """Raise RequestError unless the path does not exist or is an empty folder, and can be written.

    Files of the operating system, such as .DS_Store, do not count.
    """
    expect_place(path)
    if path.exists() and (not path.is_dir() or contents_of(path)):
        raise RequestError(
            f"The output folder {path}",
            found=f"a folder that is not empty: {contents_of(path)[0].name}" if path.is_dir() else "a file",
            expected="a new or empty folder",
            fix="choose another folder",
        )


@contextmanager
def new_folder(path: Path) -> Iterator[Path]:
    """Yield a temporary folder that becomes `path` if the block succeeds, and is removed if it fails.

    The folder is locked against other processes while the context is open. Raises RequestError unless the path does not
    exist or is an empty folder, and if another process holds the lock.
    """
    expect_new_folder(path)
    with locked_folder(path):
        # Another process may have filled the folder since the first check.
        expect_new_folder(path)
        with replace_folder(path) as part:
            yield part
