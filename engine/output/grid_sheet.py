"""The labelled sheet of a grid: one table per value of the third axis, with the values of the others beside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from engine.files import replace_file
from engine.output.sheet import break_lines

__all__ = ["Table", "draw_grid"]

GAP, LINE, SIDE = 4, 16, 160
"""Pixels between the pictures, of a line of text, and of the labels beside the rows, at most."""
EMPTY = "whitesmoke"


@dataclass(frozen=True)
class Table:
    """The pictures of one value of the third axis."""

    title: str
    """What stands above the table. Empty without a third axis."""
    rows: Sequence[Sequence[Path | None]]
    """The files of the pictures, row by row. None leaves a place empty."""


def draw_grid(path: Path, tables: Sequence[Table], columns: Sequence[str], rows: Sequence[str], margin: int) -> None:
    """Write the sheet. columns, rows: labels of the values of both axes. margin: pixels between the pictures."""
    font = ImageFont.load_default(13)
    sizes = [_size(file) for table in tables for line in table.rows for file in line if file is not None]
    width, height = (max((size[side] for size in sizes), default=64) for side in (0, 1))
    # Columns of small pictures are as wide as the words above them.
    longest = max((font.getlength(word) for label in columns for word in label.split()), default=0)
    wide = max(width, min(SIDE, int(longest) + GAP))
    across, down = wide + GAP + margin, height + GAP + margin
    beside = min(SIDE, max((int(font.getlength(label)) for label in rows), default=0) + 2 * GAP) if any(rows) else GAP
    above = [break_lines(_cut(label, font, wide), font, wide) for label in columns]
    head = LINE * max(map(len, above)) + GAP if any(columns) else GAP
    titles = [LINE + GAP if table.title else 0 for table in tables]
    sheet = Image.new(
        "RGB", (beside + across * len(columns), sum(titles) + len(tables) * (head + down * len(rows))), "white"
    )
    pen, top = ImageDraw.Draw(sheet), 0
    for table, title in zip(tables, titles, strict=True):
        pen.text((GAP, top + 2), table.title, fill="black", font=font)
        top += title
        for column, lines in enumerate(above):
            pen.multiline_text((beside + column * across, top), "\n".join(lines), fill="black", font=font, spacing=2)
        top += head
        for label, line in zip(rows, table.rows, strict=True):
            words = "\n".join(break_lines(_cut(label, font, beside), font, beside - GAP))
            pen.multiline_text((GAP, top), words, fill="black", font=font, spacing=2)
            for column, file in enumerate(line):
                _paste(sheet, file, (beside + column * across, top), (width, height))
            top += down
    with replace_file(path) as part:
        sheet.save(part, format="PNG")


def _size(file: Path) -> tuple[int, int]:
    with Image.open(file, formats=["PNG"]) as picture:
        return picture.size


def _paste(sheet: Image.Image, file: Path | None, place: tuple[int, int], size: tuple[int, int]) -> None:
    if file is None:
        sheet.paste(Image.new("RGB", size, EMPTY), place)
        return
    with Image.open(file, formats=["PNG"]) as picture:
        sheet.paste(picture.convert("RGB"), place)


def _cut(label: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: float) -> str:
    """Return a label of at most four lines of this width, with an ellipsis for what is cut."""
    words = []
    for word in label.split():
        while len(word) > 1 and font.getlength(word) > width:
            word = f"{word.rstrip('…')[:-1]}…"
        words.append(word)
    lines = break_lines(" ".join(words), font, width)
    return " ".join(lines) if len(lines) <= 4 else " ".join([*lines[:3], "…"])
