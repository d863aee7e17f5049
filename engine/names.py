"""Names of classes, bundles and presets, which become parts of file names."""

from __future__ import annotations

import re
from collections.abc import Iterable

__all__ = ["CLASS_NAME_RULE", "is_class_name", "look_alikes"]

CLASS_NAME_RULE = (
    "at most 64 letters, digits, _ and -, starting with a letter or digit; not `all`, which means every class, and not "
    "a device name of Windows such as CON"
)
RESERVED = frozenset(
    ["all", "con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))]
)
"""Words that are no names, in lower case."""


def is_class_name(name: str) -> bool:
    """Return whether a name follows CLASS_NAME_RULE."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) is not None and name.lower() not in RESERVED


def look_alikes(names: Iterable[str]) -> list[str]:
    """Return names that differ only in the case of letters, which are one file on Windows and macOS; empty if none."""
    groups: dict[str, list[str]] = {}
    for name in dict.fromkeys(names):
        groups.setdefault(name.lower(), []).append(name)
    return next((group for group in groups.values() if len(group) > 1), [])
