"""The places where visitors drop pictures, and the check of what they dropped."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

from engine.errors import RequestError
from engine.pictures import SUFFIXES, read_with_alpha

__all__ = ["expect_picture", "pictures_field"]


def pictures_field(label: str, *, height: int, elem_id: str) -> gr.File:
    """Add a field for several pictures. A component for one picture would encode the file again."""
    return gr.File(label=label, file_count="multiple", file_types=["image"], height=height, elem_id=elem_id)


def expect_picture(path: Path) -> None:
    """Raise RequestError if a file has no suffix of a picture, or cannot be read as one."""
    if path.suffix.lower() not in SUFFIXES:
        raise RequestError(
            path.name, found="another format", expected=f"one of {', '.join(SUFFIXES)}", fix="convert it"
        )
    read_with_alpha(path)
