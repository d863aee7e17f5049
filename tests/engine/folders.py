"""What a folder holds, as hashes."""

from __future__ import annotations

import contextlib
import hashlib
import subprocess
import time
from pathlib import Path

__all__ = ["bytes_in", "contents", "pictures", "wait_for_pictures", "without_times"]


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below, by its name there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pictures(folder: Path) -> dict[str, str]:
    """The same of the pictures alone."""
    return {name: digest for name, digest in contents(folder).items() if _is_picture(name)}


def _is_picture(name: str) -> bool:
    return name[-10:-4].isdigit()


def pictures_in(folder: Path) -> int:
    """How many there are. For a folder that is being written: opens none, since one may be renamed meanwhile."""
    return sum(_is_picture(path.name) for path in folder.rglob("*"))


def wait_for_pictures(folder: Path, count: int, process: subprocess.Popen[str]) -> None:
    """Until that many are there, the process has ended, or two minutes are over."""
    deadline = time.monotonic() + 120
    while pictures_in(folder) < count and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)


def bytes_in(folder: Path) -> int:
    """Of all files below, of a folder that is being written: what is renamed meanwhile does not count."""
    found = 0
    for path in folder.rglob("*"):
        with contextlib.suppress(FileNotFoundError):
            found += path.stat().st_size if path.is_file() else 0
    return found


def without_times(folder: Path) -> dict[str, str]:
    """The same of all but run.json, which holds times."""
    return {name: digest for name, digest in contents(folder).items() if name != "run.json"}
