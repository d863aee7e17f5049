"""Sheets of pictures side by side, so that a reader can look at them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["draw_pairs", "draw_sheet"]

GAP = 3


def draw_sheet(pictures: Sequence[NDArray[np.uint8]], columns: int = 6, side: int = 128) -> Image.Image:
    """Draw pictures, (S, S, 3) uint8 each, in rows of `columns`. Each picture is `side` pixels wide."""
    rows = -(-len(pictures) // columns)
    sheet = Image.new("RGB", (columns * (side + GAP) - GAP, rows * (side + GAP) - GAP), "white")
    for place, picture in enumerate(pictures):
        row, column = divmod(place, columns)
        tile = Image.fromarray(picture)
        if tile.width != side:
            tile = tile.resize((side, side), Image.Resampling.LANCZOS)
        sheet.paste(tile, (column * (side + GAP), row * (side + GAP)))
    return sheet


def draw_pairs(pairs: Sequence[Sequence[NDArray[np.uint8]]], across: int = 3, side: int = 128) -> Image.Image:
    """Draw pairs of pictures, (S, S, 3) uint8 each, with `across` pairs per row. The pictures of a pair touch."""
    halves = [
        np.concatenate(
            [np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.LANCZOS)) for one in pair], 1
        )
        for pair in pairs
    ]
    rows = -(-len(halves) // across)
    sheet = Image.new("RGB", (across * (2 * side + 3 * GAP) - 3 * GAP, rows * (side + GAP) - GAP), "white")
    for place, half in enumerate(halves):
        row, column = divmod(place, across)
        sheet.paste(Image.fromarray(half), (column * (2 * side + 3 * GAP), row * (side + GAP)))
    return sheet
