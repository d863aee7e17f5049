"""Test whether a small classifier can tell the four phantom classes apart, with and without the amount of stain.

    python -m benchmarks.scripts.phantom_probe RECORD.json [SYNTHETIC]

The classifier learns phantoms of some seeds and is tested on phantoms of other seeds. "as drawn" uses the pictures
unchanged. "equalised" first gives every picture the same mean and deviation in each channel, so that the amount of
each stain tells nothing. SYNTHETIC holds one folder of synthetic pictures per class; if it is given, the record also
counts as which class the classifier sees each synthetic picture.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix

from benchmarks.arguments import existing_folder, new_file, script_parser
from engine.terminal import run_command_line
from evaluate.images import open_folder
from evaluate.studies.classifier import make_classifier, predict, train_classifier
from trainer.pictures.phantom import RECIPES, draw
from trainer.training.record import write_record

SIDE, TRAIN, TEST = 64, range(1000, 1200), range(5000, 5100)
STEPS, BATCH_SIZE, LEARNING_RATE, SEED = 600, 32, 1e-3, 0


def phantoms(name: str, seeds: range) -> NDArray[np.uint8]:
    """Draw one phantom per seed at twice the side and return (len(seeds), SIDE, SIDE, 3) pictures."""
    return halved(np.stack([draw(name, seed, 2 * SIDE)[0] for seed in seeds]))


def halved(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (N, 2 SIDE, 2 SIDE, 3) pictures as (N, SIDE, SIDE, 3), by means of 2 x 2 pixels."""
    squares = pictures.astype(np.float64).reshape(len(pictures), SIDE, 2, SIDE, 2, 3)
    return squares.mean((2, 4)).round().astype(np.uint8)


def equalised(pictures: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the pictures with mean 128 and deviation 40 in each channel of each picture."""
    mean, deviation = (f(pictures, axis=(1, 2), keepdims=True, dtype=np.float64) for f in (np.mean, np.std))
    return np.clip(128 + 40 * (pictures - mean) / deviation, 0, 255).round().astype(np.uint8)


def main() -> None:
    """Train and test the classifier, then write the record."""
    parser = script_parser("benchmarks.scripts.phantom_probe", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("synthetic", metavar="SYNTHETIC", type=existing_folder, nargs="?")
    asked = parser.parse_args()
    synthetic: Path | None = asked.synthetic
    names = list(RECIPES)
    train, test = ([phantoms(name, seeds) for name in names] for seeds in (TRAIN, TEST))
    drawn = {} if synthetic is None else {name: halved(open_folder(synthetic / name).read(2 * SIDE)) for name in names}
    found: dict[str, Any] = {}
    for kind, change in (("as drawn", lambda pictures: pictures), ("equalised", equalised)):
        classifier = make_classifier(len(names), SEED)
        train_classifier(
            classifier,
            [[change(pictures) for pictures in train]],
            augmented=True,
            steps=STEPS,
            batch_size=BATCH_SIZE,
            learning_rate=LEARNING_RATE,
            seed=SEED,
        )
        labels = np.repeat(np.arange(len(names)), len(TEST))
        guessed = predict(classifier, np.concatenate([change(pictures) for pictures in test])).argmax(1)
        found[kind] = {
            "accuracy": float(np.mean(guessed == labels)),
            "confusion": confusion_matrix(labels, guessed).tolist(),
        }
        for name, pictures in drawn.items():
            counts = np.bincount(predict(classifier, change(pictures)).argmax(1), minlength=len(names))
            found[kind].setdefault("synthetic", {})[name] = dict(zip(names, counts.tolist(), strict=True))
    settings = {"side": SIDE, "train": len(TRAIN), "test": len(TEST), "steps": STEPS, "seed": SEED, "classes": names}
    write_record(asked.record, **found, settings=settings)


if __name__ == "__main__":
    run_command_line(main)
