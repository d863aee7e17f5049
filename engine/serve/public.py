"""What leaves the server as text: nothing of its file system."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

__all__ = ["without_folders"]

FOLDER = re.compile(r"(?<![\w.])(?:/[^\s/:,]+)+/")
"""The folders of an absolute path."""
BEFORE, AFTER = r"(?<![\w./-])", r"(?![\w.-])"


def without_folders(text: str, private: Iterable[Path] = ()) -> str:
    """Return a text in which files have their names alone.

    private: folders of which nothing is shown, also where a text names them without a file or by a relative path.
    """
    spellings = {spelling for path in private for spelling in (str(path), str(path.absolute()), str(path.resolve()))}
    # The longest first, because one folder may lie in another.
    for folder in sorted(spellings - {"", ".", "/"}, key=len, reverse=True):
        text = re.sub(rf"{BEFORE}{re.escape(folder)}/(?:[^\s/:,]+/)*", "", text)
        if folder.startswith("/"):
            text = re.sub(rf"{BEFORE}{re.escape(folder)}{AFTER}", "(the server's folder)", text)
    return FOLDER.sub("", text)
