"""How well `copies` and `morphology` see: changed copies of known pictures, and phantoms whose masks are known.

    python -m benchmarks.scripts.eyes RECORD.json [CLASS_FOLDER...]

Phantoms are drawn with seeds that nothing was developed on. Each CLASS_FOLDER holds at least 500 prepared pictures of
one class: of them, in an order that a seed decides, 300 count as training pictures, 100 set the threshold, and 100 are
strangers. What is reported is the share that counts as copies: of changed training pictures, and of strangers.
"""

from __future__ import annotations

import io
import json
import platform
import sys
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter

from engine.machine import processor_name
from evaluate.images import open_folder
from evaluate.studies.copies import PERCENTILE, describe, nearest_training
from evaluate.studies.segmentation import segment
from trainer.pictures.phantom import MASK_LABELS, RECIPES, draw

PHANTOMS, FIRST_SEED, SIDE = 12, 97000, 256
Change = Callable[[Image.Image, np.random.Generator], Image.Image]


def compress(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """JPEG of quality 70, mirrored and turned by a right angle."""
    buffer = io.BytesIO()
    picture.transpose(Image.Transpose.TRANSPOSE).save(buffer, "JPEG", quality=70)
    return Image.open(buffer).convert("RGB")


def turn(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """By up to 45 degrees, and a zoom of up to 1.15."""
    side, background = picture.width, tuple(np.median(np.asarray(picture).reshape(-1, 3), 0).astype(int))
    turned = picture.rotate(rng.uniform(-45, 45), Image.Resampling.BICUBIC, fillcolor=background)
    kept = int(side / rng.uniform(1, 1.15))
    edge = (side - kept) // 2
    return turned.crop((edge, edge, edge + kept, edge + kept)).resize((side, side), Image.Resampling.BICUBIC)


def move(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """By up to 5 % of the side along either axis; what leaves comes back on the other side."""
    reach = round(0.05 * picture.width)
    return Image.fromarray(np.roll(np.asarray(picture), rng.integers(-reach, reach + 1, 2), (0, 1)))


def stain(picture: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Each channel's optical density by a tenth, light by 3 %."""
    density = -np.log(np.maximum(np.asarray(picture, np.float64), 1) / 255) * (1 + 0.1 * rng.standard_normal(3))
    return Image.fromarray((255 * (1 + 0.03 * rng.standard_normal()) * np.exp(-density)).clip(0, 255).astype(np.uint8))


def blur(share: float) -> Change:
    """Gaussian, a share of the side."""
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
    """Shares below the threshold, of 100 pictures each."""
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
    """2 |A and B| / (|A| + |B|)."""
    return float(2 * (found & true).sum() / (found.sum() + true.sum()))


def phantoms(class_name: str) -> dict[str, float]:
    """Means over the phantoms: Dice of nucleus and cell, measured over true nuclear area; correlation of the areas."""
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
    facts = {
        "machine": {"processor": processor_name(), "python": platform.python_version()},
        "versions": {name: version(name) for name in ("numpy", "scipy", "scikit-image", "pillow")},
        "phantoms": {"count": PHANTOMS, "first_seed": FIRST_SEED, "side": SIDE},
        "segmentation": {name: phantoms(name) for name in RECIPES},
        "copies": {Path(folder).name: copies(Path(folder)) for folder in sys.argv[2:]},
    }
    Path(sys.argv[1]).write_text(json.dumps(facts, indent=1) + "\n")


if __name__ == "__main__":
    main()
