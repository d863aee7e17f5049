"""A contact sheet of a run: up to sixteen pictures of each class, under the class's name and origin."""

from __future__ import annotations

import json
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from engine.errors import RequestError

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
    sheet.save(path)
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
                name, path = str(row["class"]), (folder / str(row["file_name"])).resolve()
                if len(shown.setdefault(name, [])) == PER_CLASS or not path.is_relative_to(folder.resolve()):
                    continue
                with Image.open(path) as picture:
                    shown[name].append(picture.convert("RGB"))
                captions[name] = f"{name} - synthetic, trained on {row['trained_on']}"
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise problem from error
    if not any(shown.values()):
        raise problem
    return [(captions[name], pictures) for name, pictures in shown.items() if pictures]
