"""The lock of a folder, which lets one process at a time write into it."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path

from engine.errors import RequestError

try:
    import fcntl
except ImportError:  # Windows has no such lock.
    fcntl = None  # type: ignore[assignment]

__all__ = ["lock_folder", "locked_folder", "locked_folder_of"]

WITHOUT_LOCKS = (errno.EBADF, errno.EINVAL, errno.ENOLCK, errno.ENOSYS, errno.ENOTSUP)
"""Errors of file systems that cannot lock a folder, such as some network drives."""


def lock_folder(folder: Path) -> int | None:
    """Lock a folder until the returned file descriptor is closed, or its process ends. Nothing is written.

    Return None on systems and network drives without such locks. Raises RequestError if another process holds the lock.
    """
    if fcntl is None:
        return None
    lock_file = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(lock_file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(lock_file)
        raise RequestError(
            f"The output folder {folder}",
            found="another process that is writing into the folder",
            expected="one process at a time",
            fix="wait for the other process, or name another folder",
        ) from None
    except OSError as error:
        os.close(lock_file)
        if error.errno not in WITHOUT_LOCKS:
            raise
        return None
    return lock_file


@contextmanager
def locked_folder(folder: Path) -> Iterator[None]:
    """Make a folder if it is missing, and lock it while the context is open.

    A folder that was made here is removed again if it is still empty at the end. Raises RequestError if another process
    holds the lock, or if the path is not a folder that can be written.
    """
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        lock_file = _make_and_lock(folder)
    except OSError as error:
        raise RequestError(
            f"The output folder {folder}",
            found="a file" if folder.is_file() else error.strerror or str(error),
            expected="a folder that can be created and written",
            fix="name another folder, or change the permissions",
        ) from error
    try:
        yield
    finally:
        with suppress(OSError):
            for path in made:
                path.rmdir()
        if lock_file is not None:
            os.close(lock_file)


@contextmanager
def locked_folder_of(path: Path) -> Iterator[None]:
    """Lock the folder of a file that will be written, if the folder exists. Raises RequestError as locked_folder."""
    with locked_folder(path.parent) if path.parent.is_dir() else nullcontext():
        yield


def _make_and_lock(folder: Path) -> int | None:
    """Make a folder and lock it, and return what `lock_folder` returns."""
    while True:
        folder.mkdir(parents=True, exist_ok=True)
        with suppress(FileNotFoundError):
            lock_file = lock_folder(folder)
            if lock_file is None or os.path.samestat(os.fstat(lock_file), folder.stat()):
                return lock_file
            os.close(lock_file)
        # Another process removed its empty folder between the two calls.
