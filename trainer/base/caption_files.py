"""Texts for captions: template files, caption files beside pictures, the words of a class name. No torch here."""

from __future__ import annotations

import re
from pathlib import Path

from engine.errors import RequestError
from trainer.pictures.captions import caption_of, one_line, read_text

__all__ = ["filewords_of", "prompt_of", "read_templates"]


def prompt_of(class_name: str) -> str:
    """Return the default prompt of a class: its name with spaces in place of underscores."""
    return class_name.replace("_", " ")


def read_templates(path: Path) -> tuple[str, ...]:
    """Return the templates of a file, one per line without blank lines. Raises RequestError if there is none.

    Lines end as in Unix, Windows or old Mac files. Other separators, such as U+2028, are spaces inside a template.
    """
    text = read_text(path, "templates").replace("\r\n", "\n").replace("\r", "\n")
    lines = tuple(filter(None, map(one_line, text.split("\n"))))
    if not lines:
        raise RequestError(
            f"The templates {path}", found="no line with text", expected="one template per line", fix="add a template"
        )
    return lines


def filewords_of(picture: Path) -> str:
    """Return the text of the caption file beside a picture (`x.txt` or `x.caption` beside `x.png`) as one line.

    Without a caption file, return the words of the file name without leading numbers. Raises RequestError.
    """
    caption = caption_of(picture)
    if caption is not None:
        return one_line(read_text(caption, "caption"))
    return " ".join(re.findall(r"[^\W_]+", re.sub(r"^[\d\W_]+", "", picture.stem)))
