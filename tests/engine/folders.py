"""Hashes and counts of the files in a folder."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import time
from pathlib import Path

__all__ = ["bytes_in", "contents", "pictures", "wait_for_pictures", "without_times"]


def contents(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file in a folder, by relative path."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pictures(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every picture in a folder, by relative path."""
    return {name: digest for name, digest in contents(folder).items() if _is_picture(name)}


def _is_picture(name: str) -> bool:
    return name[-10:-4].isdigit()


def pictures_in(folder: Path) -> int:
    """Return the number of pictures. No file is opened, because a running process may rename it."""
    return sum(_is_picture(path.name) for path in folder.rglob("*"))


def wait_for_pictures(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Wait until the folder holds `count` pictures, the process has ended, or two minutes have passed."""
    deadline = time.monotonic() + 120
    while pictures_in(folder) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def bytes_in(folder: Path) -> int:
    """Return the size of all files in a folder. Files that a running process renames meanwhile do not count."""
    found = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found += path.stat().st_size if path.is_file() else 0
    return found


def without_times(folder: Path) -> dict[str, str]:
    """Return the SHA-256 of every file except run.json, which holds times."""
    return {name: digest for name, digest in contents(folder).items() if name != "run.json"}
