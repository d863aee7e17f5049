"""The command `utility`: what synthetic pictures add to a classifier."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar

import typer

from engine.options import setting, with_options
from engine.terminal import progress_bar
from evaluate.cli.options import Output, finish, locked
from evaluate.report.inputs import describe_folder
from evaluate.report.plots import plot_utility, to_image
from evaluate.report.records import Picture, check_out, make_record
from evaluate.studies.utility import (
    DEFINITIONS,
    VARIED_DEFINITIONS,
    Utility,
    UtilitySettings,
    check_utility,
    run_utility,
)
from evaluate.studies.variations import ChoiceSettings

__all__ = ["utility_command"]

FEW = 30
"""With fewer held-out pictures of a class, its recall says little."""


@dataclass(frozen=True)
class Sets:
    """Pictures to train and to test on, one folder per class."""

    PANEL: ClassVar[str] = "Folders"

    real: Path = setting(help="Real training pictures, one folder per class.")
    synthetic: Path = setting(help="Synthetic pictures of the same classes.")
    held_out: Path = setting(
        help="Real pictures of the same classes to test on. No other folder may contain them, or variations of them."
    )
    pretrain: Path | None = setting(
        None,
        help="Pictures that the generator's base was trained on, one folder per class. Adds a second row, in which "
        "every arm starts from a body trained on them.",
    )
    variations: Path | None = setting(
        None,
        help="Variations of --real from `engine generate --init`: one folder per class, or one folder per strength "
        "that holds these. Adds the arm real + classical + variations. Of several strengths, cross-validation on "
        "--real chooses one.",
    )


@with_options
@locked(lambda values: values["output"].out)
def utility_command(
    sets: Sets,
    settings: UtilitySettings,
    choice: ChoiceSettings,
    output: Output,
    seeds: Annotated[int, typer.Option(min=1, help="Number of trainings of every arm.")] = len(UtilitySettings.seeds),
) -> None:
    """Train small classifiers with and without synthetic pictures, and test them on held-out real pictures.

    The arms are real, real + classical augmentation, real + synthetic, all three, and synthetic alone. --variations
    adds real + classical augmentation + variations of the real pictures. All take equal numbers of steps.
    """
    check_out(output.out, "utility")
    folders = check_utility(sets.real, sets.synthetic, sets.held_out, sets.pretrain, sets.variations, choice)
    parts = folders.classes | {f"variations {name}": classes for name, classes in folders.variations.items()}
    inputs = {
        f"{part} {name}": describe_folder(folder) for part, classes in parts.items() for name, folder in classes.items()
    }
    with progress_bar(bar_per_task=False) as progress:
        found = run_utility(folders, replace(settings, seeds=tuple(range(seeds))), progress)
    record = make_record(
        f"Utility: {', '.join(found.class_names)}, with {sets.synthetic}",
        found,
        inputs=inputs,
        definitions=DEFINITIONS | VARIED_DEFINITIONS if folders.variations else DEFINITIONS,
        warnings=_warnings(found),
        libraries=("torch", "scikit-learn"),
    )
    plot = Picture(to_image(plot_utility(found.rows)), "Balanced accuracy on held-out real pictures")
    finish(record, {"balanced_accuracy": plot}, output)


def _warnings(found: Utility) -> list[str]:
    warnings = [
        f"The folders {', '.join(names)} of {part} are not classes of real and were not read."
        for part, names in found.ignored.items()
        if names
    ]
    if few := [name for name, count in found.pictures["heldout"].items() if count < FEW]:
        warnings.append(f"Fewer than {FEW} held-out pictures of {', '.join(few)}: their recall says little.")
    if "pretrained" not in found.rows:
        warnings.append(
            "Without --pretrain, part of the gain may come from the pictures that the generator's base was trained on: "
            "a baseline would gain from them too."
        )
    return warnings
