"""What a record says about the software that made it: the commit, and the versions of libraries."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable
from contextlib import suppress
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

__all__ = ["commit_here", "versions_of"]


def versions_of(names: Iterable[str]) -> dict[str, str]:
    """Return the versions of the installed packages among these."""
    found = {}
    for name in names:
        with suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def commit_here() -> str:
    """Return the commit of the checkout, with "-dirty" if files were changed, or "unknown" outside a checkout."""
    command = ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    except OSError:
        return "unknown"
    return done.stdout.strip() or "unknown"
