"""`judge`: a classifier of real cells says which class a synthetic cell shows.

The judge is independent of the generator and of the embedded encoder: it has another architecture and another seed, and
may know classes that the generator's base never saw. Its accuracy on held-out real pictures is shown beside every
figure, because a judge that is often wrong proves nothing. It does not filter pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
import scipy
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.options import Range, check_settings, setting
from engine.pictures import class_names_of
from engine.progress import Progress, silent
from evaluate.class_folders import ClassFolders, expect_two_classes
from evaluate.images import PictureFolder, expect_real, open_folder, refuse_shared

__all__ = ["DEFINITIONS", "JudgeFolders", "JudgeSettings", "Share", "Verdict", "check_judge", "judge"]

DEFINITIONS = {
    "judge": "a convolutional classifier with group normalisation, trained on --train alone under the classical "
    "augmentation of `utility`; the weights after the last step are used; it filters no picture",
    "intended": "share of a class's pictures for which the judge's most likely class is their own, with Wilson's 90 % "
    "interval",
    "held-out": "the same share for real pictures that the judge never saw; it shows how reliable the judge is",
}


@dataclass(frozen=True)
class JudgeSettings:
    """How the judge is trained. Raises RequestError for a value out of range."""

    PANEL: ClassVar[str] = "Training"

    size: int = setting(96, within=Range(low=16), help="Side to which pictures are resized, in pixels.")
    steps: int = setting(2400, within=Range(low=1), help="Number of optimiser steps.")
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = setting(1000, within=Range(low=0), help="Seed of all random numbers.")

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class JudgeFolders:
    """Opened folders by class: several to train on, held-out ones, and sets of synthetic pictures by path."""

    train: dict[str, list[PictureFolder]]
    held_out: ClassFolders
    synthetic: dict[str, ClassFolders]


@dataclass(frozen=True)
class Share:
    """The classes that the judge gives to the pictures of one class."""

    intended: float
    """Share of pictures that are given their own class."""
    low: float
    high: float
    given: dict[str, int]
    """Number of pictures by given class, for all classes."""


@dataclass(frozen=True)
class Verdict:
    """The results in a record of `judge`."""

    class_names: list[str]
    held_out: dict[str, Share]
    held_out_accuracy: float
    """Balanced accuracy: the mean over classes."""
    synthetic: dict[str, dict[str, Share]]
    """By set and class."""
    settings: JudgeSettings
    weights_sha256: str


def check_judge(train: Sequence[Path], held_out: Path, synthetic: Sequence[Path]) -> JudgeFolders:
    """Open folders that hold one folder of pictures per class.

    Raises RequestError for fewer than two classes, for a class without held-out pictures, for a synthetic class that
    the judge does not learn, and for a picture in two folders.
    """
    learnt: dict[str, list[PictureFolder]] = {}
    for path in train:
        for name in class_names_of(path):
            learnt.setdefault(name, []).append(open_folder(path / name))
    classes = sorted(learnt)
    expect_two_classes("--train", train[0], classes)
    missing = set(classes) - set(class_names_of(held_out))
    tested = _open("--held-out", held_out, classes, missing, f"a folder of pictures for each of {', '.join(classes)}")
    expected = f"folders of pictures named after some of {', '.join(classes)}"
    judged = {}
    for path in synthetic:
        names = class_names_of(path)
        judged[str(path)] = _open("synthetic", path, names, set(names) - set(classes), expected)
    expect_real({f"--train {name}": folder for name, folders in learnt.items() for folder in folders})
    expect_real({f"--held-out {name}": folder for name, folder in tested.items()})
    refuse_shared(
        {
            "--train": [folder for folders in learnt.values() for folder in folders],
            "--held-out": list(tested.values()),
            **{f"synthetic {path}": list(folders.values()) for path, folders in judged.items()},
        }
    )
    return JudgeFolders({name: learnt[name] for name in classes}, tested, judged)


def _open(label: str, path: Path, names: list[str], wrong: set[str], expected: str) -> ClassFolders:
    if wrong or not names:
        found = ", ".join(class_names_of(path)) or "no class folder"
        raise RequestError(
            f"The {label} folder {path}",
            found=f"{found}; wrong: {', '.join(sorted(wrong))}" if wrong else found,
            expected=expected,
            fix="name a folder that holds these classes, or train on other folders",
        )
    return {name: open_folder(path / name) for name in names}


def judge(
    folders: JudgeFolders,
    settings: JudgeSettings | None = None,
    progress: Progress = silent,
) -> Verdict:
    """Train the judge, and count the classes that it gives. Deterministic on one machine."""
    # torch takes seconds to import, and the help of the command line needs only the settings.
    from evaluate.studies.classifier import digest_of, make_classifier, predict, train_classifier

    settings = settings or JudgeSettings()
    classes = list(folders.train)
    done = 0

    def step() -> None:
        nonlocal done
        done += 1
        progress("training the judge", done, settings.steps)

    classifier = make_classifier(len(classes), settings.seed)
    train_classifier(
        classifier,
        [[np.concatenate([folder.read(settings.size) for folder in folders.train[name]]) for name in classes]],
        augmented=True,
        steps=settings.steps,
        batch_size=settings.batch_size,
        learning_rate=settings.learning_rate,
        seed=settings.seed,
        on_step=step,
    )

    def shares(opened: ClassFolders) -> dict[str, Share]:
        return {
            name: _share(predict(classifier, folder.read(settings.size)).argmax(1), name, classes)
            for name, folder in opened.items()
        }

    held_out = shares(folders.held_out)
    return Verdict(
        classes,
        held_out,
        float(np.mean([share.intended for share in held_out.values()])),
        {path: shares(opened) for path, opened in folders.synthetic.items()},
        settings,
        digest_of(classifier),
    )


def _share(found: NDArray[np.intp], name: str, classes: list[str]) -> Share:
    counts = np.bincount(found, minlength=len(classes))
    right = int(counts[classes.index(name)])
    interval = scipy.stats.binomtest(right, len(found)).proportion_ci(0.9, "wilson")
    given = {one: int(count) for one, count in zip(classes, counts, strict=True)}
    return Share(right / len(found), float(interval.low), float(interval.high), given)
