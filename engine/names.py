"""What a class may be called: it becomes part of file names."""

from __future__ import annotations

import re

__all__ = ["CLASS_NAME_RULE", "is_class_name"]

CLASS_NAME_RULE = "letters, digits, _ and -, at most 64, the first a letter or digit"


def is_class_name(name: str) -> bool:
    """Whether a name keeps CLASS_NAME_RULE."""
    return re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}", name) is not None
