"""Contact sheet of a run: up to sixteen pictures per class, below the name of the class and its origin."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from engine.errors import RequestError
from engine.files import replace_file

__all__ = ["SHEET", "write_sheet"]

SHEET = "sheet.png"
PER_CLASS, COLUMNS, GAP, CAPTION = 16, 8, 4, 22
SMALL = 4
"""Number of columns if only one class is shown."""


def write_sheet(folder: Path) -> Path:
    """Draw `folder/sheet.png` from the pictures that metadata.jsonl lists.

    Raises RequestError if the folder holds no run.
    """
    rows = _first_rows(folder)
    columns = SMALL if len(rows) == 1 else COLUMNS
    width = max(picture.width for _, pictures in rows for picture in pictures)
    side = max(picture.height for _, pictures in rows for picture in pictures)
    heights = [CAPTION + -(-len(pictures) // columns) * (side + GAP) for _, pictures in rows]
    sheet = Image.new("RGB", (columns * (width + GAP) + GAP, sum(heights) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    top = 0
    for (caption, pictures), height in zip(rows, heights, strict=True):
        pen.text((GAP, top + 3), caption, fill="black", font=font)
        for index, picture in enumerate(pictures):
            row, column = divmod(index, columns)
            sheet.paste(picture, (GAP + column * (width + GAP), top + CAPTION + row * (side + GAP)))
        top += height
    path = folder / SHEET
    with replace_file(path) as part:
        sheet.save(part, format="PNG")
    return path


def _first_rows(folder: Path) -> list[tuple[str, list[Image.Image]]]:
    """Return the caption and pictures of each class, in the order of the run, without deleted pictures."""

    def problem(found: str = "no metadata.jsonl with pictures in it") -> RequestError:
        expected = "a folder that `engine generate` wrote"
        return RequestError(f"The folder {folder}", found=found, expected=expected, fix="check the path")

    names: dict[str, list[str]] = {}
    captions: dict[str, str] = {}
    try:
        with (folder / "metadata.jsonl").open(encoding="utf-8") as file:
            for line in file:
                row = json.loads(line)
                class_names = names.setdefault(str(row["class"]), [])
                if len(class_names) < PER_CLASS:
                    class_names.append(str(row["file_name"]))
                    captions[str(row["class"])] = f"{row['class']} - synthetic, trained on {row['trained_on']}"
        pictures = _read_pictures(folder, [name for class_names in names.values() for name in class_names])
    except FileNotFoundError as error:
        raise problem() from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError, tarfile.TarError) as error:
        raise problem(f"{type(error).__name__}: {error}") from error
    if not pictures:
        raise problem()
    shown = {name: [pictures[file] for file in files if file in pictures] for name, files in names.items()}
    return [(captions[name], found) for name, found in shown.items() if found]


def _read_pictures(folder: Path, names: list[str]) -> dict[str, Image.Image]:
    """Return the pictures of these names, which are files or members of shards.

    Each shard is read once, and no further than needed. Raises ValueError for a name that leads outside the folder.
    """
    pictures: dict[str, Image.Image] = {}
    shards: dict[str, set[str]] = {}
    for name in names:
        shard, tar, member = name.partition(".tar/")
        path = (folder / (f"{shard}.tar" if tar else name)).resolve()
        if not path.is_relative_to(folder.resolve()):
            raise ValueError(f"{name} is outside the folder")
        if tar:
            shards.setdefault(f"{shard}.tar", set()).add(member)
        elif path.is_file():
            pictures[name] = _decode(path)
    for shard, members in shards.items():
        with tarfile.open(folder / shard, "r|") as archive:
            for entry in archive:
                if entry.name in members and (file := archive.extractfile(entry)):
                    pictures[f"{shard}/{entry.name}"] = _decode(io.BytesIO(file.read()))
                    members.remove(entry.name)
                if not members:
                    break
    return pictures


def _decode(file: Path | io.BytesIO) -> Image.Image:
    try:
        with Image.open(file, formats=["PNG"]) as picture:
            return picture.convert("RGB")
    except Exception as error:  # a decoder may raise any exception for arbitrary bytes
        raise ValueError(f"a picture that cannot be read ({error})") from error
