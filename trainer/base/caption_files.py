"""Texts for captions: template files, caption files beside pictures, the words of a class name. No torch here."""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import RequestError

__all__ = ["filewords_of", "prompt_of", "read_templates"]


def prompt_of(class_name: str) -> str:
    """Return the default prompt of a class: its name with spaces in place of underscores."""
    return class_name.replace("_", " ")


def read_templates(path: Path) -> tuple[str, ...]:
    """Return the templates of a file, one per line without blank lines. Raises RequestError if there is none."""
    try:
        lines = tuple(line.strip() for line in path.read_text(encoding="utf-8").splitlines() if line.strip())
    except (OSError, ValueError) as error:
        raise RequestError(
            f"The templates {path}", found=f"unreadable ({error})", expected="a text file", fix="check the path"
        ) from error
    if not lines:
        raise RequestError(
            f"The templates {path}", found="no line with text", expected="one template per line", fix="add a template"
        )
    return lines


def filewords_of(picture: Path) -> str:
    """Return the text of the caption file beside a picture (`x.txt` beside `x.png`).

    Without a caption file, return the words of the file name without leading numbers. Raises RequestError.
    """
    caption = picture.with_suffix(".txt")
    if caption.is_file():
        try:
            return caption.read_text(encoding="utf-8").strip()
        except ValueError as error:
            raise RequestError(
                f"The caption {caption}",
                found=f"unreadable ({error})",
                expected="UTF-8 text",
                fix="save the file as UTF-8",
            ) from error
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"^[\d\W_]+", "", picture.stem)))
