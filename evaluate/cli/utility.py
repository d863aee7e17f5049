"""The command `utility`: what synthetic pictures add to a classifier."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from evaluate.cli.options import AsJson, RecordOut, finish, progress_bar
from evaluate.report.plots import plot_utility, to_image
from evaluate.report.records import Picture, check_out, describe_folder, make_record
from evaluate.studies.utility import DEFINITIONS, Utility, UtilitySettings, check_utility, run_utility

__all__ = ["utility_command"]

FEW = 30


def utility_command(
    real: Annotated[Path, typer.Option(help="Real training pictures, a folder for each class.")],
    synthetic: Annotated[Path, typer.Option(help="Synthetic pictures, the same classes.")],
    held_out: Annotated[Path, typer.Option(help="Real pictures to test on, the same classes; trained on nowhere.")],
    pretrain: Annotated[
        Path | None, typer.Option(help="What the generator's base saw: a second row starts from a body trained on it.")
    ] = None,
    steps: Annotated[int, typer.Option(help="Optimiser steps of every arm.")] = UtilitySettings.steps,
    pretrain_steps: Annotated[
        int, typer.Option(help="Optimiser steps on --pretrain.")
    ] = UtilitySettings.pretrain_steps,
    seeds: Annotated[int, typer.Option(min=1, help="Trainings of every arm.")] = len(UtilitySettings.seeds),
    size: Annotated[int, typer.Option(help="Side to which pictures are resized.")] = UtilitySettings.size,
    out: RecordOut = None,
    as_json: AsJson = False,
) -> None:
    """Train small classifiers on real, real + classical augmentation, real + synthetic and synthetic pictures, with
    equal steps; test on held-out real ones."""
    check_out(out, "utility")
    settings = UtilitySettings(size=size, steps=steps, pretrain_steps=pretrain_steps, seeds=tuple(range(seeds)))
    folders = check_utility(real, synthetic, held_out, pretrain)
    inputs = {
        f"{part} {name}": describe_folder(folder)
        for part, classes in folders.classes.items()
        for name, folder in classes.items()
    }
    with progress_bar() as progress:
        found = run_utility(folders, settings, lambda label, done, total: progress("training", done, total))
    record = make_record(
        "utility",
        f"Utility: {', '.join(found.class_names)}, with {synthetic}",
        inputs=inputs,
        results=asdict(found),
        definitions=DEFINITIONS,
        warnings=_warnings(found),
        libraries=("torch", "scikit-learn"),
    )
    plot = Picture(to_image(plot_utility(found.rows)), "Balanced accuracy on held-out real pictures")
    finish(record, {"balanced_accuracy": plot}, out, as_json)


def _warnings(found: Utility) -> list[str]:
    warnings = [
        f"The folders {', '.join(names)} of {part} are no class of real and were not read."
        for part, names in found.ignored.items()
        if names
    ]
    tested: dict[str, Any] = found.pictures["heldout"]
    if few := [name for name, count in tested.items() if count < FEW]:
        warnings.append(f"Fewer than {FEW} held-out pictures of {', '.join(few)}: their recall says little.")
    if "pretrained" not in found.rows:
        warnings.append(
            "Without --pretrain the gain leaves out what a baseline would gain from the pictures that the generator's "
            "base saw."
        )
    return warnings
