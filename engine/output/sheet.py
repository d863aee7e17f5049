"""Contact sheet of a run: up to sixteen pictures per class, below the name of the class and its origin."""

from __future__ import annotations

import io
import json
import math
import tarfile
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from engine.errors import RequestError
from engine.files import replace_file

__all__ = ["SHEET", "break_lines", "write_sheet"]

SHEET = "sheet.png"
PER_CLASS, COLUMNS, GAP, CAPTION, LINE = 16, 8, 4, 22, 16
SMALL = 4
"""Number of columns if only one class is shown."""


def write_sheet(folder: Path) -> Path:
    """Draw `folder/sheet.png` from the pictures that metadata.jsonl lists.

    Raises RequestError if the folder holds no run.
    """
    rows = _first_rows(folder)
    columns = SMALL if len(rows) == 1 else COLUMNS
    sizes = [picture.size for _, pictures in rows for picture in pictures]
    cell = (max(width for width, _ in sizes) + GAP, max(height for _, height in sizes) + GAP)
    blocks = [_Block(caption, pictures, cell, columns) for caption, pictures in rows]
    # Classes with few pictures stand side by side.
    width = max(block.width for block in blocks)
    beside = max(1, min(len(blocks), columns * cell[0] // width))
    lines = [blocks[i : i + beside] for i in range(0, len(blocks), beside)]
    captions = [max(block.caption_height for block in line) for line in lines]
    heights = [caption + max(block.height for block in line) for caption, line in zip(captions, lines, strict=True)]
    sheet = Image.new("RGB", (beside * width + GAP, sum(heights) + GAP), "white")
    for number, line in enumerate(lines):
        for index, block in enumerate(line):
            block.draw(sheet, index * width, sum(heights[:number]), captions[number])
    path = folder / SHEET
    with replace_file(path) as part:
        sheet.save(part, format="PNG")
    return path


def break_lines(text: str, font: Any, width: float) -> list[str]:
    """Return a text in lines of at most this width in pixels, if none of its words is longer."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if font.getlength(longer) <= width or not lines[-1]:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


class _Block:
    """The pictures of a class below its caption, whose words are broken into lines that fit."""

    def __init__(self, caption: str, pictures: list[Image.Image], cell: tuple[int, int], columns: int) -> None:
        self._pictures, self._cell, self._font = pictures, cell, ImageFont.load_default(13)
        self._columns = min(columns, len(pictures))
        longest = max(self._font.getlength(word) for word in caption.split())
        self.width = max(self._columns * cell[0], GAP + math.ceil(longest))
        self._lines = break_lines(caption, self._font, self.width - GAP)
        self.caption_height = CAPTION + LINE * (len(self._lines) - 1)
        self.height = -(-len(pictures) // self._columns) * cell[1]

    def draw(self, sheet: Image.Image, left: int, top: int, caption_height: int) -> None:
        """Draw the block with its upper left corner at (left, top), and its pictures below captions of that height."""
        pen = ImageDraw.Draw(sheet)
        for number, line in enumerate(self._lines):
            pen.text((left + GAP, top + 3 + LINE * number), line, fill="black", font=self._font)
        for index, picture in enumerate(self._pictures):
            row, column = divmod(index, self._columns)
            across, down = column * self._cell[0], row * self._cell[1]
            sheet.paste(picture, (left + GAP + across, top + caption_height + down))


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
