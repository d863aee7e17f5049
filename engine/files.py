"""Writing files so that they are always whole or absent, and files that are not the user's."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from engine.errors import RequestError

__all__ = [
    "contents_of",
    "expect_folder_of",
    "expect_new_file",
    "expect_place",
    "expect_readable_name",
    "expect_task_folder",
    "is_hidden",
    "is_system_file",
    "read_task",
    "replace_file",
    "replace_folder",
    "sha256_of",
    "write_json",
    "write_text",
]

SYSTEM_FILES = frozenset(
    (
        "$recycle.bin",
        ".directory",
        ".ds_store",
        ".fseventsd",
        ".localized",
        ".spotlight-v100",
        ".temporaryitems",
        ".trashes",
        "@eadir",
        "__macosx",
        "desktop.ini",
        "ehthumbs.db",
        "icon\r",
        "system volume information",
        "thumbs.db",
    )
)
"""Names, in lower case, of files and folders that macOS, Windows, KDE and Synology leave in the folders of a user."""
NAME_BYTES = 240
"""Largest number of bytes of a name to write. File systems take 255, and temporary neighbours have longer names."""


def is_system_file(name: str) -> bool:
    """Return whether the operating system made the file or folder with this name, as Finder makes .DS_Store.

    Files that begin with "._" hold what macOS cannot store in a file of a foreign file system.
    """
    return name.startswith("._") or name.lower() in SYSTEM_FILES


def is_hidden(name: str) -> bool:
    """Return whether a folder's listing hides this name, or the operating system made the file."""
    return name.startswith(".") or is_system_file(name)


def contents_of(folder: Path) -> list[Path]:
    """Return what is in a folder, sorted by name, without the files of the operating system."""
    return sorted(path for path in folder.iterdir() if not is_system_file(path.name))


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


def expect_new_file(path: Path) -> None:
    """Raise RequestError unless a file can be written that does not exist yet."""
    if path.exists():
        raise RequestError(f"The file {path}", found="an existing file", expected="a new file", fix="name another file")
    expect_folder_of(path)


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
    path = path.absolute()
    part = path.with_name(path.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    try:
        part.mkdir(parents=True)
        yield part
        try:
            os.replace(part, path)
        except OSError:  # `path` is a mount point or holds a file of the operating system such as .DS_Store
            for file in part.iterdir():
                shutil.move(file, path / file.name)
            part.rmdir()
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def read_task(folder: Path, record: str) -> dict[str, Any] | None:
    """Return the JSON file `record` in a folder, which a task on pictures wrote, or None if there is no such file.

    The entry `pictures` of the record maps the names of the pictures to their hashes.
    """
    try:
        found = json.loads((folder / record).read_text(encoding="utf-8"))
        return found if isinstance(found["pictures"], dict) else None
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return None


def expect_task_folder(folder: Path, record: str, identity: Mapping[str, Any], *, others: str, overwrite: bool) -> None:
    """Raise RequestError unless a task may write its files into a folder.

    Args:
        folder: The output folder: new, empty, or with the files of the same task, which is resumed.
        record: Name of the JSON file in the folder that holds the identity of its task.
        identity: What must be equal to resume a task, as plain JSON values.
        others: What the folder holds if it is of another task, in words.
        overwrite: Whether the files of another task may be replaced.
    """
    before = read_task(folder, record)
    names = [path.name for path in contents_of(folder)] if folder.is_dir() else []
    if names and before is None:
        found = f"files of something else, such as {names[0]}"
    elif before is not None and before != identity and not overwrite:
        found = others
    else:
        return
    raise RequestError(
        f"The output folder {folder}",
        found=found,
        expected="a new or empty folder, or the same task to resume",
        fix="name another folder with --out" + (", or add --overwrite" if before is not None else ""),
    )


def write_text(path: Path, text: str) -> None:
    """Replace a file by UTF-8 text."""
    with replace_file(path) as part:
        part.write_text(text, encoding="utf-8")


def write_json(path: Path, value: dict[str, Any]) -> None:
    """Replace a file by indented JSON."""
    write_text(path, json.dumps(value, indent=2, ensure_ascii=False) + "\n")
