"""Variations of the real training pictures in `utility`: their folders, and the choice of their strength.

With several strengths, one is chosen by cross-validation on the real training pictures. The held-out pictures take no
part in the choice.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from engine.errors import RequestError
from engine.options import Range, check_settings, setting
from engine.pictures import class_names_of, pictures_in
from evaluate.class_folders import ClassFolders
from evaluate.images import PictureFolder, Pictures, first_of, open_folder

__all__ = [
    "Choice",
    "ChoiceSettings",
    "Fold",
    "VariationSets",
    "choose_set",
    "expect_derived",
    "folds_of",
    "open_variations",
]

VariationSets = dict[str, ClassFolders]
"""The class folders of each set of variations, by the set's name. A set usually has one strength."""
Places = list[NDArray[np.intp]]
"""Indices of pictures, by class."""
Measure = Callable[[str, Sequence[Sequence[Pictures]], Sequence[Pictures], int], list[NDArray[np.intp]]]
"""Takes a label for the progress, the sources to train on (as `train_classifier` does), pictures by class, and a seed.
Returns the predicted classes of these pictures, by class."""


@dataclass(frozen=True)
class ChoiceSettings:
    """How the strength of the variations is chosen. Raises RequestError for a value out of range."""

    PANEL: ClassVar[str] = "Variations"

    choice_folds: int = setting(3, within=Range(low=2), help="Number of folds of the cross-validation on --real.")
    choice_seeds: int = setting(1, within=Range(low=1), help="Number of trainings of every fold and strength.")

    def __post_init__(self) -> None:
        check_settings(self)


@dataclass(frozen=True)
class Choice:
    """Which set of variations the arm takes, and why."""

    chosen: str
    scores: dict[str, float]
    """Balanced accuracy on the left-out real training pictures by set, mean over seeds. Empty if there is one set."""
    folds: int
    seeds: int
    """Numbers of folds and of seeds of the cross-validation. 0 if there is one set."""


@dataclass(frozen=True)
class Fold:
    """One fold: what is trained on and what is left out, all by class."""

    real: Places
    left_out: Places
    variations: dict[str, Places]
    """By set: the variations whose initial picture is not left out."""


def open_variations(path: Path, wanted: Sequence[str]) -> tuple[VariationSets, list[str]]:
    """Return the sets of variations in a folder, and the names of folders that are no wanted class and were not read.

    path: holds one folder per class, or folders that do, each of which is a set.
    """
    inner = class_names_of(path)
    if any(name in inner for name in wanted):
        sets = {path.resolve().name: path}
    else:
        sets = {name: path / name for name in inner if any(one in wanted for one in class_names_of(path / name))}
    ignored = [] if path in sets.values() else [name for name in inner if name not in sets]
    opened: VariationSets = {}
    for name, folder in sets.items():
        there = [one for one in class_names_of(folder) if pictures_in(folder / one)]
        if missing := [one for one in wanted if one not in there]:
            raise RequestError(
                f"The variations {folder}",
                found=f"{', '.join(there) or 'no class folder'}; {', '.join(missing)} missing",
                expected=f"a folder of pictures for each class of the real folder: {', '.join(wanted)}",
                fix="run `engine generate --init REAL --class all` for all classes",
            )
        ignored += [f"{name}/{one}" if folder != path else one for one in there if one not in wanted]
        opened[name] = {one: open_folder(folder / one) for one in wanted}
    if not opened:
        raise RequestError(
            f"The variations {path}",
            found=", ".join(inner) or ("no class folder" if path.is_dir() else "no such folder"),
            expected=f"the class folders {', '.join(wanted)}, or one folder per strength that holds them",
            fix="name the --out of `engine generate --init REAL`, or the folder that holds several of these",
        )
    return opened, ignored


