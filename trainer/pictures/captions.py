"""Text files of a user: the captions beside pictures, and templates. Invisible marks and separators are removed."""

from __future__ import annotations

import codecs
import re
import unicodedata
from pathlib import Path

from engine.errors import RequestError
from engine.files import is_hidden

__all__ = ["CAPTIONS", "caption_of", "one_line", "read_text"]

CAPTIONS = (".caption", ".txt")
"""File name endings of captions, in upper or lower case."""
MARKS = {
    codecs.BOM_UTF8: "utf-8",
    codecs.BOM_UTF32_LE: "utf-32-le",
    codecs.BOM_UTF32_BE: "utf-32-be",
    codecs.BOM_UTF16_LE: "utf-16-le",
    codecs.BOM_UTF16_BE: "utf-16-be",
}
"""Byte order marks. UTF-32's begins with UTF-16's, so it stands first."""
INVISIBLE = re.compile("[\u00ad\u200b\u2060\ufeff]")
"""Soft hyphen, zero-width space, word joiner, and the byte order mark inside a text."""


def caption_of(picture: Path) -> Path | None:
    """Return the caption file beside a picture (`x.txt` or `x.caption` beside `x.png`), or None if there is none.

    Raises RequestError if there are several.
    """
    found = [
        path
        for path in sorted(picture.parent.glob(f"{_literal(picture.stem)}.*"))
        if path.stem == picture.stem and path.suffix.lower() in CAPTIONS and not is_hidden(path.name) and path.is_file()
    ]
    if len(found) > 1:
        raise RequestError(
            f"The captions of the picture {picture}",
            found=", ".join(path.name for path in found),
            expected="one caption file per picture",
            fix="keep one of these files",
        )
    return found[0] if found else None


def _literal(stem: str) -> str:
    return re.sub(r"([*?\[])", r"[\1]", stem)


def read_text(path: Path, what: str) -> str:
    """Return a text file in UTF-8, or in UTF-16 or UTF-32 with a byte order mark, without the mark.

    what: the subject of an error, such as "caption". Raises RequestError.
    """
    try:
        content = path.read_bytes()
        mark = next((mark for mark in MARKS if content.startswith(mark)), b"")
        text = content[len(mark) :].decode(MARKS.get(mark, "utf-8"))
        for letter in text:
            if unicodedata.category(letter) == "Cc" and not letter.isspace():
                raise ValueError(f"the control character U+{ord(letter):04X}, as in UTF-16 without a byte order mark")
    except (OSError, ValueError) as error:
        raise RequestError(
            f"The {what} {path}",
            found=f"unreadable ({error})",
            expected="a text file in UTF-8",
            fix="save the file as UTF-8",
        ) from error
    return text


def one_line(text: str) -> str:
    """Return a text with single spaces in place of line ends and all other white space, without invisible letters."""
    return " ".join(INVISIBLE.sub("", text).split())
