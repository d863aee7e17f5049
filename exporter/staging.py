"""A changed bundle is made in a temporary folder, which then replaces the bundle."""

from __future__ import annotations

import filecmp
import os
import shutil
from pathlib import Path

__all__ = ["exchange", "take_along"]


def take_along(out: Path, staging: Path, dropped: set[str]) -> None:
    """Link the unchanged files of an existing bundle into the staged folder, so that it becomes a complete bundle."""
    for path in out.iterdir() if out.exists() else ():
        target = staging / path.name
        if not path.is_file() or path.name in dropped:
            continue
        if target.exists() and not filecmp.cmp(path, target, shallow=False):
            continue
        target.unlink(missing_ok=True)
        try:
            os.link(path, target)
        except OSError:  # the file system has no links
            shutil.copy2(path, target)


def exchange(staging: Path, out: Path, old: Path) -> None:
    """Replace `out` by the staged bundle and keep its plans. After an error the old bundle is in place. After a kill
    between the two renames the old bundle is complete in the temporary folder `old`."""
    if not out.exists():
        staging.rename(out)
        return
    out.rename(old)
    try:
        staging.rename(out)
    except OSError:
        old.rename(out)
        raise
    for path in old.iterdir():
        if path.is_dir():
            path.rename(out / path.name)
