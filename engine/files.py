"""Writing files so that they are always whole or absent."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import RequestError

__all__ = [
    "expect_folder_of",
    "expect_place",
    "expect_readable_name",
    "replace_file",
    "replace_folder",
    "sha256_of",
    "write_json",
    "write_text",
]

NAME_BYTES = 240
"""Largest number of bytes of a name to write. File systems take 255, and temporary neighbours have longer names."""


def sha256_of(path: Path) -> str:
    """Return the SHA-256 of a file. The file is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def expect_readable_name(path: Path) -> None:
    """Raise RequestError if the name of a file or folder has bytes that are no UTF-8, so that no record can hold it."""
    try:
        str(path).encode()
    except UnicodeEncodeError:
        raise RequestError(
            f"The file name {path.name!a} in {str(path.parent)!a}",
            found="bytes that are no UTF-8, for example from an archive of an old system",
            expected="a name in UTF-8",
            fix="rename the file or folder (`convmv` renames many)",
        ) from None


def expect_place(path: Path) -> None:
    """Raise RequestError unless a file or folder can be made at `path`: its names fit, and its folder is writable.

    Folders on the way that do not exist yet count as writable.
    """
    expect_readable_name(path)
    for name in path.parts:
        if len(name.encode()) > NAME_BYTES or "\0" in name:
            found = "a NUL byte" if "\0" in name else f"a name of {len(name.encode())} bytes"
            raise RequestError(
                f"The path {str(path)[:40]!a}...",
                found=found,
                expected=f"names of at most {NAME_BYTES} bytes",
                fix="choose a shorter name",
            )
    if path.exists() and not path.is_file() and not path.is_dir():
        raise RequestError(
            f"The path {path}", found="a device or a pipe", expected="a file or folder", fix="name another place"
        )
    existing = next(one for one in path.absolute().parents if one.exists() or one.is_symlink())
    if not existing.is_dir() or not os.access(existing, os.W_OK | os.X_OK):
        raise RequestError(
            f"The path {path}",
            found=f"{existing}, which is {'not writable' if existing.is_dir() else 'not a folder'}",
            expected="a place in a writable folder",
            fix="name another place, or change the permissions",
        )


def expect_folder_of(path: Path) -> None:
    """Raise RequestError unless the folder of a file that will be written exists, and the path is no folder itself."""
    expect_place(path)
    if path.is_dir():
        raise RequestError(f"The file {path}", found="a folder", expected="a file to write", fix="name a file")
    if not path.parent.is_dir():
        raise RequestError(
            f"The file {path}", found=f"no folder {path.parent}", expected="an existing folder", fix="create the folder"
        )


@contextmanager
def replace_file(path: Path) -> Iterator[Path]:
    """Yield a temporary path beside `path`. It replaces `path` if the block succeeds, and is removed if it fails."""
    if path.exists() and not path.is_file():
        # A rename would put a file in place of a device such as /dev/null.
        raise RequestError(f"The path {path}", found="no regular file", expected="a file to write", fix="name a file")
    part = path.with_name(path.name + ".part")
    try:
        yield part
        os.replace(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


@contextmanager
def replace_folder(path: Path) -> Iterator[Path]:
    """Yield a new temporary folder beside `path`, which must be new or empty. It becomes `path` if the block succeeds.

    If the block fails, the temporary folder is removed, so that the same command can run again.
    """
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        if path.is_dir():
            path.rmdir()
        os.replace(part, path)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def write_text(path: Path, text: str) -> None:
    """Replace a file by UTF-8 text."""
    with replace_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a file by indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
