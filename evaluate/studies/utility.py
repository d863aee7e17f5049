"""`utility`: what synthetic pictures add to a classifier of real pictures, beside what classical augmentation adds."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.options import Range, check_settings, setting
from engine.pictures import class_names_of
from engine.progress import Progress, silent
from evaluate.class_folders import ClassFolders, expect_two_classes
from evaluate.images import Pictures, expect_real, open_folder, refuse_shared
from evaluate.studies.utility_figures import Row, measure_row
from evaluate.studies.variations import (
    Choice,
    ChoiceSettings,
    Fold,
    VariationSets,
    choose_set,
    expect_derived,
    folds_of,
    open_variations,
)

if TYPE_CHECKING:
    from evaluate.studies.classifier import Trainer

__all__ = [
    "ARMS",
    "DEFINITIONS",
    "ROWS",
    "VARIED_DEFINITIONS",
    "Utility",
    "UtilityFolders",
    "UtilitySettings",
    "check_utility",
    "run_utility",
]

Probabilities = NDArray[np.float64]
ARMS: dict[str, tuple[tuple[str, ...], bool]] = {
    "real": (("real",), False),
    "real + classical": (("real",), True),
    "real + synthetic": (("real", "synthetic"), False),
    "real + classical + synthetic": (("real", "synthetic"), True),
    "synthetic": (("synthetic",), False),
}
"""The folders that share each batch of an arm, and whether their pictures are augmented."""
VARIED = {"real + classical + variations": (("real", "variations"), True)}
"""The arm that is added if there are variations of the real pictures."""
ROWS = ("from scratch", "pretrained")

DEFINITIONS = {
    "real": "real pictures without augmentation",
    "real + classical": "real pictures with classical augmentation: symmetries of the square, rotations of at most 15 "
    "degrees, zooms of at most 10 %, and Beer-Lambert jitter of stain (10 %) and light (5 %)",
    "real + synthetic": "half of each batch real, half synthetic, without augmentation",
    "real + classical + synthetic": "half of each batch real, half synthetic, all with classical augmentation",
    "synthetic": "synthetic pictures without augmentation; no real picture",
    "equal effort": "every arm has the same network, number of optimiser steps, batch size, learning rates and seeds, "
    "and batches that take the classes in turn; nothing is chosen on the held-out pictures, and the weights after the "
    "last step are used",
    "from scratch": "random weights, drawn from the seed",
    "pretrained": "every arm starts from the same body, which was trained on the pictures of PRETRAIN with classical "
    "augmentation, and has a new head",
    "accuracy": "share of held-out pictures whose most likely class is right",
    "balanced accuracy": "mean over classes of the recall",
    "AUC": "area under the ROC curve, one class against the rest, mean over classes",
    "confusion": "held-out pictures by true class (rows) and predicted class (columns), mean over seeds",
    "gain": "balanced accuracy minus that of real + classical in the same row",
    "interval": "mean over seeds, with the 5th and 95th percentile of a bootstrap over the seeds and over the sources "
    "of the held-out pictures within each class, the same for every arm; it does not cover other training pictures",
}
VARIED_DEFINITIONS = {
    "real + classical + variations": "half of each batch real, half variations of the same real pictures from "
    "`engine generate --init`, all with classical augmentation",
    "choice": "the strength whose classifiers have the highest balanced accuracy on left-out real training pictures; "
    "the folds divide the sources of --real, the variations of a left-out picture are left out too, and a training has "
    "the steps of an arm; held-out pictures take no part",
}


@dataclass(frozen=True)
class UtilitySettings:
    """What every arm shares. Raises RequestError for a value out of range.

    The defaults were chosen for `real + classical` from scratch, on two splits of the training pictures of six classes
    of blood cells, 31 of each. Half the steps and half the batch size were both worse there. At half the steps, half
    and twice the learning rate were worse too.
    """

    PANEL: ClassVar[str] = "Training"

    size: int = setting(64, within=Range(low=16), help="Side to which pictures are resized, in pixels.")
    steps: int = setting(800, within=Range(low=1), help="Number of optimiser steps for every arm.")
    batch_size: int = 32
    learning_rate: float = 1e-3
    pretrain_steps: int = setting(800, within=Range(low=1), help="Number of optimiser steps on --pretrain.")
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    """Each seed draws the initial weights, the order of pictures, and the augmentation."""
    resamples: int = 1000
    """Number of bootstrap replicates."""

    def __post_init__(self) -> None:
        check_settings(self)
        wrong = {
            "batch_size": (self.batch_size < 2 or self.batch_size % 2 == 1, "an even number, for two equal halves"),
            "learning_rate": (not 0 < self.learning_rate < 1, "above 0 and below 1"),
            "seeds": (
                not self.seeds or len({*self.seeds}) < len(self.seeds) or min(self.seeds) < 0,
                "at least one, all different and at least 0",
            ),
            "resamples": (self.resamples < 1, "at least 1"),
        }
        for name, (is_wrong, expected) in wrong.items():
            if is_wrong:
                found = str(getattr(self, name))
                raise RequestError(f"The setting {name}", found=found, expected=expected, fix="change the value")


@dataclass(frozen=True)
class UtilityFolders:
    """Opened folders: by "real", "synthetic", "heldout" and, if given, "pretrain", the folder of each class."""

    classes: dict[str, ClassFolders]
    ignored: dict[str, list[str]]
    """Class folders of synthetic and heldout that real does not have. They are not read."""
    variations: VariationSets = field(default_factory=dict)
    """Variations of the pictures of real, by set."""
    folds: list[Fold] = field(default_factory=list)
    """The folds that choose one of several sets of variations."""
    choice: ChoiceSettings = field(default_factory=ChoiceSettings)


@dataclass(frozen=True)
class Utility:
    """The results in a record of `utility`."""

    rows: dict[str, Row]
    class_names: list[str]
    pictures: dict[str, dict[str, int]]
    """Number of pictures by folder and class."""
    ignored: dict[str, list[str]]
    settings: UtilitySettings
    seconds: float
    variations: Choice | None = None
    """None without variations."""


def check_utility(
    real: Path,
    synthetic: Path,
    heldout: Path,
    pretrain: Path | None = None,
    variations: Path | None = None,
    choice: ChoiceSettings | None = None,
) -> UtilityFolders:
    """Open folders that hold one folder of pictures per class. The classes of pretrain may differ from the others.

    variations holds class folders, or several folders that do. Raises RequestError for fewer than two classes, for a
    class of real that another folder lacks, for pictures that `open_folder` refuses, for a file in two folders (only
    real and pretrain may share files), for pictures that were derived from held-out ones, and for variations of other
    pictures than those of real.
    """
    paths = {"real": real, "synthetic": synthetic, "heldout": heldout}
    found = {name: class_names_of(path) for name, path in paths.items()}
    wanted = found["real"]
    expect_two_classes("real", real, wanted)
    for name, path in paths.items():
        if missing := [class_name for class_name in wanted if class_name not in found[name]]:
            raise RequestError(
                f"The {name} folder {path}",
                found=f"{', '.join(found[name]) or 'no class folder'}; {', '.join(missing)} missing",
                expected=f"a folder of pictures for each class of the real folder: {', '.join(wanted)}",
                fix=f"add {', '.join(missing)}, or remove the class from {real}",
            )
    opened = {name: {c: open_folder(path / c) for c in wanted} for name, path in paths.items()}
    if pretrain is not None:
        names = class_names_of(pretrain)
        expect_two_classes("pretrain", pretrain, names)
        opened["pretrain"] = {c: open_folder(pretrain / c) for c in names}
    for name in opened.keys() - {"synthetic"}:
        expect_real({f"{name} {class_name}": folder for class_name, folder in opened[name].items()})
    ignored = {name: [c for c in found[name] if c not in wanted] for name in list(paths)[1:]}
    named = {name: list(folders.values()) for name, folders in opened.items()}
    sets: VariationSets = {}
    if variations is not None:
        sets, ignored["variations"] = open_variations(variations, wanted)
        named["variations"] = [folder for classes in sets.values() for folder in classes.values()]
    refuse_shared(named, [{"real", "pretrain"}], sources=("real", "pretrain"))
    expect_derived(sets, opened["real"], real)
    choice = choice or ChoiceSettings()
    if len(sets) < 2 and choice != ChoiceSettings():
        raise RequestError(
            "--choice-folds and --choice-seeds",
            found=f"{len(sets)} sets of variations",
            expected="several sets, because these options say how one of them is chosen",
            fix="leave both options out, or name a folder with one folder per strength with --variations",
        )
    folds = folds_of(opened["real"], sets, choice.choice_folds) if len(sets) > 1 else []
    return UtilityFolders(opened, ignored, sets, folds, choice)


def run_utility(
    folders: UtilityFolders, settings: UtilitySettings | None = None, progress: Progress = silent
) -> Utility:
    """Train and test every arm with every seed. With pretrain, a second row starts from a body trained on pretrain.

    progress is called after every optimiser step; done and total count the steps of the whole run. Deterministic on one
    machine.
    """
    # torch takes seconds to import, and the help of the command line needs only the settings.
    from evaluate.studies.classifier import Trainer

    started = time.perf_counter()
    settings = settings or UtilitySettings()
    pictures = {
        name: [folder.read(settings.size) for folder in classes.values()] for name, classes in folders.classes.items()
    }
    rows, arms = ROWS if "pretrain" in pictures else ROWS[:1], ARMS | VARIED if folders.variations else ARMS
    trainings = len(rows) * len(arms) * len(settings.seeds)
    trainings += len(folders.folds) * len(folders.variations) * folders.choice.choice_seeds
    total = trainings * settings.steps + settings.pretrain_steps * (len(rows) - 1)
    trainer = Trainer(settings.batch_size, settings.learning_rate, total, progress)
    chosen = None
    if folders.variations:
        chosen, pictures["variations"] = _choose(folders, pictures["real"], settings, trainer)
    heldout_folders = folders.classes["heldout"]
    labels = np.repeat(np.arange(len(heldout_folders)), [len(folder) for folder in heldout_folders.values()])
    sources = np.concatenate([folder.sources for folder in heldout_folders.values()])
    figures = {
        row: measure_row(found, labels, list(heldout_folders), sources=sources, resamples=settings.resamples)
        for row, found in _predictions(pictures, rows, arms, settings, trainer).items()
    }
    counted = folders.classes | {f"variations {name}": classes for name, classes in folders.variations.items()}
    return Utility(
        figures,
        list(heldout_folders),
        {name: {c: len(folder) for c, folder in classes.items()} for name, classes in counted.items()},
        folders.ignored,
        settings,
        time.perf_counter() - started,
        chosen,
    )


def _choose(
    folders: UtilityFolders, real: list[Pictures], settings: UtilitySettings, trainer: Trainer
) -> tuple[Choice, list[Pictures]]:
    """Return the choice among the sets of variations, and the pictures of the chosen set."""
    from evaluate.studies.classifier import predict

    sets = {
        name: [folder.read(settings.size) for folder in classes.values()]
        for name, classes in folders.variations.items()
    }
    if len(sets) == 1:
        (name,) = sets
        return Choice(name, {}, 0, 0), sets[name]

    def predicted(
        label: str, sources: Sequence[Sequence[Pictures]], tested: Sequence[Pictures], seed: int
    ) -> list[NDArray[np.intp]]:
        classifier = trainer.train(label, sources, augmented=True, steps=settings.steps, seed=seed)
        return [predict(classifier, pictures).argmax(1) for pictures in tested]

    choice = choose_set(folders.folds, real, sets, folders.choice.choice_seeds, predicted)
    return choice, sets[choice.chosen]


def _predictions(
    pictures: dict[str, list[Pictures]],
    rows: Sequence[str],
    arms: Mapping[str, tuple[tuple[str, ...], bool]],
    settings: UtilitySettings,
    trainer: Trainer,
) -> dict[str, dict[str, Probabilities]]:
    """Return the probabilities of the held-out pictures by row and arm: (seeds, N, classes)."""
    from evaluate.studies.classifier import predict

    heldout = np.concatenate(pictures["heldout"])
    found: dict[str, dict[str, Probabilities]] = {}
    for row in rows:
        start = None
        if row == "pretrained":
            source = [pictures["pretrain"]]
            start = trainer.train("pretraining", source, augmented=True, steps=settings.pretrain_steps, seed=0)
        found[row] = {}
        for arm, (names, augmented) in arms.items():
            sources = [pictures[name] for name in names]
            found[row][arm] = np.stack(
                [
                    predict(
                        trainer.train(
                            f"{row}: {arm}, seed {seed}",
                            sources,
                            augmented=augmented,
                            steps=settings.steps,
                            seed=seed,
                            start=start,
                        ),
                        heldout,
                    )
                    for seed in settings.seeds
                ]
            )
    return found
