"""Sixty-four pictures of a class on one sheet; real ones beside synthetic ones where a second folder is given.

    python -m recipes.sheet SHEET.jpg SYNTHETIC [REAL]

SYNTHETIC and REAL are folders of pictures of one class, all of one size; the first 64 of each by name, none chosen.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from evaluate.images import Pictures, open_folder

COLUMNS, GAP, QUALITY = 8, 24, 88


def tile(pictures: Pictures) -> Pictures:
    """(64, S, S, 3) uint8 -> (8 S, 8 S, 3)."""
    rows = [np.concatenate(list(row), axis=1) for row in pictures.reshape(COLUMNS, COLUMNS, *pictures.shape[1:])]
    return np.concatenate(rows, axis=0)


def main(sheet: Path, folders: list[Path]) -> None:
    """Real ones stand on the left."""
    tiles = [tile(open_folder(folder).read()[: COLUMNS**2]) for folder in reversed(folders)]
    gap = np.full((len(tiles[0]), GAP, 3), 255, np.uint8)
    whole = np.concatenate([part for one in tiles for part in (gap, one)][1:], axis=1)
    sheet.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(whole).save(sheet, quality=QUALITY, subsampling=0)


if __name__ == "__main__":
    main(Path(sys.argv[1]), [Path(one) for one in sys.argv[2:]])
