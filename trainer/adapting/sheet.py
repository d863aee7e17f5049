"""A sheet with real and synthetic pictures of each class side by side."""

from __future__ import annotations

from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

from engine.files import replace_file
from engine.pictures import pictures_in

__all__ = ["SHOWN", "draw_comparison"]

SHOWN = 8
"""Pictures of each kind per class."""
GAP, CAPTION = 4, 22


def draw_comparison(real: Path, synthetic: Path, class_names: list[str], out: Path) -> None:
    """Write a sheet: for each class a row of real pictures, and below it a row of synthetic ones.

    real, synthetic: folders with one subfolder of pictures per class. Of augmented pictures only the originals, whose
    names end in `_0`, are shown.
    """
    rows = []
    for name in class_names:
        originals = [path for path in pictures_in(real / name) if path.stem.endswith("_0")]
        rows += [(f"{name}: real", originals[:SHOWN]), (f"{name}: synthetic", pictures_in(synthetic / name)[:SHOWN])]
    with Image.open(rows[0][1][0]) as first:
        side = min(256, first.width)
    columns = max(len(paths) for _, paths in rows)
    sheet = Image.new("RGB", (columns * (side + GAP) + GAP, len(rows) * (side + GAP + CAPTION) + GAP), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for place, (caption, paths) in enumerate(rows):
        top = place * (side + GAP + CAPTION)
        pen.text((GAP, top + 3), caption, fill="black", font=font)
        for column, path in enumerate(paths):
            with Image.open(path) as picture:
                tile = picture.convert("RGB").resize((side, side), Image.Resampling.LANCZOS)
            sheet.paste(tile, (GAP + column * (side + GAP), top + CAPTION))
    with replace_file(out) as part:
        sheet.save(part, format="PNG")
