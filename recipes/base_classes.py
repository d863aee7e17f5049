"""Whether hypernetworks help the classes that the base knows by itself, on pictures that were kept back.

    python -m recipes.base_classes RECORD.json RECIPE WORK [--class neutrophil ...]

RECIPE is what `make bundle` left behind: base/, train/ and settings/. For each class a hypernetwork is fitted on
train/<class>, from the class's own prompt; pictures of the base alone and at each number of --steps, of the same noise,
are compared with settings/<class> by FD-cyto and KD-cyto. WORK keeps the hypernetworks.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from engine.files import write_json
from engine.machine import processor_name
from evaluate.encoders.features import Cyto, features_of
from evaluate.images import open_folder
from evaluate.metrics.frechet import frechet_distance
from evaluate.metrics.kernel import kernel_distance
from recipes.folds import draw, features, fit
from trainer.base.base import open_base
from trainer.hypernetwork.files import read_hypernetwork

CLASSES = ["erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet"]


def main() -> None:
    """Fit, draw, compare."""
    parser = argparse.ArgumentParser()
    parser.add_argument("record", type=Path)
    parser.add_argument("recipe", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--class", dest="class_names", action="append")
    parser.add_argument("--steps", type=lambda text: [int(word) for word in text.split(",")], default=[200, 400])
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--n", type=int, default=96)
    parser.add_argument("--guidance-scale", type=float, default=3.0)
    asked = parser.parse_args()
    encoder, base_folder = Cyto(), asked.recipe / "base"
    base = open_base(str(base_folder))
    found: dict[str, Any] = {}
    for name in asked.class_names or CLASSES:
        real = features_of(encoder, open_folder(asked.recipe / "settings" / name))["features"]
        fit(asked.recipe / "train" / name, base_folder, asked.work, name, name, asked.steps, asked.batch_size)
        made: dict[str, Any] = {"alone": []}
        for steps in asked.steps:
            file = read_hypernetwork(asked.work / "steps" / f"{name}-{steps:06d}.safetensors")
            made[f"{steps} steps"] = file.hypernetwork
        found[name] = {}
        for words, hypernetwork in made.items():
            drawn = features(encoder, draw(base, hypernetwork, name, asked.n, asked.guidance_scale))
            distances = {"FD-cyto": frechet_distance(real, drawn), "KD-cyto": kernel_distance(real, drawn)}
            found[name][words] = distances
            print(name, words, *(f"{key} {value:.3f}" for key, value in distances.items()), flush=True)
    settings = {key: getattr(asked, key) for key in ("batch_size", "n", "guidance_scale")}
    write_json(asked.record, {"machine": processor_name(), **settings, "classes": found})


if __name__ == "__main__":
    main()
