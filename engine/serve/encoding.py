"""Files in bodies and answers: base64, with or without `data:image/...;base64,` in front."""

from __future__ import annotations

import base64
import binascii

from engine.errors import RequestError

__all__ = ["decoded", "encoded"]

ADDRESSES = ("http:", "https:", "file:", "ftp:")


def encoded(content: bytes) -> str:
    """Return the content of a file in base64."""
    return base64.b64encode(content).decode("ascii")


def decoded(text: str, name: str, *, lenient: bool = False) -> bytes:
    """Return the content of a file. Nothing is fetched from another place. Raises RequestError.

    name: the field, for errors. lenient: whether other characters and missing padding are passed over.
    """
    found = "no base64"
    if text[:8].lower().startswith(ADDRESSES):
        found = "a URL"
    else:
        if text[:5].lower() == "data:":
            text = text.partition(",")[2]
        try:
            return base64.b64decode("".join(text.split()) + "==" if lenient else text, validate=not lenient)
        except (binascii.Error, ValueError):
            pass
    raise RequestError(
        name, found=found, expected="a picture file in base64", fix="send the picture itself; nothing is fetched"
    )
