"""`judge`: a classifier of real cells, independent of generator and encoder, says which class a synthetic cell shows.

It has another architecture and seed than the embedded encoder, and may know classes that the generator's base never
saw. Its word is worth what it is worth on held-out real pictures, so that stands beside every figure. It filters none.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binomtest

from engine.errors import RequestError
from engine.pictures import class_names_of
from evaluate.class_folders import ClassFolders, expect_two_classes
from evaluate.images import PictureFolder, expect_real, open_folder, refuse_shared

__all__ = ["DEFINITIONS", "JudgeFolders", "JudgeSettings", "Share", "Verdict", "check_judge", "judge"]

DEFINITIONS = {
    "judge": "a convolutional classifier with group normalisation, trained on --train alone under the classical "
    "augmentation of `utility`; the last step counts; it filters no picture",
    "intended": "share of a class's pictures whose likeliest class is their own, with Wilson's 90 % interval",
    "held-out": "the same of real pictures that the judge never saw: what its word is worth",
}


@dataclass(frozen=True)
class JudgeSettings:
    """How the judge is trained. Raises RequestError for what cannot be run."""

    size: int = 96
    """Side to which pictures are resized, in pixels."""
    steps: int = 2400
    batch_size: int = 32
    learning_rate: float = 1e-3
    seed: int = 1000

    def __post_init__(self) -> None:
        if self.size < 16 or self.steps < 1:
            raise RequestError(
                "The judge's settings",
                found=f"{self.size} pixels, {self.steps} steps",
                expected="at least 16 pixels and 1 step",
                fix="change --size or --steps",
            )


@dataclass(frozen=True)
class JudgeFolders:
    """Opened folders by class: several to train on, held-out ones, and sets of synthetic pictures by their path."""

    train: dict[str, list[PictureFolder]]
    held_out: ClassFolders
    synthetic: dict[str, ClassFolders]


@dataclass(frozen=True)
class Share:
    """How many of a class's pictures are given which class."""

    intended: float
    low: float
    high: float
    given: dict[str, int]
    """Pictures by the class that the judge gives; all classes."""


@dataclass(frozen=True)
class Verdict:
    """Of held-out and synthetic pictures; JSON after dataclasses.asdict."""

    class_names: list[str]
    held_out: dict[str, Share]
    held_out_accuracy: float
    """Balanced: the mean over classes."""
    synthetic: dict[str, dict[str, Share]]
    """By set and class."""
    settings: JudgeSettings
    weights_sha256: str


def check_judge(train: Sequence[Path], held_out: Path, synthetic: Sequence[Path]) -> JudgeFolders:
    """Open a folder of folders for each. Raises RequestError for fewer than two classes, a class that is not held
    out, a synthetic one that the judge does not learn, and for a picture in two folders."""
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
        found = ", ".join(class_names_of(path)) or "no folder of a class"
        raise RequestError(
            f"The {label} folder {path}",
            found=f"{found}; wrong: {', '.join(sorted(wrong))}" if wrong else found,
            expected=expected,
            fix="name a folder that has them, or train on other folders",
        )
    return {name: open_folder(path / name) for name in names}


def judge(
    folders: JudgeFolders,
    settings: JudgeSettings | None = None,
    progress: Callable[[str, int, int], None] = lambda label, done, total: None,
) -> Verdict:
    """Train the judge on what `check_judge` opened, and ask it. The same call gives the same figures on the same
    machine."""
    # torch takes seconds to import, and the command line needs only the settings to show its help.
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
    interval = binomtest(right, len(found)).proportion_ci(0.9, "wilson")
    given = {one: int(count) for one, count in zip(classes, counts, strict=True)}
    return Share(right / len(found), float(interval.low), float(interval.high), given)
