"""Measure how well `copies` finds changed copies of pictures, and how well `morphology` segments phantoms.

    python -m benchmarks.scripts.eyes RECORD.json [CLASS_FOLDER...]

The script draws phantoms with seeds that were not used during development. The masks of phantoms are known. Each
CLASS_FOLDER holds at least 500 prepared pictures of one class. A seed shuffles the pictures: 300 serve as training
pictures, 100 set the threshold, and 100 are strangers. The record holds the share that counts as copies, for changed
training pictures and for strangers.
"""

from __future__ import annotations

import io
import json
import platform
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from benchmarks.arguments import existing_folder, new_file, script_parser
from engine.machine import processor_name
from engine.terminal import run_command_line
from evaluate.images import open_folder
from evaluate.studies.copies import PERCENTILE
from evaluate.studies.likeness import describe, nearest_training
from evaluate.studies.segmentation import segment
from trainer.pictures.phantom import MASK_LABELS, RECIPES, draw

PHANTOMS, FIRST_SEED, SIDE = 12, 97000, 256
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def compress(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Mirror the picture, turn it by a right angle, and compress it as JPEG of quality 70."""
    buffer = io.BytesIO()
    picture.transpose(Image.Transpose.TRANSPOSE).save(buffer, "JPEG", quality=70)
    return Image.open(buffer).convert("RGB")


def turn(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Turn by up to 45 degrees and zoom by up to 1.15."""
    side, background = picture.width, tuple(np.median(np.asarray(picture).reshape(-1, 3), 0).astype(int))
    turned = picture.rotate(rng.uniform(-45, 45), Image.Resampling.BICUBIC, fillcolor=background)
    kept = int(side / rng.uniform(1, 1.15))
    edge = (side - kept) // 2
    return turned.crop((edge, edge, edge + kept, edge + kept)).resize((side, side), Image.Resampling.BICUBIC)


def move(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Move by up to 5 % of the side along each axis. Pixels that leave on one side return on the opposite side."""
    reach = round(0.05 * picture.width)
    return Image.fromarray(np.roll(np.asarray(picture), rng.integers(-reach, reach + 1, 2), (0, 1)))


def stain(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Vary the optical density of each channel by 10 % and the light by 3 % (standard deviations)."""
    density = -np.log(np.maximum(np.asarray(picture, np.float64), 1) / 255) * (1 + 0.1 * rng.standard_normal(3))
    return Image.fromarray((255 * (1 + 0.03 * rng.standard_normal()) * np.exp(-density)).clip(0, 255).astype(np.uint8))


def blur(share: float) -> Change:
    """Return a Gaussian blur whose radius is this share of the side."""
    return lambda picture, rng: picture.filter(ImageFilter.GaussianBlur(share * picture.width))


PARTS = (["nucleus"], ["nucleus", "cytoplasm"])
CHANGES: dict[str, Change] = {
    "none": lambda picture, rng: picture,
    "mirrored, turned by a right angle, JPEG": compress,
    "turned by up to 45 degrees, zoom up to 1.15": turn,
    "moved by up to 5 %": move,
    "stain 10 %, light 3 %": stain,
    "blur of 1/64": blur(1 / 64),
    "blur, stain, turn and zoom": lambda picture, rng: turn(stain(blur(1 / 64)(picture, rng), rng), rng),
}
STRANGERS: dict[str, Change] = {name: CHANGES[name] for name in ("none", "blur of 1/64")} | {
    "blur of 1/32": blur(1 / 32)
}


def copies(folder: Path) -> dict[str, dict[str, float]]:
    """Return the share of pictures below the threshold, for 100 pictures per change."""
    rng = np.random.default_rng(0)
    pictures = open_folder(folder).read()[rng.permutation(500)]
    training = describe(pictures[:300])
    threshold = np.percentile(nearest_training(describe(pictures[300:400]), training).distances, PERCENTILE)

    def share(some: np.ndarray, change: Change) -> float:
        changed = np.stack([np.asarray(change(Image.fromarray(picture), rng)) for picture in some])
        return float((nearest_training(describe(changed), training).distances < threshold).mean())

    return {
        "copies found": {name: share(pictures[:100], change) for name, change in CHANGES.items()},
        "strangers taken for copies": {name: share(pictures[400:], change) for name, change in STRANGERS.items()},
    }


def dice(found: np.ndarray, true: np.ndarray) -> float:
    """Return the Dice coefficient 2 |A and B| / (|A| + |B|)."""
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def phantoms(class_name: str) -> dict[str, float]:
    """Return means over the phantoms: Dice coefficients of nucleus and cell, the ratio of measured to true nuclear
    area, and the correlation of these areas."""
    rows = []
    for seed in range(FIRST_SEED, FIRST_SEED + PHANTOMS):
        picture, mask = draw(class_name, seed, SIDE)
        found = segment(picture, one_cell=False)
        nucleus, cell = (np.isin(mask, [MASK_LABELS[name] for name in names]) for names in PARTS)
        areas = float(found.nucleus.sum()), float(nucleus.sum())
        rows.append((dice(found.nucleus, nucleus), dice(found.cell, cell), *areas))
    scores = np.array(rows)
    return {
        "nucleus_dice": float(scores[:, 0].mean()),
        "cell_dice": float(scores[:, 1].mean()),
        "area_ratio": float(scores[:, 2].sum() / scores[:, 3].sum()),
        "area_correlation": float(np.corrcoef(scores[:, 2], scores[:, 3])[0, 1]),
    }


def main() -> None:
    """Measure and write the record."""
    parser = script_parser("benchmarks.scripts.eyes", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("folders", metavar="CLASS_FOLDER", type=existing_folder, nargs="*", default=[])
    asked = parser.parse_args()
    facts = {
        "machine": {"processor": processor_name(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("numpy", "scipy", "scikit-image", "pillow")},
        "phantoms": {"count": PHANTOMS, "first_seed": FIRST_SEED, "side": SIDE},
        "segmentation": {name: phantoms(name) for name in RECIPES},
        "copies": {folder.name: copies(folder) for folder in asked.folders},
    }
    asked.record.write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    run_command_line(main)
