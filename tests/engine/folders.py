"""What a folder holds, as hashes."""

from __future__ import annotations

import hashlib
from pathlib import Path

__all__ = ["contents", "pictures", "without_times"]


def contents(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below, by its name there."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def pictures(folder: Path) -> dict[str, str]:
    """The same of the pictures alone."""
    return {name: digest for name, digest in contents(folder).items() if name[-10:-4].isdigit()}


def without_times(folder: Path) -> dict[str, str]:
    """The same of all but run.json, which holds times."""
    return {name: digest for name, digest in contents(folder).items() if name != "run.json"}
