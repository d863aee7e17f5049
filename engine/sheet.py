"""A contact sheet of a run: up to sixteen pictures of each class, under the class's name and origin."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from engine.errors import RequestError
from engine.files import replace_file

__all__ = ["write_sheet"]

PER_CLASS, COLUMNS, GAP, CAPTION = 16, 8, 4, 22
SMALL = 4
"""Up to this many columns when a single class is shown."""


def write_sheet(folder: Path) -> Path:
    """Draw `folder/sheet.png` from the pictures that metadata.jsonl lists. Raises RequestError where it is no run."""
    rows = _first_rows(folder)
    columns = SMALL if len(rows) == 1 else COLUMNS
    side = max(picture.height for _, pictures in rows for picture in pictures)
    heights = [CAPTION + -(-len(pictures) // columns) * (side + GAP) for _, pictures in rows]
    sheet = Image.new("RGB", (columns * (side + GAP) + GAP, sum(heights) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    top = 0
    for (caption, pictures), height in zip(rows, heights, strict=True):
        pen.text((GAP, top + 3), caption, fill="black", font=font)
        for index, picture in enumerate(pictures):
            row, column = divmod(index, columns)
            sheet.paste(picture, (GAP + column * (side + GAP), top + CAPTION + row * (side + GAP)))
        top += height
    path = folder / "sheet.png"
    with replace_file(path) as part:
        sheet.save(part, format="PNG")
    return path


def _first_rows(folder: Path) -> list[tuple[str, list[Image.Image]]]:
    """Caption and pictures of each class, in the order of the run."""
    problem = RequestError(
        f"The folder {folder}",
        found="no metadata.jsonl with pictures in it",
        expected="a folder that `engine generate` wrote",
        mend="check the path",
    )
    shown: dict[str, list[Image.Image]] = {}
    captions: dict[str, str] = {}
    try:
        with (folder / "metadata.jsonl").open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                name = str(row["class"])
                if len(shown.setdefault(name, [])) < PER_CLASS:
                    shown[name].append(_read_picture(folder, str(row["file_name"])))
                    captions[name] = f"{name} - synthetic, trained on {row['trained_on']}"
    except (OSError, ValueError, KeyError, TypeError, tarfile.TarError) as error:
        raise problem from error
    if not any(shown.values()):
        raise problem
    return [(captions[name], pictures) for name, pictures in shown.items() if pictures]


def _read_picture(folder: Path, name: str) -> Image.Image:
    """A picture that metadata.jsonl names: a file, or a member of a shard. Raises ValueError for one outside."""
    shard, tar, member = name.partition(".tar/")
    path = (folder / (f"{shard}.tar" if tar else name)).resolve()
    if not path.is_relative_to(folder.resolve()):
        raise ValueError(f"{name} is outside the folder")
    if not tar:
        with Image.open(path, formats=["PNG"]) as picture:
            return picture.convert("RGB")
    with tarfile.open(path, "r:") as archive:
        file = archive.extractfile(member)
        if file is None:
            raise ValueError(f"{name} is no file")
        with Image.open(file, formats=["PNG"]) as picture:
            return picture.convert("RGB")
