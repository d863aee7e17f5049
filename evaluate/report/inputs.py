"""Facts about the pictures that a record is about: their folder, their hash, and the settings that generated them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from engine.errors import RequestError, first_line
from evaluate.images import PictureFolder

__all__ = ["Input", "describe_folder", "metadata_of"]

MADE_BY = (
    "class",
    "bundle",
    "bundle_sha256",
    "sampler",
    "schedule",
    "steps",
    "guidance_scale",
    "plan_sha256",
    "backend",
    "precision",
    "batch_size",
    "trained_on",
    "licence",
    "attribution",
    "strength",
    "start_sigma",
)
"""The keys of metadata.jsonl that a record keeps."""


@dataclass(frozen=True)
class Input:
    """One folder of pictures that a command read."""

    folder: str
    pictures: int
    side: int
    """Width and height of each picture, in pixels."""
    sha256: str
    """Hash over the names and contents of the files."""
    made_by: dict[str, Any] | None = None
    """Settings that generated synthetic pictures. None if the folder has no metadata.jsonl."""


def describe_folder(folder: PictureFolder) -> Input:
    """Return a folder's path, number of pictures, side and hash, and what generated its synthetic pictures."""
    made_by: dict[str, Any] | None = None
    rows = list(metadata_of(folder).values())
    if rows:
        values_by_key = {key: sorted({json.dumps(row.get(key)) for row in rows}) for key in MADE_BY}
        made_by = {
            key: json.loads(values[0]) if len(values) == 1 else f"{len(values)} different"
            for key, values in values_by_key.items()
            if values != ["null"]
        }
        seeds = [row["seed"] for row in rows if isinstance(row.get("seed"), int)]
        if seeds:
            made_by["seeds"] = f"{min(seeds)} to {max(seeds)}"
    return Input(str(folder.path), len(folder), folder.side, folder.sha256, made_by)


def metadata_of(folder: PictureFolder) -> dict[str, dict[str, Any]]:
    """Return the rows of the metadata.jsonl that `engine generate` wrote, by file name. Empty without that file.

    Raises RequestError if metadata.jsonl cannot be read.
    """
    metadata = folder.path.resolve().parent / "metadata.jsonl"
    if not metadata.is_file():
        return {}
    names = {f"{folder.path.resolve().name}/{path.name}": path.name for path in folder.files}
    try:
        rows = [json.loads(line) for line in metadata.read_text(encoding="utf-8").split("\n") if line]
    except (OSError, ValueError) as error:
        raise RequestError(
            f"The record {metadata}",
            found=first_line(error),
            expected="one JSON object per line, as `engine generate` writes",
            fix="run the same `engine generate` command again, or move the file away",
        ) from error
    # Other programs write files of this name too, with other keys.
    ours = (row for row in rows if isinstance(row, dict) and row.get("synthetic") is True)
    return {names[name]: row for row in ours if (name := row.get("file_name")) in names}
