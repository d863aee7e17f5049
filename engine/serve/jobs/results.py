"""The finished pictures of a job, while it runs and afterwards."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.output.journal import METADATA, file_of
from engine.serve.encoding import encoded

__all__ = ["Picture", "line_of", "pictures_from"]


@dataclass(frozen=True)
class Picture:
    """A finished picture."""

    place: int
    """Index in the job."""
    path: Path
    row: dict[str, Any]
    """Its line of metadata.jsonl."""
    next_offset: int
    """Where the next line begins, in bytes."""

    @property
    def index(self) -> int:
        """Index in its class."""
        return int(self.path.stem)


def pictures_from(folder: Path, offset: int = 0, place: int = 0) -> Iterator[Picture]:
    """Yield the pictures whose lines begin at a byte of metadata.jsonl, up to the last whole line.

    The lines of a chunk are written after its pictures, so that every picture is whole.
    """
    try:
        file = (folder / METADATA).open("rb")
    except FileNotFoundError:
        return
    with file:
        file.seek(offset)
        for line in file:
            if not line.endswith(b"\n"):
                return
            offset += len(line)
            row = json.loads(line)
            yield Picture(place, folder / file_of(row), row, offset)
            place += 1


def line_of(picture: Picture) -> bytes:
    """Return a picture as a line of JSON: its place, class and seed, how it was made, and the PNG file in base64."""
    png = encoded(picture.path.read_bytes())
    facts = {"index": picture.place, "class": picture.row["class"], "seed": picture.row["seed"]}
    return json.dumps({**facts, "description": picture.row, "png": png}).encode() + b"\n"
