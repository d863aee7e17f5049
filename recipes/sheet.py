"""Put 64 synthetic pictures of a class on one sheet, with 64 real pictures on the left if a folder of them is given.

    python -m recipes.sheet SHEET.jpg SYNTHETIC [REAL]

SYNTHETIC and REAL are folders of pictures of one class, all of the same size. The sheet shows the first 64 pictures of
each folder by name, without any selection.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.arguments import existing_folder, script_parser
from engine.terminal import run_command_line
from evaluate.images import Pictures, open_folder

COLUMNS, GAP, QUALITY = 8, 24, 88


def tile(pictures: Pictures) -> Pictures:
    """Arrange (64, S, S, 3) uint8 pictures as one picture (8 S, 8 S, 3)."""
    rows = [np.concatenate(list(row), axis=1) for row in pictures.reshape(COLUMNS, COLUMNS, *pictures.shape[1:])]
    return np.concatenate(rows, axis=0)


def main() -> None:
    """Write the sheet."""
    parser = script_parser("recipes.sheet", __doc__)
    parser.add_argument("sheet", metavar="SHEET.jpg", type=Path)
    parser.add_argument("synthetic", metavar="SYNTHETIC", type=existing_folder)
    parser.add_argument("real", metavar="REAL", type=existing_folder, nargs="?")
    asked = parser.parse_args()
    sheet: Path = asked.sheet
    folders = [asked.synthetic] if asked.real is None else [asked.real, asked.synthetic]
    tiles = [tile(open_folder(folder).read()[: COLUMNS**2]) for folder in folders]
    gap = np.full((len(tiles[0]), GAP, 3), 255, np.uint8)
    whole = np.concatenate([part for one in tiles for part in (gap, one)][1:], axis=1)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(whole).save(sheet, quality=QUALITY, subsampling=0)


if __name__ == "__main__":
    run_command_line(main)
