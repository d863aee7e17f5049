"""Test whether hypernetworks improve the classes that the base already knows, on pictures reserved for settings.

    python -m recipes.base_classes RECORD.json RECIPE WORK [--class neutrophil ...]

RECIPE is the work folder of `make bundle` with base/, train/ and settings/. The script fits a hypernetwork for each
class on train/<class>, starting at the class's own prompt. It then draws pictures from the same noise with the base
alone and with the hypernetwork after each number of --steps. FD-cyto and KD-cyto compare them with settings/<class>.
WORK keeps the hypernetworks.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from benchmarks.arguments import existing_folder, new_file, numbers, script_parser
from engine.files import write_json
from engine.machine import processor_name
from engine.terminal import run_command_line
from evaluate.encoders.features import Cyto, features_of
from evaluate.images import open_folder
from evaluate.metrics.frechet import frechet_distance
from evaluate.metrics.kernel import kernel_distance
from recipes.folds import draw, features, fit
from trainer.base.base import open_base
from trainer.hypernetwork.files import read_hypernetwork

CLASSES = ["erythroblast", "ig", "lymphocyte", "monocyte", "neutrophil", "platelet"]


def main() -> None:
    """Fit, draw and compare every class; write the record."""
    parser = script_parser("recipes.base_classes", __doc__)
    parser.add_argument("record", metavar="RECORD.json", type=new_file)
    parser.add_argument("recipe", metavar="RECIPE", type=existing_folder)
    parser.add_argument("work", metavar="WORK", type=Path)
    parser.add_argument("--class", dest="class_names", action="append", help="class; may be repeated (default: all)")
    parser.add_argument("--steps", type=numbers, default=[200, 400], help="training steps (default: 200,400)")
    parser.add_argument("--batch-size", type=int, default=8, help="pictures per training step (default: 8)")
    parser.add_argument("--n", type=int, default=96, help="pictures to draw (default: 96)")
    parser.add_argument("--guidance-scale", type=float, default=3.0, help="guidance scale (default: 3)")
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
    run_command_line(main)
