"""The texts in picture files: those of this engine, and those of AUTOMATIC1111's WebUI."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image

from engine.output.provenance import PARAMETERS_KEY

__all__ = ["PictureTexts", "read_texts"]

FORMATS = ["PNG", "JPEG", "WEBP", "GIF"]


@dataclass(frozen=True)
class PictureTexts:
    """The texts in a picture file."""

    chunks: dict[str, str]
    """The text chunks of a PNG, by their key."""
    comment: str
    """What the WebUI reads: the comment in the EXIF data, else the PNG text `parameters`, or the comment of a GIF."""


def read_texts(file: Path | BinaryIO) -> PictureTexts:
    """Return the texts of a picture. A decoder may raise any exception for arbitrary bytes."""
    with Image.open(file, formats=FORMATS) as picture:
        picture.load()
        chunks = {str(key): str(text) for key, text in getattr(picture, "text", {}).items()}
        return PictureTexts(chunks, _user_comment(picture) or chunks.get(PARAMETERS_KEY) or _gif_comment(picture))


def _user_comment(picture: Image.Image) -> str:
    """Return the EXIF field UserComment: 8 bytes that name the code, then the text."""
    content = picture.getexif().get_ifd(ExifTags.IFD.Exif).get(ExifTags.Base.UserComment, b"")
    if isinstance(content, str):
        return content
    code, text = bytes(content[:8]), bytes(content[8:])
    if code != b"UNICODE\0":
        return text.decode("utf-8", "replace").strip("\0 ")
    # The order of the bytes is that of the file, or big. Zeros of Latin letters tell which.
    little = text.startswith(b"\xff\xfe") or text[1::2].count(0) > text[::2].count(0)
    return text.decode("utf-16-le" if little else "utf-16-be", "replace").strip("\ufeff\0")


def _gif_comment(picture: Image.Image) -> str:
    content = picture.info.get("comment", b"") if picture.format == "GIF" else b""
    return content.decode("utf-8", "replace") if isinstance(content, bytes) else str(content)
