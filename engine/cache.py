"""The user's cache, which keeps compiled graphs and other files between runs.

A file of the cache decides what later runs compute, so it is checked before it is used.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.files import replace_file

__all__ = ["cache_folder", "cached_file", "read_cached", "write_cached"]

HEADER_BYTES = 64
"""Bytes before the content: the SHA-256 of key and content in hexadecimal."""
MOST_BYTES = 4 * 2**30
"""Size of one folder of the cache above which files are removed that no run has used for KEPT_S."""
KEPT_S = 7 * 24 * 3600


def cache_folder(name: str) -> Path | None:
    """Return the folder `cytosynth/<name>` in the user's cache, and make it. Return None if it cannot be written."""
    root = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    try:
        folder = (Path(root) if root else Path.home() / ".cache") / "cytosynth" / name
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError, ValueError):
        return None
    return folder if os.access(folder, os.W_OK) else None


def cached_file(name: str, key: Iterable[str]) -> Path | None:
    """Return the file of the cache folder `name` for a key, whether it exists or not. None if there is no cache.

    key: everything that decides the content, such as the graph's digest, the library's version and the processor.
    """
    folder = cache_folder(name)
    return folder and folder / f"{hashlib.sha256(repr([*key]).encode()).hexdigest()}.cache"


def read_cached(path: Path | None) -> NDArray[np.uint8] | None:
    """Return the content that `write_cached` wrote, (N,) uint8. Return None if the file is missing or damaged.

    The content is mapped into memory, read-only, so that a large file is not held twice.
    """
    if path is None:
        return None
    try:
        mapped = np.memmap(path, np.uint8, "r")
    except (OSError, ValueError):  # an empty file cannot be mapped
        return None
    content = mapped[HEADER_BYTES:]
    if mapped[:HEADER_BYTES].tobytes() != _header(path, content.data):
        return None
    with suppress(OSError):
        os.utime(path)
    return content


def write_cached(path: Path | None, content: bytes | memoryview) -> None:
    """Write a file of the cache, and make room. A cache that cannot be written costs time later and is no failure."""
    if path is not None:
        with suppress(OSError, RequestError):
            with replace_file(path) as part, part.open("wb") as file:
                file.write(_header(path, content))
                file.write(content)
            _make_room(path.parent)


def _make_room(folder: Path) -> None:
    """Remove the files that were used longest ago, until the folder is small or all others were used lately."""
    files = [(file.stat().st_mtime, file.stat().st_size, file) for file in folder.glob("*.cache") if file.is_file()]
    total = sum(size for _, size, _ in files)
    for used, size, file in sorted(files):
        if total <= MOST_BYTES or used > time.time() - KEPT_S:
            return
        file.unlink(missing_ok=True)
        total -= size


def _header(path: Path, content: bytes | memoryview) -> bytes:
    """Return the digest of a content under its key. A file that is renamed to another key does not pass."""
    digest = hashlib.sha256(path.name.encode())
    digest.update(content)
    return digest.hexdigest().encode()
