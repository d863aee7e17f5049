"""`utility`: what synthetic pictures add to a classifier of real pictures, beside what classical augmentation adds."""

from __future__ import annotations

import itertools
import time
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.options import Range, check_settings, setting
from engine.pictures import class_names_of
from engine.progress import Progress, silent
from evaluate.class_folders import ClassFolders, expect_two_classes
from evaluate.images import Pictures, expect_real, open_folder, refuse_shared
from evaluate.studies.utility_figures import Row, measure_row

__all__ = [
    "ARMS",
    "DEFINITIONS",
    "ROWS",
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


def check_utility(real: Path, synthetic: Path, heldout: Path, pretrain: Path | None = None) -> UtilityFolders:
    """Open folders that hold one folder of pictures per class. The classes of pretrain may differ from the others.

    Raises RequestError for fewer than two classes, for a class of real that another folder lacks, for pictures that
    `open_folder` refuses, and for a file in two folders. Only real and pretrain may share files.
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
    named = {name: list(folders.values()) for name, folders in opened.items()}
    refuse_shared(named, [{"real", "pretrain"}], sources=("real", "pretrain"))
    return UtilityFolders(opened, {name: [c for c in found[name] if c not in wanted] for name in list(paths)[1:]})


def run_utility(
    folders: UtilityFolders, settings: UtilitySettings | None = None, progress: Progress = silent
) -> Utility:
    """Train and test every arm with every seed. With pretrain, a second row starts from a body trained on pretrain.

    progress is called after every optimiser step; done and total count the steps of the whole run. Deterministic on one
    machine.
    """
    started = time.perf_counter()
    settings = settings or UtilitySettings()
    pictures = {
        name: [folder.read(settings.size) for folder in classes.values()] for name, classes in folders.classes.items()
    }
    heldout_folders = folders.classes["heldout"]
    labels = np.repeat(np.arange(len(heldout_folders)), [len(folder) for folder in heldout_folders.values()])
    sources = np.concatenate([folder.sources for folder in heldout_folders.values()])
    rows = {
        row: measure_row(found, labels, list(heldout_folders), sources=sources, resamples=settings.resamples)
        for row, found in _predictions(pictures, settings, progress).items()
    }
    return Utility(
        rows,
        list(heldout_folders),
        {name: {c: len(folder) for c, folder in classes.items()} for name, classes in folders.classes.items()},
        folders.ignored,
        settings,
        time.perf_counter() - started,
    )


def _predictions(
    pictures: dict[str, list[Pictures]], settings: UtilitySettings, progress: Progress
) -> dict[str, dict[str, Probabilities]]:
    """Return the probabilities of the held-out pictures by row and arm: (seeds, N, classes)."""
    # torch takes seconds to import, and the help of the command line needs only the settings.
    from evaluate.studies.classifier import Classifier, make_classifier, predict, train_classifier

    rows = ROWS if "pretrain" in pictures else ROWS[:1]
    total = len(rows) * len(ARMS) * len(settings.seeds) * settings.steps
    total += settings.pretrain_steps * (len(rows) - 1)
    counter = itertools.count(1)

    def trained(
        label: str, sources: tuple[str, ...], augmented: bool, steps: int, seed: int, start: Classifier | None = None
    ) -> Classifier:
        classifier = make_classifier(len(pictures[sources[0]]), seed, start)
        train_classifier(
            classifier,
            [pictures[name] for name in sources],
            augmented=augmented,
            steps=steps,
            batch_size=settings.batch_size,
            learning_rate=settings.learning_rate,
            seed=seed,
            on_step=lambda: progress(label, next(counter), total),
        )
        return classifier

    heldout = np.concatenate(pictures["heldout"])
    found: dict[str, dict[str, Probabilities]] = {}
    for row in rows:
        start = None
        if row == "pretrained":
            start = trained("pretraining", ("pretrain",), True, settings.pretrain_steps, 0)
        found[row] = {
            arm: np.stack(
                [
                    predict(trained(f"{row}: {arm}, seed {seed}", *how, settings.steps, seed, start), heldout)
                    for seed in settings.seeds
                ]
            )
            for arm, how in ARMS.items()
        }
    return found
