"""The places where visitors drop pictures, and the one reader of what they dropped."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import gradio as gr
from PIL import Image

from engine.errors import RequestError
from engine.pictures import SUFFIXES, read_with_alpha

__all__ = ["Dropped", "dropped", "pictures_field"]

LONGEST_STEM = 60


@dataclass(frozen=True)
class Dropped:
    """A file that a visitor dropped, and the picture in it."""

    path: Path
    picture: Image.Image
    """RGB or RGBA, with the texts of the file."""

    @property
    def stem(self) -> str:
        """The name of the file without its suffix, cut to what every file system takes."""
        return self.path.stem[:LONGEST_STEM]

    def copy_to(self, folder: Path, stem: str) -> Path:
        """Copy the file under another name, and return the path of the copy."""
        return Path(shutil.copyfile(self.path, folder / f"{stem}{self.path.suffix.lower()}"))


def pictures_field(label: str, *, height: int, elem_id: str) -> gr.File:
    """Add a field for several pictures. A component for one picture would encode the file again."""
    return gr.File(label=label, file_count="multiple", file_types=["image"], height=height, elem_id=elem_id)


def dropped(paths: Sequence[str | Path] | None, subject: str) -> Iterator[Dropped]:
    """Yield the pictures that were dropped. Each is read once.

    Raises RequestError if there are none, for a file that has no suffix of a picture, and for one that is none.
    """
    if not paths:
        raise RequestError(subject, found="no picture", expected="picture files", fix="drop a picture")
    for path in map(Path, paths):
        if path.suffix.lower() not in SUFFIXES:
            raise RequestError(
                path.name, found="another format", expected=f"one of {', '.join(SUFFIXES)}", fix="convert it"
            )
        yield Dropped(path, read_with_alpha(path))