def expect_derived(sets: VariationSets, real: ClassFolders, place: Path) -> None:
    """Raise RequestError unless every variation was derived from a picture of `real`, compared by SHA-256.

    place: the folder of the real pictures, for the message.
    """
    known = {digest for folder in real.values() for digest in folder.hashes}
    wrong = [
        f"{file}: " + ("not derived" if initial is None else f"derived from {initial.name}")
        for classes in sets.values()
        for folder in classes.values()
        for file in folder.files
        if (initial := folder.initials.get(file.name)) is None or initial.sha256 not in known
    ]
    if wrong:
        raise RequestError(
            f"{len(wrong)} pictures in --variations that were not derived from a picture in {place}",
            found=first_of(wrong),
            expected="variations of the real training pictures, each of which names its initial picture by SHA-256",
            fix=f"make them with `engine generate --init {place}`, and change neither side afterwards",
        )


def folds_of(real: ClassFolders, sets: VariationSets, folds: int) -> list[Fold]:
    """Divide the real pictures by source, class by class, and leave out the variations of the left-out pictures.

    Raises RequestError if a class has fewer sources than folds, or no variations in a fold.
    """
    rng = np.random.default_rng(0)
    fold_of: dict[str, NDArray[np.intp]] = {}
    for name, folder in real.items():
        sources, source = np.unique(folder.sources, return_inverse=True)
        if len(sources) < folds:
            raise RequestError(
                f"The real pictures of {name}",
                found=f"{len(sources)} sources",
                expected=f"at least {folds}, one for each fold that chooses the strength of the variations",
                fix="lower --choice-folds, or name one strength with --variations",
            )
        fold_of[name] = (rng.permutation(len(sources)) % folds)[source]
    found = []
    for fold in range(folds):
        left_out = {
            digest
            for name, folder in real.items()
            for digest, own in zip(folder.hashes, fold_of[name], strict=True)
            if own == fold
        }
        variations = {name: [_kept(folder, left_out) for folder in classes.values()] for name, classes in sets.items()}
        for name, places in variations.items():
            if empty := [one for one, kept in zip(real, places, strict=True) if not len(kept)]:
                raise RequestError(
                    f"The variations {name} of {', '.join(empty)}",
                    found=f"variations of one fold of {folds} of the real pictures alone",
                    expected="variations of more of the real pictures",
                    fix="make variations of all real pictures with `engine generate --init`",
                )
        found.append(
            Fold(
                [np.flatnonzero(own != fold) for own in fold_of.values()],
                [np.flatnonzero(own == fold) for own in fold_of.values()],
                variations,
            )
        )
    return found


def _kept(folder: PictureFolder, left_out: set[str]) -> NDArray[np.intp]:
    """Return the indices of the variations whose initial picture is not left out."""
    kept = [i for i, file in enumerate(folder.files) if folder.initials[file.name].sha256 not in left_out]
    return np.array(kept, np.intp)


def choose_set(
    folds: Sequence[Fold],
    real: Sequence[Pictures],
    sets: Mapping[str, Sequence[Pictures]],
    seeds: int,
    predicted: Measure,
) -> Choice:
    """Return the set with the highest balanced accuracy on the left-out real pictures, the first of equal ones.

    real: the pictures of each class, (N, S, S, 3) uint8; sets: the same for each set of variations.
    """
    scores = {}
    for name, variations in sets.items():
        right = np.zeros(len(real))
        for number, fold in enumerate(folds, 1):
            sources = [
                [pictures[places] for pictures, places in zip(real, fold.real, strict=True)],
                [pictures[places] for pictures, places in zip(variations, fold.variations[name], strict=True)],
            ]
            tested = [pictures[places] for pictures, places in zip(real, fold.left_out, strict=True)]
            for seed in range(seeds):
                found = predicted(f"choice: {name}, fold {number}", sources, tested, seed)
                right += [(classes == label).sum() for label, classes in enumerate(found)]
        scores[name] = float(np.mean(right / seeds / [len(pictures) for pictures in real]))
    return Choice(max(scores, key=lambda name: scores[name]), scores, len(folds), seeds)
