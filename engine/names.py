"""Names of classes, bundles and presets, which become parts of file names."""

from __future__ import annotations

import re

__all__ = ["CLASS_NAME_RULE", "is_class_name"]

CLASS_NAME_RULE = "at most 64 letters, digits, _ and -, starting with a letter or digit"


def is_class_name(name: str) -> bool:
    """Return whether a name follows CLASS_NAME_RULE."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) is not None
